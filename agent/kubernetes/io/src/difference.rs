//! The fields in which two states of an object differ, for people.

use serde_json::Value;
use trimaran_kubernetes_driver::content;

/// Longer values are cut.
const VALUE_CHARS_MAX: usize = 200;
/// Of one object; more is counted.
const FIELDS_MAX: usize = 200;
/// What names the items of most lists.
const NAMES: [&str; 4] = ["name", "containerPort", "port", "mountPath"];

/// One line a field: `.spec.replicas: 3 -> 5`. Values of Secrets are not shown.
pub(crate) fn difference(before: &Value, after: &Value) -> Vec<String> {
    let is_secret = after["kind"] == "Secret";
    let (before, after) = (content(before), content(after));
    let mut lines = Vec::new();
    compare(String::new(), Some(&before), Some(&after), &mut |path, before, after| {
        // The server writes these itself.
        if matches!(path.as_str(), ".metadata.uid" | ".metadata.creationTimestamp") {
            return;
        }
        let hides = is_secret && (path.starts_with(".data") || path.starts_with(".stringData"));
        lines.push(line(&path, before, after, hides));
    });
    if lines.len() > FIELDS_MAX {
        let more = lines.len() - FIELDS_MAX;
        lines.truncate(FIELDS_MAX);
        lines.push(format!("and {more} more fields"));
    }
    lines
}

fn line(path: &str, before: Option<&Value>, after: Option<&Value>, hides: bool) -> String {
    let shown = |value: &Value| match value {
        value if hides => format!("({} bytes, not shown)", value.as_str().map_or(0, str::len)),
        value => cut(&value.to_string()),
    };
    match (before, after) {
        (None, Some(after)) => format!("{path}: + {}", shown(after)),
        (Some(before), None) => format!("{path}: - {}", shown(before)),
        (Some(before), Some(after)) => format!("{path}: {} -> {}", shown(before), shown(after)),
        (None, None) => path.to_owned(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

type Found<'a> = dyn FnMut(String, Option<&Value>, Option<&Value>) + 'a;

fn compare(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Found<'_>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let added = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(added) {
                compare(format!("{path}.{key}"), one.get(key), other.get(key), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => lists(&path, one, other, found),
        (before, after) => found(path, before, after),
    }
}

/// Lists whose items have names are compared by name, all others by position.
fn lists(path: &str, one: &[Value], other: &[Value], found: &mut Found<'_>) {
    let named = NAMES.into_iter().find(|name| {
        let is_named = |item: &Value| item.get(name).is_some();
        one.iter().chain(other).all(is_named)
    });
    let Some(name) = named else {
        for index in 0..one.len().max(other.len()) {
            compare(format!("{path}[{index}]"), one.get(index), other.get(index), found);
        }
        return;
    };
    let item = |list: &'_ [Value], value: &Value| list.iter().position(|item| item.get(name) == Some(value));
    for before in one {
        let value = &before[name];
        let after = item(other, value).map(|index| &other[index]);
        compare(format!("{path}[{name}={value}]"), Some(before), after, found);
    }
    for after in other {
        let value = &after[name];
        if item(one, value).is_none() {
            compare(format!("{path}[{name}={value}]"), None, Some(after), found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_field_has_its_line() {
        let before = json!({
            "kind": "Deployment", "metadata": {"resourceVersion": "1", "annotations": {"trimaran.dev/fence": "1"}},
            "spec": {"replicas": 3, "template": {"containers": [{"name": "web", "image": "a"}, {"name": "old"}]}},
            "status": {"replicas": 3},
        });
        let after = json!({
            "kind": "Deployment", "metadata": {"resourceVersion": "2", "annotations": {"trimaran.dev/fence": "2"}},
            "spec": {"replicas": 5, "paused": true, "template": {"containers": [{"name": "web", "image": "b"}]}},
        });
        assert_eq!(
            difference(&before, &after),
            [
                ".spec.replicas: 3 -> 5",
                ".spec.template.containers[name=\"web\"].image: \"a\" -> \"b\"",
                ".spec.template.containers[name=\"old\"]: - {\"name\":\"old\"}",
                ".spec.paused: + true",
            ]
        );
        assert_eq!(difference(&before, &before), Vec::<String>::new());
    }

    #[test]
    fn values_of_secrets_are_not_shown() {
        let secret = |value: &str| json!({"kind": "Secret", "data": {"password": value}});
        let lines = difference(&secret("b2xk"), &secret("bmV3ZXI="));
        assert_eq!(lines, [".data.password: (4 bytes, not shown) -> (8 bytes, not shown)"]);
    }
}
