//! Objects that SOPS encrypted: nothing else in them can be judged.

use serde_json::Value;
use trimaran_model::error_code;

use super::schema::is_known;
use super::set::Set;
use crate::finding::{Finding, shown};
use crate::identity::text;

/// One error for each encrypted object of a kind that has no such field of its own.
pub(super) fn check(set: &Set<'_>) -> Vec<Finding> {
    let encrypted = set.objects.iter().enumerate().filter(|(_, object)| is_encrypted(object));
    let findings = encrypted.map(|(index, object)| {
        let name = text(object, "/metadata/name").unwrap_or_default();
        let message =
            format!("{} `{}` is encrypted with SOPS", text(object, "/kind").unwrap_or_default(), shown(name));
        Finding::error(index, "/sops", error_code::OBJECT_ENCRYPTED, message)
    });
    findings.collect()
}

/// SOPS adds a map with a check of the whole file. A custom kind may have a field of that name.
fn is_encrypted(object: &Value) -> bool {
    let mark = object.get("sops");
    let has = |key: &str| mark.is_some_and(|mark| mark.get(key).is_some());
    (has("mac") || has("lastmodified")) && is_known(object)
}
