//! Fields of a schema that hold the name of a ConfigMap or Secret, by their shape: names of fields, what stands beside
//! a name, listed kinds, and the words of descriptions.
//!
//! What is found is reviewed by people; `SKIPPED` in `references.rs` lists what only looks like a reference.

use trimaran_model::field_words::words_of;

use super::node::Node;
use super::tree::Tree;

const SECRET: &str = "secret";
const CONFIG_MAP: &str = "config-map";
/// A name, or `NAMESPACE/NAME`.
const QUALIFIED_SECRET: &str = "qualified-secret";

/// Words that may follow `secret` or `configmap` in the key of a text that is a name.
const AFTER_NAME: &[&str] = &["name", "names", "ref", "refs", "reference", "references"];
/// Words that may follow in the key of a map with a `name`.
const AFTER_MAP: &[&str] = &["key", "selector", "target", "source", "sources"];
/// What a description says of a text that is a name and not the secret itself.
const NAME_WORDS: &[&str] = &[
    "name of",
    "names of",
    "secret name",
    "refer",
    "kubernetes secret",
    "secret in the same namespace",
    "secret containing",
    "secret that contains",
    "secret which",
    "secret resource",
    "secret object",
    "secrets in the same namespace",
    "the secret to",
    "container registry secret",
    "secret of type",
];
/// What a description says of the name of a Secret whose key does not say so.
const SECRET_NAME_WORDS: &[&str] = &[
    "name of the secret",
    "name of a secret",
    "name of the kubernetes secret",
    "name of an existing secret",
    "names of the secret",
    "secret that holds",
];
/// Fields of a volume that the part `@volume` covers.
const VOLUME: &[&str] = &[
    "configMap",
    "secret",
    "projected",
    "csi",
    "azureFile",
    "cephfs",
    "cinder",
    "flexVolume",
    "iscsi",
    "rbd",
    "scaleIO",
    "storageos",
];

/// The references below a map.
pub(super) fn find(node: &Node) -> Tree {
    let mut tree = Tree::default();
    let covered = parts(node, &mut tree);
    for (key, field) in &node.fields {
        if !covered.contains(&key.as_str()) {
            tree.put(key, place(key, field, &field.description));
        }
    }
    tree
}

/// Adds the hand-written parts that a map is, and returns the fields that they cover.
fn parts(node: &Node, tree: &mut Tree) -> Vec<&'static str> {
    let mut covered = Vec::new();
    if node.fields.get("spec").is_some_and(is_pod_spec) && node.has(&["metadata"]) {
        tree.what.insert("@pod-template");
        return vec!["spec"];
    }
    if is_pod_spec(node) {
        tree.what.insert("@pod-spec");
        covered.extend([
            "containers",
            "initContainers",
            "ephemeralContainers",
            "volumes",
            "imagePullSecrets",
        ]);
    }
    if ["env", "envFrom"].iter().any(|key| node.fields.get(*key).is_some_and(is_environment)) {
        tree.what.insert("@container");
        covered.extend(["env", "envFrom"]);
    }
    if node.has(&["configMap", "secret"])
        && ["emptyDir", "persistentVolumeClaim", "projected", "csi"].iter().any(|key| node.has(&[*key]))
    {
        tree.what.insert("@volume");
        covered.extend(VOLUME);
    }
    covered
}

fn is_pod_spec(node: &Node) -> bool {
    let container = node.fields.get("containers").and_then(|it| it.items.as_deref());
    let is_container =
        container.is_some_and(|it| it.has(&["env", "image"]) || it.named.as_deref() == Some("Container"));
    is_container && ["volumes", "nodeSelector", "tolerations"].iter().any(|key| node.has(&[*key]))
}

fn is_environment(node: &Node) -> bool {
    let Some(item) = node.items.as_deref() else { return false };
    let source = item.fields.get("valueFrom");
    matches!(item.named.as_deref(), Some("EnvVar" | "EnvFromSource"))
        || source.is_some_and(|it| it.has(&["secretKeyRef"]) || it.has(&["configMapKeyRef"]))
        || item.has(&["configMapRef"])
        || item.has(&["secretRef"])
}

/// The references of a field. `description` is the field's own, also for the items of its list.
fn place(key: &str, node: &Node, description: &str) -> Tree {
    let mut tree = find(node);
    if node.is_text {
        tree.what.extend(text(key, description));
    }
    if node.items.as_deref().is_some_and(|it| it.is_text) && key.ends_with("Secrets") {
        // A list of secrets themselves would be strange.
        tree.put("[]", leaf(SECRET));
    }
    for kind in reference(key, node, description) {
        tree.put("name", leaf(kind));
    }
    match node.named.as_deref() {
        Some("Container") => tree.merge(leaf("@container")),
        Some("Volume") => tree.merge(leaf("@volume")),
        Some("PodSpec") => tree.merge(leaf("@pod-spec")),
        Some("PodTemplateSpec") => tree.merge(leaf("@pod-template")),
        _ => {}
    }
    if let Some(items) = &node.items {
        tree.put("[]", place(key, items, &format!("{description} {}", items.description)));
    }
    if let Some(values) = &node.values {
        tree.put("{}", place(key, values, &format!("{description} {}", values.description)));
    }
    tree
}

fn leaf(what: &'static str) -> Tree {
    Tree { what: [what].into(), ..Tree::default() }
}

/// What a text names.
fn text(key: &str, description: &str) -> Option<&'static str> {
    let words = words_of(key);
    let says = |list: &[&str]| list.iter().any(|word| description.to_lowercase().contains(word));
    if let Some((kind, rest)) = kind_of(&words) {
        let is_name = rest.iter().all(|word| AFTER_NAME.contains(&word.as_str()));
        let before = words.len().checked_sub(rest.len() + 2).map_or("", |at| words[at].as_str());
        let is_registry = matches!(before, "pull" | "push");
        let is_sure = kind == CONFIG_MAP || !rest.is_empty() || is_registry || says(NAME_WORDS);
        let kind = if kind == SECRET && says(&["namespaced name"]) { QUALIFIED_SECRET } else { kind };
        return (is_name && is_sure).then_some(kind);
    }
    let lower = description.to_lowercase();
    let names_secret = SECRET_NAME_WORDS.iter().any(|phrase| has_phrase(&lower, phrase));
    (names_secret && words.last().is_some_and(|it| AFTER_NAME.contains(&it.as_str()))).then_some(SECRET)
}

/// What the `name` in a map names: none, one kind, or whichever the object says.
fn reference(key: &str, node: &Node, description: &str) -> Vec<&'static str> {
    match node.named.as_deref() {
        Some("SecretKeySelector") => return vec![SECRET],
        Some("ConfigMapKeySelector") => return vec![CONFIG_MAP],
        Some("LocalObjectReference") => {}
        _ if node.fields.get("name").is_some_and(|it| it.is_text) => {}
        _ => return Vec::new(),
    }
    let says = |word: &[&str]| word.iter().any(|word| description.to_lowercase().contains(word));
    let words = words_of(key);
    if matches!(words.first().map(String::as_str), Some("write" | "publish")) {
        return Vec::new();
    }
    let fits = |word: &String| [AFTER_NAME, AFTER_MAP].iter().any(|list| list.contains(&word.as_str()));
    let is_selector = node.has(&["key"]) && !node.has(&["kind"]);
    let by_key = kind_of(&words).map(|(kind, rest)| (kind, rest.iter().all(fits)));
    if by_key.is_some_and(|(_, fits)| !fits) && !is_selector {
        return Vec::new();
    }
    let listed_kinds =
        |field: &&Node| field.allowed.iter().any(|it| matches!(it.as_str(), "Secret" | "ConfigMap"));
    let typed = node.fields.get("type").filter(listed_kinds);
    if let Some(kind) = node.fields.get("kind").or(typed) {
        if key == "parametersRef" {
            return vec![CONFIG_MAP, SECRET];
        }
        let listed = |word: &str| kind.allowed.iter().any(|it| it == word);
        if !kind.allowed.is_empty() {
            let both = [(listed("Secret"), SECRET), (listed("ConfigMap"), CONFIG_MAP)];
            return both.into_iter().filter(|(is_listed, _)| *is_listed).map(|(_, kind)| kind).collect();
        }
        let text = format!("{description} {}", kind.description);
        let mentions = [(has_word(&text, "Secret"), SECRET), (has_word(&text, "ConfigMap"), CONFIG_MAP)];
        return mentions.into_iter().filter(|(is_there, _)| *is_there).map(|(_, kind)| kind).collect();
    }
    if let Some((kind, true)) = by_key {
        // The name of an item that holds a reference is its own.
        return if node.has(&["secretRef"]) { Vec::new() } else { vec![kind] };
    }
    let beside = |key: &String| matches!(key.as_str(), "name" | "key" | "optional" | "namespace");
    if !node.fields.keys().all(beside) {
        return Vec::new();
    }
    let lower = format!("{description} {}", node.description).to_lowercase();
    match (has_word(&lower, "secret"), says(&["configmap", "config map"])) {
        (true, false) => vec![SECRET],
        (false, true) => vec![CONFIG_MAP],
        // Types of operators say "the key to select" for both, and most of them are Secrets.
        (false, false) if is_selector => vec![SECRET],
        (true, true) if is_selector => vec![SECRET],
        _ => Vec::new(),
    }
}

/// Whether a text has a phrase that ends with a word, not with a part of one such as `secret` of `secretstore`.
fn has_phrase(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, _)| {
        let after = text[at + phrase.len()..].strip_prefix('s').unwrap_or(&text[at + phrase.len()..]);
        !after.starts_with(char::is_alphanumeric)
    })
}

/// Whether a text has a word, also in the plural, and not as a part of a longer one such as `SecretStore`.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|it| it == word || it.strip_suffix('s') == Some(word))
}

/// The kind that the words of a key name, and the words behind it.
fn kind_of(words: &[String]) -> Option<(&'static str, &[String])> {
    let kind = |word: &str| match word {
        "secret" | "secrets" => Some(SECRET),
        "configmap" | "configmaps" => Some(CONFIG_MAP),
        _ => None,
    };
    let at = words.iter().rposition(|word| kind(word).is_some())?;
    Some((kind(&words[at])?, &words[at + 1..]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use serde_json::{Value, json};

    /// The rows of a schema of `spec`.
    fn rows(properties: Value) -> Vec<String> {
        let schema = json!({"properties": {"spec": {"properties": properties}}});
        let tree = find(&Node::from_schema(&schema));
        let text = super::super::tree::rows("x", &BTreeMap::from([("K".to_owned(), tree)]));
        text.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
    }

    fn text(description: &str) -> Value {
        json!({"type": "string", "description": description})
    }

    fn map(properties: Value) -> Value {
        json!({"type": "object", "properties": properties})
    }

    #[test]
    fn names_in_texts() {
        assert_eq!(rows(json!({"secretName": text("")})), ["secret spec.secretName"]);
        assert_eq!(rows(json!({"caSecret": text("Name of the Secret")})), ["secret spec.caSecret"]);
        assert_eq!(rows(json!({"configMap": text("")})), ["config-map spec.configMap"]);
        assert_eq!(
            rows(json!({"pullSecrets": {"type": "array", "items": {"type": "string"},
            "description": "Secrets in the same namespace"}})),
            ["secret spec.pullSecrets[]"]
        );
        assert_eq!(
            rows(json!({"credentialName": text("The name of the secret that holds the certs.")})),
            ["secret spec.credentialName"]
        );
        let store = json!({"secretStoreRef": map(json!({"name": text("Name of the SecretStore")}))});
        assert_eq!(rows(store), [""; 0]);
        let either = text("Name or namespaced name of the Secret");
        assert_eq!(rows(json!({"caSecret": either})), ["qualified-secret spec.caSecret"]);
        // The secret itself.
        assert_eq!(rows(json!({"clientSecret": text("The OAuth secret")})), [""; 0]);
        assert_eq!(rows(json!({"secretKey": text(""), "secretStoreName": text("")})), [""; 0]);
    }

    #[test]
    fn names_in_maps() {
        let name = || text("");
        assert_eq!(rows(json!({"tlsSecret": map(json!({"name": name()}))})), ["secret spec.tlsSecret.name"]);
        let selector = json!({"password": map(json!({"name": name(), "key": name()}))});
        assert_eq!(rows(selector), ["secret spec.password.name"]);
        let kinds = json!({"type": "string", "enum": ["Secret", "ConfigMap"]});
        let from =
            json!({"valuesFrom": {"type": "array", "items": map(json!({"kind": kinds, "name": name()}))}});
        assert_eq!(rows(from), ["config-map spec.valuesFrom[].name", "secret spec.valuesFrom[].name"]);
        let other = json!({"type": "string", "enum": ["GitRepository"]});
        assert_eq!(rows(json!({"secretRef": map(json!({"kind": other, "name": name()}))})), [""; 0]);
        assert_eq!(rows(json!({"serviceRef": map(json!({"name": name()}))})), [""; 0]);
        let output = json!({"writeConnectionSecretToRef": map(json!({"name": name()}))});
        assert_eq!(rows(output), [""; 0]);
    }

    #[test]
    fn parts_of_pods() {
        let variable = map(
            json!({"name": {}, "valueFrom": map(json!({"secretKeyRef": map(json!({"name": text("")}))}))}),
        );
        let env = json!({"type": "array", "items": variable});
        let container = map(json!({"name": text(""), "image": text(""), "env": env}));
        let pod = map(json!({"containers": {"type": "array", "items": container}, "volumes": {}}));
        let template = map(json!({"metadata": {}, "spec": pod}));
        assert_eq!(rows(json!({"template": template})), ["@pod-template spec.template"]);
        assert_eq!(rows(json!({"podSpec": pod})), ["@pod-spec spec.podSpec"]);
        assert_eq!(rows(json!({"env": env})), ["@container spec"]);
        let volume = map(json!({"secret": {}, "configMap": {}, "emptyDir": {}}));
        assert_eq!(rows(json!({"extra": {"type": "array", "items": volume}})), ["@volume spec.extra[]"]);
    }
}
