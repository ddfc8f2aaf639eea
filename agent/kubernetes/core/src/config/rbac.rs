//! `resourceNames` of Roles and ClusterRoles: the right to one ConfigMap or Secret is the right to its version.

use serde_json::Value;

use super::ConfigKind;
use crate::identity::{group, text};

/// A rule that grants rights to objects by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// JSON pointer to the list of names.
    pub(super) pointer: String,
    pub(super) kinds: Vec<ConfigKind>,
    /// The rule covers resources that are no configuration: their names stay beside the new ones.
    pub(super) others: bool,
    pub(super) names: Vec<String>,
}

/// The rules of a Role or ClusterRole that name ConfigMaps or Secrets.
pub(super) fn grants(object: &Value) -> Vec<Grant> {
    let role = matches!(text(object, "/kind"), Some("Role" | "ClusterRole"));
    if !role || group(object) != "rbac.authorization.k8s.io" {
        return Vec::new();
    }
    let rules = object.get("rules").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    rules.iter().enumerate().filter_map(|(index, rule)| grant(rule, index)).collect()
}

fn grant(rule: &Value, index: usize) -> Option<Grant> {
    let texts = |key: &str| -> Vec<&str> {
        let items = rule.get(key).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).collect()
    };
    let (groups, resources) = (texts("apiGroups"), texts("resources"));
    if !groups.iter().any(|it| matches!(*it, "" | "*")) {
        return None;
    }
    let all = resources.contains(&"*");
    let kinds: Vec<ConfigKind> = [ConfigKind::ConfigMap, ConfigKind::Secret]
        .into_iter()
        .filter(|kind| all || resources.contains(&kind.resource()))
        .collect();
    let config = |it: &str| it == ConfigKind::ConfigMap.resource() || it == ConfigKind::Secret.resource();
    // In other groups there may be resources of the same names.
    let others = all || resources.iter().any(|it| !config(it)) || groups.iter().any(|it| !it.is_empty());
    let names = texts("resourceNames").into_iter().map(str::to_owned).collect();
    let pointer = format!("/rules/{index}/resourceNames");
    (!kinds.is_empty()).then_some(Grant { pointer, kinds, others, names })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(rule: Value) -> Option<(Vec<ConfigKind>, bool)> {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": [rule]});
        grants(&role).pop().map(|it| (it.kinds, it.others))
    }

    #[test]
    fn rules_are_read_by_group_and_resource() {
        use ConfigKind::{ConfigMap, Secret};
        let rule = |groups: &[&str], resources: &[&str]| {
            one(
                json!({"apiGroups": groups, "resources": resources, "resourceNames": ["a"], "verbs": ["get"]}),
            )
        };
        assert_eq!(rule(&[""], &["configmaps"]), Some((vec![ConfigMap], false)));
        assert_eq!(rule(&[""], &["secrets", "configmaps"]), Some((vec![ConfigMap, Secret], false)));
        assert_eq!(rule(&[""], &["secrets", "services"]), Some((vec![Secret], true)));
        assert_eq!(rule(&["*"], &["*"]), Some((vec![ConfigMap, Secret], true)));
        assert_eq!(rule(&["apps"], &["secrets"]), None);
        assert_eq!(rule(&[""], &["services"]), None);
        assert_eq!(rule(&[""], &["secrets/status"]), None);
        assert!(grants(&json!({"kind": "Role", "rules": 7})).is_empty());
    }
}
