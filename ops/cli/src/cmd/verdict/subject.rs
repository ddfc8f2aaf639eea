//! Names of objects as people write them: `Deployment/web`, `deploy/web`, `services.serving.knative.dev/web`.

use std::str::FromStr;

use trimaran_kubernetes_core::object::Object;

/// Kinds with the short names that kubectl knows; plurals are found by their endings.
const SHORT: &[(&str, &[&str])] = &[
    ("ConfigMap", &["cm"]),
    ("CronJob", &["cj"]),
    ("CustomResourceDefinition", &["crd", "crds"]),
    ("DaemonSet", &["ds"]),
    ("Deployment", &["deploy"]),
    ("Endpoints", &["ep"]),
    ("Gateway", &["gtw"]),
    ("HorizontalPodAutoscaler", &["hpa"]),
    ("HTTPRoute", &[]),
    ("Ingress", &["ing"]),
    ("Job", &[]),
    ("Namespace", &["ns"]),
    ("NetworkPolicy", &["netpol"]),
    ("Node", &["no"]),
    ("PersistentVolume", &["pv"]),
    ("PersistentVolumeClaim", &["pvc"]),
    ("Pod", &["po"]),
    ("PodDisruptionBudget", &["pdb"]),
    ("ReplicaSet", &["rs"]),
    ("ReplicationController", &["rc"]),
    ("ResourceQuota", &["quota"]),
    ("Rollout", &["ro"]),
    ("Secret", &[]),
    ("Service", &["svc"]),
    ("ServiceAccount", &["sa"]),
    ("StatefulSet", &["sts"]),
    ("StorageClass", &["sc"]),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// As written, or the kind that a short name means.
    kind: String,
    /// Only objects of this group, where it was given.
    group: Option<String>,
    name: String,
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, name) = text
            .split_once('/')
            .filter(|(kind, name)| !kind.is_empty() && !name.is_empty() && !name.contains('/'))
            .ok_or_else(|| "give kind and name, such as Deployment/web".to_owned())?;
        let (kind, group) = match kind.split_once('.') {
            Some((kind, group)) => (kind, Some(group.to_owned())),
            None => (kind, None),
        };
        let known = SHORT
            .iter()
            .find(|(name, short)| is_kind(kind, name) || short.contains(&kind.to_lowercase().as_str()));
        let kind = known.map_or(kind, |(kind, _)| *kind).to_owned();
        Ok(Self { kind, group, name: name.to_owned() })
    }
}

impl Subject {
    pub(super) fn names(&self, object: Object<'_>) -> bool {
        is_kind(&self.kind, object.kind())
            && object.name() == self.name
            && self.group.as_ref().is_none_or(|group| group == object.group())
    }

    pub(super) fn display(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// Singular or plural, in any case of letters.
fn is_kind(written: &str, kind: &str) -> bool {
    let (written, kind) = (written.to_lowercase(), kind.to_lowercase());
    let plural = match kind.strip_suffix('y') {
        Some(stem) if !kind.ends_with("ay") => format!("{stem}ies"),
        _ if kind.ends_with('s') => format!("{kind}es"),
        _ => format!("{kind}s"),
    };
    written == kind || written == plural
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_as_kubectl_reads_them() {
        for text in
            ["Deployment/web", "deployment/web", "deployments/web", "deploy/web", "deployments.apps/web"]
        {
            let subject: Subject = text.parse().expect("it is kind and name");
            assert_eq!(subject.display(), "Deployment/web", "{text}");
        }
        for (text, kind) in
            [("networkpolicies/a", "NetworkPolicy"), ("ingresses/a", "Ingress"), ("Widget/a", "Widget")]
        {
            assert_eq!(text.parse::<Subject>().expect("it is kind and name").kind, kind);
        }
        for text in ["web", "/web", "Deployment/", "a/b/c"] {
            assert!(text.parse::<Subject>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_group_tells_kinds_of_one_name_apart() {
        let value = serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}});
        let object = Object::new(&value);
        assert!("svc/web".parse::<Subject>().expect("valid").names(object));
        assert!(!"services.serving.knative.dev/web".parse::<Subject>().expect("valid").names(object));
    }
}
