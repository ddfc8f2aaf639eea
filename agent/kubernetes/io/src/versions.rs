//! Versions of objects: which of two states of one object is newer.

use std::cmp::Ordering;

use serde_json::Value;

/// The version of an object; empty for what has none.
pub(crate) fn version_of(document: &Value) -> &str {
    document.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn uid_of(document: &Value) -> &str {
    document.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

/// Compares two versions of one kind. They are numbers that grow, of any length, on every API server that stores its
/// objects in etcd; where they are not, only equal ones can be compared.
pub(crate) fn compare(one: &str, other: &str) -> Option<Ordering> {
    if one == other {
        return Some(Ordering::Equal);
    }
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(one) || !is_number(other) {
        return None;
    }
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    Some(one.len().cmp(&other.len()).then_with(|| one.cmp(other)))
}

/// Whether a state is at least as new as a version; unknown counts as yes, since nothing else can be found out.
pub(crate) fn is_at_least(version: &str, floor: &str) -> bool {
    compare(version, floor) != Some(Ordering::Less)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_of_any_length() {
        assert_eq!(compare("9", "10"), Some(Ordering::Less));
        assert_eq!(compare("123456789012345678901234567890", "9"), Some(Ordering::Greater));
        assert_eq!(compare("007", "7"), Some(Ordering::Equal));
        assert_eq!(compare("a", "7"), None);
        assert_eq!(compare("a", "a"), Some(Ordering::Equal));
        assert!(is_at_least("8", "7") && is_at_least("7", "7") && !is_at_least("6", "7"));
    }
}
