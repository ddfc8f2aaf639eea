//! Values of Kubernetes Secrets, sealed before they leave a user's machine and opened by the agent that applies them.
//!
//! A Secret's values are encrypted with a key of their own (AES-256-GCM), and that key is wrapped for each target: an
//! ephemeral X25519 key against the target's, HKDF-SHA256, AES-256-GCM. What is between the two, the coordinators with
//! their log, rows and plans among them, holds ciphertext, names of keys and sizes.
//!
//! Sealing is a function of its input: the same values for the same targets give the same bytes, so that a plan can be
//! compared and nothing rolls out anew because it was sealed again. All keys are derived from the values under a key that
//! targets give to those who may deploy, so equal values look equal to others, and no value can be tried out
//! without that key.
//!
//! Architecture invariants:
//! - a value that was sealed under one name in one object opens nowhere else;
//! - what is not sealed passes through as it is.
//!
//! Deliberately not here: how keys get to whoever seals, and where a target keeps its own.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Annotation of a sealed Secret: its key, wrapped for each target.
pub const SEALED_ANNOTATION: &str = "trimaran.dev/sealed";
/// What a sealed value begins with; no base64 has it.
const PREFIX: &str = "sealed:1:";
/// Separates this use of the keys from all others.
const CONTEXT: &str = "trimaran sealing 1";
const KEY_BYTES: usize = 32;
const PUBLIC_BYTES: usize = 32;

/// What a target gives to those who may deploy to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealingKey {
    public: [u8; PUBLIC_BYTES],
    /// Keys are derived from values under it.
    derive: [u8; KEY_BYTES],
}

impl SealingKey {
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.public.as_slice(), self.derive.as_slice()].concat()
    }

    /// Reads what [`SealingKey::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (public, derive) = bytes.split_at_checked(PUBLIC_BYTES)?;
        Some(Self { public: public.try_into().ok()?, derive: derive.try_into().ok()? })
    }
}

/// What a target keeps.
pub struct OpeningKey {
    private: [u8; KEY_BYTES],
    derive: [u8; KEY_BYTES],
}

impl OpeningKey {
    /// The length of [`OpeningKey::from_random`]'s argument.
    pub const BYTES: usize = 2 * KEY_BYTES;

    /// A key of random bytes; the same bytes are the same key.
    pub fn from_random(bytes: &[u8; Self::BYTES]) -> Self {
        let (private, derive) = bytes.split_at(KEY_BYTES);
        let whole = "a half has this length";
        Self { private: private.try_into().expect(whole), derive: derive.try_into().expect(whole) }
    }

    pub fn sealing_key(&self) -> SealingKey {
        SealingKey { public: public_of(&self.private), derive: self.derive }
    }
}

/// Why a value can't be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("Secret {name} is not sealed for target {target}: deploy it again")]
    OtherTarget { name: String, target: String },
    #[error("Secret {name} was sealed with another key of target {target}: deploy it again")]
    OtherKey { name: String, target: String },
    #[error("value {key} of Secret {name} is damaged")]
    Damaged { name: String, key: String },
}

/// Whether an object holds values that anyone can read.
pub fn is_plain(object: &Value) -> bool {
    is_secret(object)
        && ["data", "stringData"].into_iter().filter_map(|field| object[field].as_object()).any(|values| {
            values.values().any(|value| !value.as_str().is_some_and(|text| text.starts_with(PREFIX)))
        })
}

fn is_secret(object: &Value) -> bool {
    object["kind"] == "Secret" && object["apiVersion"] == "v1"
}

fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Seals the values of a Secret for targets. Any other object is left as it is. Values that are no base64 are left out:
/// whoever seals has checked them.
///
/// # Panics
/// Without a target: there is no one to seal for.
pub fn seal(object: &mut Value, targets: &BTreeMap<String, SealingKey>) {
    if !is_plain(object) {
        return;
    }
    let name = name_of(object).to_owned();
    let values = plain_values(object);
    let first = targets.values().next().expect("whoever seals has a target");
    let key = derived(&first.derive, &["values", &name], &canonical(&values));
    let sealed: Map<String, Value> = values
        .iter()
        .map(|(field, value)| (field.clone(), seal_value(&key, &name, field, value).into()))
        .collect();
    let wrapped: Map<String, Value> = targets
        .iter()
        .map(|(target, sealing)| {
            (target.clone(), STANDARD.encode(wrap(&key, &first.derive, target, sealing)).into())
        })
        .collect();
    let Some(all) = object.as_object_mut() else { return };
    all.shift_remove("stringData");
    all.insert("data".to_owned(), Value::Object(sealed));
    let metadata = all.entry("metadata").or_insert_with(|| json!({}));
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = json!({});
    }
    // Rendering gives the object another name.
    let annotation = json!({"name": name, "keys": wrapped});
    metadata["annotations"][SEALED_ANNOTATION] = annotation.to_string().into();
}

/// Opens the values of a Secret that was sealed for a target. Any other object is left as it is.
///
/// # Errors
/// When it was sealed for others, with another key, or was changed since.
pub fn open(object: &mut Value, target: &str, key: &OpeningKey) -> Result<(), OpenError> {
    if !is_sealed(object) {
        return Ok(());
    }
    let name = name_of(object).to_owned();
    let annotation = object.pointer("/metadata/annotations").and_then(|all| all[SEALED_ANNOTATION].as_str());
    let annotation: Value = annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let sealed_as = annotation["name"].as_str().unwrap_or_default();
    let other_target = || OpenError::OtherTarget { name: name.clone(), target: target.to_owned() };
    let wrapped = annotation["keys"][target]
        .as_str()
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or_else(other_target)?;
    let other_key = || OpenError::OtherKey { name: name.clone(), target: target.to_owned() };
    let content_key = unwrap(&wrapped, target, key).ok_or_else(other_key)?;
    if let Some(values) = object.get_mut("data").and_then(Value::as_object_mut) {
        for (field, value) in values.iter_mut() {
            let Some(text) = value.as_str().and_then(|text| text.strip_prefix(PREFIX)) else { continue };
            let opened = open_value(&content_key, sealed_as, field, text);
            let damaged = || OpenError::Damaged { name: name.clone(), key: field.clone() };
            *value = STANDARD.encode(opened.ok_or_else(damaged)?).into();
        }
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.shift_remove(SEALED_ANNOTATION);
        if annotations.is_empty()
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.shift_remove("annotations");
        }
    }
    Ok(())
}

/// Whether an object holds values that its target has to open.
pub fn is_sealed(object: &Value) -> bool {
    let annotations = object.pointer("/metadata/annotations");
    is_secret(object) && annotations.is_some_and(|all| all.get(SEALED_ANNOTATION).is_some())
}

/// The values as an API server would store them, decoded: `stringData` wins.
fn plain_values(object: &Value) -> BTreeMap<String, Vec<u8>> {
    let mut values = BTreeMap::new();
    for (field, value) in object["data"].as_object().into_iter().flatten() {
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text.trim()).ok());
        values.extend(decoded.map(|value| (field.clone(), value)));
    }
    for (field, value) in object["stringData"].as_object().into_iter().flatten() {
        values.extend(value.as_str().map(|text| (field.clone(), text.as_bytes().to_vec())));
    }
    values
}

/// All names and values, each with its length before it.
fn canonical(values: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (field, value) in values {
        for part in [field.as_bytes(), value] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part);
        }
    }
    bytes
}

fn derived(key: &[u8], labels: &[&str], input: &[u8]) -> [u8; KEY_BYTES] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key));
    for label in [&[CONTEXT], labels].concat() {
        context.update(&(label.len() as u64).to_be_bytes());
        context.update(label.as_bytes());
    }
    context.update(input);
    context.sign().as_ref().try_into().expect("a tag of SHA-256 has 32 bytes")
}

fn cipher(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has the cipher's length"))
}

/// One value under its name; a nonce is used once, since the key depends on all values.
fn seal_value(key: &[u8; KEY_BYTES], name: &str, field: &str, value: &[u8]) -> String {
    let nonce = derived(key, &["nonce", field], &[]);
    let nonce: [u8; NONCE_LEN] = nonce[..NONCE_LEN].try_into().expect("a part of a tag");
    let mut bytes = value.to_vec();
    let aad = Aad::from(format!("{name}/{field}"));
    let sealed = cipher(key).seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut bytes);
    sealed.expect("a value is shorter than the cipher's limit");
    format!("{PREFIX}{}", STANDARD.encode([nonce.as_slice(), &bytes].concat()))
}

fn open_value(key: &[u8; KEY_BYTES], name: &str, field: &str, text: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(text).ok()?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
    let mut sealed = sealed.to_vec();
    let aad = Aad::from(format!("{name}/{field}"));
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    Some(cipher(key).open_in_place(nonce, aad, &mut sealed).ok()?.to_vec())
}

fn private(bytes: &[u8; KEY_BYTES]) -> PrivateKey {
    PrivateKey::from_private_key(&X25519, bytes).expect("any 32 bytes are a key of X25519")
}

fn public_of(bytes: &[u8; KEY_BYTES]) -> [u8; PUBLIC_BYTES] {
    let public = private(bytes).compute_public_key().expect("a private key has a public one");
    public.as_ref().try_into().expect("a key of X25519 has 32 bytes")
}

/// The key that both sides agree on.
fn agreed(
    private_key: &[u8; KEY_BYTES],
    peer: &[u8; PUBLIC_BYTES],
    ephemeral: &[u8; PUBLIC_BYTES],
    target: &str,
) -> Option<[u8; KEY_BYTES]> {
    let peer = UnparsedPublicKey::new(&X25519, peer);
    let secret = agreement::agree(&private(private_key), peer, (), |secret| Ok(secret.to_vec())).ok()?;
    let salt = Salt::new(HKDF_SHA256, ephemeral);
    let info = [CONTEXT.as_bytes(), target.as_bytes()];
    let mut key = [0; KEY_BYTES];
    salt.extract(&secret).expand(&info, HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    Some(key)
}

/// The ephemeral public key and the wrapped key.
fn wrap(key: &[u8; KEY_BYTES], derive: &[u8], target: &str, sealing: &SealingKey) -> Vec<u8> {
    let ephemeral = derived(derive, &["ephemeral", target], &[key.as_slice(), &sealing.public].concat());
    let public = public_of(&ephemeral);
    let wrapping = agreed(&ephemeral, &sealing.public, &public, target);
    // A target whose public key has no agreement gets a key that it can't open: its agent says so.
    let wrapping = wrapping.unwrap_or(ephemeral);
    let mut bytes = key.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let sealed = cipher(&wrapping).seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes);
    sealed.expect("a key is shorter than the cipher's limit");
    [public.as_slice(), &bytes].concat()
}

fn unwrap(wrapped: &[u8], target: &str, key: &OpeningKey) -> Option<[u8; KEY_BYTES]> {
    let (public, sealed) = wrapped.split_at_checked(PUBLIC_BYTES)?;
    let public: [u8; PUBLIC_BYTES] = public.try_into().ok()?;
    let wrapping = agreed(&key.private, &public, &public, target)?;
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    cipher(&wrapping).open_in_place(nonce, Aad::empty(), &mut sealed).ok()?[..].try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> OpeningKey {
        let mut bytes = [seed; OpeningKey::BYTES];
        bytes[KEY_BYTES] = seed.wrapping_add(100);
        OpeningKey::from_random(&bytes)
    }

    fn targets() -> BTreeMap<String, SealingKey> {
        BTreeMap::from([
            ("oslo".to_owned(), key(1).sealing_key()),
            ("tokyo".to_owned(), key(2).sealing_key()),
        ])
    }

    fn secret(value: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "annotations": {"a": "b"}},
               "data": {"user": "YWRtaW4="}, "stringData": {"password": value}})
    }

    fn sealed(value: &str) -> Value {
        let mut object = secret(value);
        seal(&mut object, &targets());
        object
    }

    #[test]
    fn each_target_opens_what_was_sealed_and_nothing_shows_the_values() {
        let object = sealed("correct horse");
        let text = object.to_string();
        assert!(
            !text.contains("correct horse")
                && !text.contains("Y29ycmVjdCBob3JzZQ")
                && !text.contains("YWRtaW4=")
        );
        assert!(is_sealed(&object) && !is_plain(&object));
        for (target, seed) in [("oslo", 1), ("tokyo", 2)] {
            let mut opened = object.clone();
            opened["metadata"]["name"] = json!("db-rendered");
            open(&mut opened, target, &key(seed)).expect("it was sealed for it");
            let expected = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db-rendered", "annotations": {"a": "b"}},
                                  "data": {"password": "Y29ycmVjdCBob3JzZQ==", "user": "YWRtaW4="}});
            assert_eq!(opened, expected);
        }
    }

    #[test]
    fn equal_values_give_equal_bytes_and_others_do_not() {
        assert_eq!(sealed("a"), sealed("a"));
        assert_ne!(sealed("a")["data"]["user"], sealed("b")["data"]["user"], "its key depends on all values");
        let mut again = sealed("a");
        seal(&mut again, &targets());
        assert_eq!(again, sealed("a"), "what is sealed is sealed once");
    }

    #[test]
    fn what_was_sealed_for_others_or_changed_is_refused_by_its_cause() {
        let mut object = sealed("a");
        let other = open(&mut object.clone(), "lima", &key(3)).expect_err("it is of others");
        assert_eq!(other.to_string(), "Secret db is not sealed for target lima: deploy it again");
        let replaced = open(&mut object.clone(), "oslo", &key(9)).expect_err("the key was replaced");
        assert!(matches!(replaced, OpenError::OtherKey { .. }));
        let moved = object["data"]["user"].take();
        object["data"] = json!({"password": moved});
        let damaged = open(&mut object, "oslo", &key(1)).expect_err("a value was moved");
        assert!(matches!(damaged, OpenError::Damaged { .. }));
    }

    #[test]
    fn other_objects_pass_through() {
        let config =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}});
        let empty = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
        for object in [config, empty] {
            let mut copy = object.clone();
            seal(&mut copy, &targets());
            open(&mut copy, "oslo", &key(1)).expect("nothing is sealed");
            assert_eq!(copy, object);
        }
    }

    #[test]
    fn keys_travel_as_bytes() {
        let sealing = key(1).sealing_key();
        assert_eq!(SealingKey::from_bytes(&sealing.to_bytes()), Some(sealing));
        assert_eq!(SealingKey::from_bytes(&[0; 63]), None);
    }
}
