//! Names of versions: `BASE-SUFFIX`, cut where Kubernetes has a bound, and known again by label.

use serde_json::{Map, Value};

use super::hash::{self, SUFFIX_LENGTH};
use super::{BASE_LABEL, ConfigKind};
use crate::identity::text;

/// A DNS subdomain (RFC 1123), which names of ConfigMaps and Secrets are.
const NAME_MAX: usize = 253;
/// A label's value.
const LABEL_MAX: usize = 63;

/// The name that the author gave: of a rendered object the one that is kept in its label, or in the annotation
/// of the same name when it does not fit a label.
pub(super) fn base(object: &Value, name: &str) -> String {
    let kept = |place: &str| {
        let key = BASE_LABEL.replace('/', "~1");
        text(object, &format!("/metadata/{place}/{key}"))
    };
    let Some(base) = kept("annotations").or_else(|| kept("labels")) else { return name.to_owned() };
    let rendered = name
        .rsplit_once('-')
        .is_some_and(|(before, suffix)| hash::is_suffix(suffix) && before == cut(base, head_max()));
    // Whoever copies an object may copy its label too.
    if rendered { base.to_owned() } else { name.to_owned() }
}

const fn head_max() -> usize {
    NAME_MAX - SUFFIX_LENGTH - 1
}

/// The name of a version. A base that is cut goes into the hash: two long names may start alike.
pub(super) fn versioned(kind: ConfigKind, base: &str, object: &Value) -> String {
    let content = hash::suffix(kind, object);
    let head = cut(base, head_max());
    let suffix = if head == base { content } else { hash::of_text(&format!("{base} {content}")) };
    format!("{head}-{suffix}")
}

/// Whether there is a place for the base. Labels of a wrong type are named by the lint.
pub(super) fn can_keep_base(object: &Value) -> bool {
    ["labels", "annotations"].iter().all(|section| {
        object.pointer(&format!("/metadata/{section}")).is_none_or(|it| it.is_null() || it.is_object())
    })
}

/// Puts the base where [`base`] finds it.
pub(super) fn keep_base(metadata: &mut Map<String, Value>, base: &str) {
    let short = if base.len() <= LABEL_MAX {
        base.to_owned()
    } else {
        set(metadata, "annotations", BASE_LABEL, base);
        format!("{}-{}", cut(base, LABEL_MAX - SUFFIX_LENGTH - 1), hash::of_text(base))
    };
    set(metadata, "labels", BASE_LABEL, &short);
}

/// Sets a label or annotation. A section of a wrong type is left alone: the lint names it.
pub(super) fn set(metadata: &mut Map<String, Value>, section: &str, key: &str, value: &str) {
    let entry = metadata.entry(section).or_insert(Value::Null);
    if entry.is_null() {
        *entry = Value::Object(Map::new());
    }
    if let Value::Object(entries) = entry {
        entries.insert(key.to_owned(), value.into());
    }
}

/// At most `max` bytes that end with a letter or digit.
fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str) -> Value {
        json!({"kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
    }

    fn rendered(base: &str) -> Value {
        let mut it = object(base);
        let name = versioned(ConfigKind::ConfigMap, base, &it);
        it["metadata"]["name"] = name.into();
        keep_base(it["metadata"].as_object_mut().unwrap(), base);
        it
    }

    #[test]
    fn bases_are_known_again() {
        let long = format!("{}.{}", "a".repeat(200), "b".repeat(52));
        for name in
            ["app", "app.v1-x", &"n".repeat(63), &"n".repeat(64), &"n".repeat(242), &"n".repeat(253), &long]
        {
            let it = rendered(name);
            let new = it["metadata"]["name"].as_str().unwrap();
            assert_eq!(base(&it, new), *name);
            assert!(new.len() <= NAME_MAX, "{}", new.len());
            let label = it["metadata"]["labels"][BASE_LABEL].as_str().unwrap();
            assert!(label.len() <= LABEL_MAX && label.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }

    #[test]
    fn long_names_that_start_alike_stay_apart() {
        let names = [format!("{}x", "n".repeat(252)), format!("{}y", "n".repeat(252))];
        let [one, other] = names.map(|name| rendered(&name)["metadata"]["name"].clone());
        assert_ne!(one, other);
    }

    #[test]
    fn copied_labels_are_not_believed() {
        let mut it = rendered("app");
        it["metadata"]["name"] = "other".into();
        assert_eq!(base(&it, "other"), "other");
        it["metadata"]["name"] = "other-2456789bcd".into();
        assert_eq!(base(&it, "other-2456789bcd"), "other-2456789bcd");
    }
}
