//! Texts that look like the name of a ConfigMap or Secret in places that no row of the references files covers.
//!
//! Custom resources are too many for one table, so a name that a set renames is also searched by the shape of its
//! place: `secretRef: { name }`, `tlsSecretName`, `{ kind: ConfigMap, name }`, `{ name, key }`. Such a place is
//! reported and never rewritten: what an unknown controller does with the name is not known. Deliberately not here:
//! names inside of longer texts (arguments, scripts, the data of ConfigMaps), and labels and selectors.

use serde_json::{Map, Value};
use trimaran_model::field_words::words_of;

use super::ConfigKind;

/// What a place looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// `None` when the place does not show which of the two.
    pub(super) kind: Option<ConfigKind>,
    /// A word of the key by which an object of another kind may be meant as well, such as `certificate`.
    pub(super) may_mean: Option<&'static str>,
    /// The namespace beside the name.
    pub(super) has_namespace: bool,
}

/// Words that may follow `secret` or `configmap` in the key of a text that is a name.
const AFTER_NAME: &[&str] = &["name", "names", "ref", "refs", "reference", "references", "list"];
/// Words that may follow in the key of a map that holds a `name`. `secretStoreRef` names another kind of object.
const AFTER_MAP: &[&str] = &["key", "keys", "selector", "source", "sources", "target"];
/// Words of keys whose value is often a Secret, but may be another kind of object.
const CREDENTIALS: &[&str] = &[
    "credential",
    "credentials",
    "password",
    "token",
    "cert",
    "certs",
    "certificate",
    "certificates",
    "ca",
    "tls",
    "keystore",
    "truststore",
];
/// Words of keys that may name an object of any kind, when they say that they refer to one.
const PARAMETERS: &[&str] = &["param", "params", "parameter", "parameters"];

/// The shape of the place of a text in an object; `None` for places that name something else.
pub(super) fn shape_at(object: &Value, pointer: &str) -> Option<Shape> {
    let keys: Vec<String> =
        pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect();
    let is_index = |part: &String| part.bytes().all(|byte| byte.is_ascii_digit());
    let (leaf, before) = keys.split_last()?;
    let parent = object.pointer(pointer.rsplit_once('/')?.0).and_then(Value::as_object);
    let container = before.iter().rev().find(|part| !is_index(part)).map_or("", String::as_str);
    match (keys.first()?.as_str(), container) {
        ("status", _) | (_, "labels" | "matchLabels" | "nodeSelector" | "selector") => return None,
        (_, "annotations") => {
            let name = leaf.rsplit_once('/').map_or(leaf.as_str(), |(_, name)| name);
            return by_words(name, AFTER_NAME, false);
        }
        ("metadata", _) => return None,
        _ => {}
    }
    if is_index(leaf) {
        return by_words(container, AFTER_NAME, true);
    }
    let parent = parent?;
    match leaf.as_str() {
        "name" => in_map(parent, container),
        // A variable that says how something is called.
        "value" => by_words(parent.get("name")?.as_str()?, AFTER_NAME, false),
        // `secrets: { users: NAME }`.
        _ if matches!(container, "secrets" | "configMaps") => by_words(container, AFTER_NAME, false),
        key => by_words(key, AFTER_NAME, true),
    }
}

/// The namespace beside a name.
pub(super) fn namespace_beside<'a>(object: &'a Value, pointer: &str, shape: Shape) -> Option<&'a str> {
    let parent = object.pointer(pointer.rsplit_once('/')?.0).filter(|_| shape.has_namespace)?;
    parent.get("namespace")?.as_str()
}

/// The shape of a `name` in a map: the fields beside it decide, then the key of the map.
fn in_map(map: &Map<String, Value>, key: &str) -> Option<Shape> {
    let text = |key: &str| map.get(key).and_then(Value::as_str).filter(|it| !it.is_empty());
    let has_namespace = text("namespace").is_some();
    if text("group").or(text("apiGroup")).is_some() || text("apiVersion").is_some_and(|it| it != "v1") {
        return None;
    }
    if let Some(kind) = text("kind") {
        let kind = [ConfigKind::ConfigMap, ConfigKind::Secret].into_iter().find(|it| it.as_str() == kind)?;
        return Some(Shape { kind: Some(kind), may_mean: None, has_namespace });
    }
    let typed = text("type").and_then(|it| kind_of_word(&it.to_ascii_lowercase()));
    if let Some(kind) = typed {
        return Some(Shape { kind: Some(kind), may_mean: None, has_namespace });
    }
    let after: Vec<&str> = AFTER_NAME.iter().chain(AFTER_MAP).copied().collect();
    if let Some(shape) = by_words(key, &after, true) {
        return Some(Shape { has_namespace, ..shape });
    }
    let is_reference = map.keys().all(|it| matches!(it.as_str(), "name" | "key" | "optional" | "namespace"));
    let is_selector = is_reference && text("key").is_some();
    let may_mean = word_of(&words_of(key), CREDENTIALS).filter(|_| is_reference && !is_selector);
    (is_selector || may_mean.is_some()).then_some(Shape { kind: None, may_mean, has_namespace })
}

/// The shape that the words of a key say. With `weak`, words such as `credential` are enough to ask.
fn by_words(key: &str, after: &[&str], weak: bool) -> Option<Shape> {
    let words = words_of(key);
    let found = words.iter().rposition(|word| kind_of_word(word).is_some());
    if let Some(at) = found {
        let rest_fits = words[at + 1..].iter().all(|word| after.contains(&word.as_str()));
        let kind = kind_of_word(&words[at]);
        return rest_fits.then_some(Shape { kind, may_mean: None, has_namespace: false });
    }
    let (last, first) = words.split_last()?;
    let names = AFTER_NAME.contains(&last.as_str());
    // `token` alone holds a token; `tokenRef` and `tokenName` name something.
    let word = word_of(first, CREDENTIALS).or_else(|| word_of(first, PARAMETERS));
    let may_mean = word.filter(|_| weak && names);
    may_mean.is_some().then_some(Shape { kind: None, may_mean, has_namespace: false })
}

/// The first word of a list that is among the words of a key.
fn word_of(words: &[String], list: &[&'static str]) -> Option<&'static str> {
    list.iter().copied().find(|known| words.iter().any(|word| word == known))
}

/// Whether an object of another kind is what a key with this word means: a Certificate, or whatever a policy takes as
/// its parameters.
pub(super) fn is_meant(object: &Value, word: &str) -> bool {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let is_custom = crate::identity::group(object).contains('.') && !kind.contains("policy");
    kind.contains(word.trim_end_matches('s')) || (PARAMETERS.contains(&word) && is_custom)
}

fn kind_of_word(word: &str) -> Option<ConfigKind> {
    match word {
        "secret" | "secrets" => Some(ConfigKind::Secret),
        "configmap" | "configmaps" => Some(ConfigKind::ConfigMap),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The shape of the place of the text `app`.
    fn shape(object: &Value) -> Option<(Option<ConfigKind>, bool)> {
        let mut place = None;
        crate::walk::texts(object, "", &mut |text, pointer| {
            if text == "app" {
                place = Some(pointer.to_owned());
            }
        });
        shape_at(object, &place.expect("the object holds the text"))
            .map(|it| (it.kind, it.may_mean.is_none()))
    }

    #[test]
    fn places_that_look_like_references() {
        use ConfigKind::{ConfigMap, Secret};
        let some = |kind| Some((Some(kind), true));
        let cases = [
            (
                json!({"spec": {"env": [{"valueFrom": {"secretKeyRef": {"name": "app", "key": "k"}}}]}}),
                some(Secret),
            ),
            (json!({"spec": {"envFrom": [{"configMapRef": {"name": "app"}}]}}), some(ConfigMap)),
            (json!({"spec": {"volumes": [{"secret": {"secretName": "app"}}]}}), some(Secret)),
            (json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "app"}}]}}), some(ConfigMap)),
            (json!({"spec": {"imagePullSecrets": [{"name": "app"}]}}), some(Secret)),
            (json!({"spec": {"pullSecrets": ["app"]}}), some(Secret)),
            (json!({"spec": {"secrets": {"users": "app"}}}), some(Secret)),
            (json!({"spec": {"clientCASecret": "app"}}), some(Secret)),
            (json!({"spec": {"importCredentialsSecret": {"name": "app"}}}), some(Secret)),
            (json!({"spec": {"source": {"kind": "ConfigMap", "name": "app"}}}), some(ConfigMap)),
            (json!({"spec": {"source": {"type": "secret", "name": "app"}}}), some(Secret)),
            (json!({"spec": {"password": {"key": "p", "name": "app"}}}), Some((None, true))),
            (json!({"spec": {"tls": {"credentialName": "app"}}}), Some((None, false))),
            (json!({"spec": {"certificateRefs": [{"name": "app"}]}}), Some((None, false))),
            (json!({"spec": {"paramRef": {"name": "app"}}}), Some((None, false))),
            (json!({"spec": {"password": {"name": "app"}}}), Some((None, false))),
            (json!({"spec": {"superuserCredentials": {"name": "app"}}}), Some((None, false))),
            (json!({"metadata": {"annotations": {"example.com/auth-secret": "app"}}}), some(Secret)),
            (json!({"spec": {"env": [{"name": "TLS_SECRET_NAME", "value": "app"}]}}), some(Secret)),
        ];
        for (object, expected) in cases {
            assert_eq!(shape(&object), expected, "{object}");
        }
    }

    #[test]
    fn places_that_name_something_else() {
        let cases = [
            json!({"metadata": {"name": "app"}}),
            json!({"metadata": {"labels": {"secret": "app"}}}),
            json!({"spec": {"selector": {"matchLabels": {"secret": "app"}}}}),
            json!({"spec": {"volumes": [{"name": "app"}]}}),
            json!({"spec": {"serviceName": "app"}}),
            json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "app"}}}),
            json!({"spec": {"secretStoreRef": {"name": "app"}}}),
            json!({"spec": {"secretRef": {"kind": "SecretStore", "name": "app"}}}),
            json!({"spec": {"secretRef": {"group": "example.com", "name": "app"}}}),
            json!({"spec": {"secretRef": {"apiVersion": "example.com/v1", "kind": "Secret", "name": "app"}}}),
            json!({"spec": {"data": [{"secretKey": "app"}]}}),
            json!({"spec": {"env": [{"name": "SERVICE", "value": "app"}]}}),
            json!({"spec": {"token": "app"}}),
            json!({"spec": {"params": [{"name": "app"}]}}),
            json!({"spec": {"tls": [{"name": "app", "hosts": []}]}}),
            json!({"spec": {"args": ["app"]}}),
            json!({"status": {"secretName": "app"}}),
            json!({"metadata": {"annotations": {"secret.example.com/reload": "app"}}}),
        ];
        for object in cases {
            assert_eq!(shape(&object), None, "{object}");
        }
    }
}
