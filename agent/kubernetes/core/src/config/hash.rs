//! The content of a ConfigMap or Secret as ten characters.
//!
//! Equal content gives equal suffixes on any machine and at any time: keys are sorted, `stringData` is folded
//! into `data` as an API server does it, and two forms of the same content count once (empty and absent maps,
//! absent and `Opaque` types, base64 in whatever lines). Not part of the content: names and all other
//! metadata, and `immutable`. A name inside of `data` is text; it is not followed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, PAD, STANDARD};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::ConfigKind;

/// Length of a suffix, the dash not counted. Forty bits: 10,000 versions of one object collide once in 20,000 times.
pub(super) const SUFFIX_LENGTH: usize = 10;

/// The suffix of an object's content.
pub(super) fn suffix(kind: ConfigKind, object: &Value) -> String {
    let mut content: BTreeMap<&str, Value> = BTreeMap::new();
    content.insert("kind", kind.as_str().into());
    let mut data = section(object, "data");
    match kind {
        ConfigKind::ConfigMap => {
            let binary = section(object, "binaryData").into_iter();
            let binary = binary.map(|(key, value)| (key, canonical_base64(value))).collect();
            content.insert("binaryData", folded(binary));
        }
        ConfigKind::Secret => {
            for (key, value) in section(object, "stringData") {
                let value = value.as_str().map_or(value.clone(), |text| STANDARD.encode(text).into());
                data.insert(key, value);
            }
            data = data.into_iter().map(|(key, value)| (key, canonical_base64(value))).collect();
            let kind_of_secret = object.get("type").and_then(Value::as_str).filter(|it| !it.is_empty());
            content.insert("type", kind_of_secret.unwrap_or("Opaque").into());
        }
    }
    content.insert("data", folded(data));
    let text = serde_json::to_string(&content).expect("a JSON value prints");
    of_text(&text)
}

/// The suffix of any text.
pub(super) fn of_text(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut hex = String::new();
    for byte in &digest[..SUFFIX_LENGTH / 2] {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
    }
    hex.chars().map(letter).collect()
}

/// A hexadecimal digit in an alphabet without vowels and look-alikes, so that no suffix is a word; kustomize's.
fn letter(digit: char) -> char {
    match digit {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    }
}

/// Whether a text may be a suffix.
pub(super) fn is_suffix(text: &str) -> bool {
    text.len() == SUFFIX_LENGTH && text.chars().all(|c| "2456789bcdfghkmt".contains(c))
}

fn section(object: &Value, key: &str) -> BTreeMap<String, Value> {
    let entries = object.get(key).and_then(Value::as_object).into_iter().flatten();
    // An API server reads a null as the empty text.
    entries
        .map(|(key, value)| (key.clone(), if value.is_null() { "".into() } else { value.clone() }))
        .collect()
}

fn folded(section: BTreeMap<String, Value>) -> Value {
    Value::Object(section.into_iter().collect::<Map<_, _>>())
}

/// Base64 as it would be written by a machine; text that is none stays as it is.
fn canonical_base64(value: Value) -> Value {
    let bytes = value.as_str().and_then(|text| decode(text).ok());
    bytes.map_or(value, |bytes| STANDARD.encode(bytes).into())
}

/// The decoder of an API server (Go, `encoding/base64`): padding is required, and bits behind the last byte are ignored.
const SERVER: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, PAD.with_decode_allow_trailing_bits(true));

/// Base64 (RFC 4648, section 4) as an API server reads it: line ends inside are skipped.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    SERVER.decode(text.replace(['\r', '\n'], ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(object: Value) -> String {
        suffix(ConfigKind::ConfigMap, &object)
    }

    fn secret(object: Value) -> String {
        suffix(ConfigKind::Secret, &object)
    }

    #[test]
    fn content_decides_and_form_does_not() {
        let one = map(json!({"metadata": {"name": "a"}, "data": {"x": "1", "y": "2"}}));
        let other = map(json!({"immutable": true, "data": {"y": "2", "x": "1"}, "binaryData": {}}));
        assert_eq!(one, other);
        assert!(is_suffix(&one), "{one}");
        assert_ne!(one, map(json!({"data": {"x": "1", "y": "3"}})));
        assert_ne!(one, map(json!({"data": {"x": "1"}, "binaryData": {"y": "2"}})));
        assert_ne!(one, secret(json!({"data": {"x": "1", "y": "2"}})), "the kind counts");
        assert_eq!(map(json!({"data": {"x": null}})), map(json!({"data": {"x": ""}})));
        let wrapped = map(json!({"binaryData": {"x": "AAEC\nAwQF\n"}}));
        assert_eq!(wrapped, map(json!({"binaryData": {"x": "AAECAwQF"}})));
        assert_ne!(wrapped, map(json!({"data": {"x": "AAECAwQF"}})), "text is no base64");
    }

    #[test]
    fn secrets_hash_what_they_hold() {
        let plain = secret(json!({"stringData": {"p": "hunter2"}}));
        assert_eq!(plain, secret(json!({"data": {"p": "aHVudGVyMg=="}, "type": "Opaque"})));
        assert_eq!(plain, secret(json!({"data": {"p": "aHVudGVy\nMg==\n"}})));
        assert_eq!(plain, secret(json!({"data": {"p": "eA=="}, "stringData": {"p": "hunter2"}})));
        assert_ne!(
            plain,
            secret(json!({"stringData": {"p": "hunter2"}, "type": "kubernetes.io/basic-auth"}))
        );
        assert_ne!(plain, secret(json!({"data": {"p": "not base64!"}})));
        assert_eq!(secret(json!({"data": {"p": "YQ=="}})), secret(json!({"data": {"p": "YR=="}})));
    }

    #[test]
    fn suffixes_stay_what_they_are() {
        // Names of deployed objects hang on these.
        assert_eq!(map(json!({"data": {"a": "b"}})), "f2fg5fgh9t");
        assert_eq!(secret(json!({"stringData": {"a": "b"}})), "t4t9fkdf57");
    }
}
