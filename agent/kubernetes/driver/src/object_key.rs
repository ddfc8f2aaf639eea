//! What names an object in a cluster.

use std::fmt;

use serde_json::Value;
use trimaran_kubernetes_core::object::Object;

/// Group, kind, namespace and name, with the version in which the release writes it. Two versions of one object are
/// the same object: the version takes no part in comparisons.
#[derive(Debug, Clone)]
pub struct ObjectKey {
    /// `apps/v1`; `v1` for the core group.
    pub api_version: String,
    pub kind: String,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    pub name: String,
}

impl ObjectKey {
    /// Reads it from a document; `None` without version, kind or name.
    pub fn of(document: &Value) -> Option<Self> {
        let object = Object::new(document);
        let api_version = document.get("apiVersion")?.as_str()?;
        let (kind, name) = (object.kind(), object.name());
        if api_version.is_empty() || kind.is_empty() || name.is_empty() {
            return None;
        }
        let namespace = if object.is_cluster_scoped() { "" } else { object.namespace() };
        Some(Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Empty for the core group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    fn identity(&self) -> (&str, &str, &str, &str) {
        (self.group(), &self.kind, &self.namespace, &self.name)
    }
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for ObjectKey {}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.identity().cmp(&other.identity())
    }
}

/// `Deployment/web`, as verdicts name it.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_version_is_no_part_of_the_identity() {
        let key = |version: &str| {
            let document = json!({"apiVersion": version, "kind": "HorizontalPodAutoscaler",
                                  "metadata": {"name": "web", "namespace": "shop"}});
            ObjectKey::of(&document).expect("a key")
        };
        assert_eq!(key("autoscaling/v1"), key("autoscaling/v2"));
        assert_ne!(key("autoscaling/v2"), key("other/v2"));
        assert_eq!(key("autoscaling/v2").to_string(), "HorizontalPodAutoscaler/web");
    }

    #[test]
    fn objects_of_the_whole_cluster_have_no_namespace() {
        let document =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "namespace": "b"}});
        assert_eq!(ObjectKey::of(&document).expect("a key").namespace, "");
        assert_eq!(ObjectKey::of(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}})), None);
    }
}
