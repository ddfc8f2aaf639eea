//! A schema of a custom resource, in one form whatever it was read from.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is known of one place of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Node {
    pub(super) description: String,
    /// A type of Kubernetes that the source names and does not describe, such as `SecretKeySelector`.
    pub(super) named: Option<String>,
    pub(super) fields: BTreeMap<String, Node>,
    /// Of a list.
    pub(super) items: Option<Box<Node>>,
    /// Of a map with any keys.
    pub(super) values: Option<Box<Node>>,
    pub(super) is_text: bool,
    /// The only values that a text may have, when they are listed.
    pub(super) allowed: Vec<String>,
}

/// A text in one line: descriptions are wrapped in some files.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A kind with the schema of one of its versions.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) root: Node,
}

impl Node {
    /// From a JSON schema as CustomResourceDefinitions have it.
    pub(super) fn from_schema(schema: &Value) -> Self {
        let child =
            |key: &str| schema.get(key).filter(|it| it.is_object()).map(|it| Box::new(Self::from_schema(it)));
        let fields = schema["properties"].as_object().into_iter().flatten();
        let allowed = schema["enum"].as_array().into_iter().flatten();
        Self {
            description: words(schema["description"].as_str().unwrap_or_default()),
            named: None,
            fields: fields.map(|(name, field)| (name.clone(), Self::from_schema(field))).collect(),
            items: child("items"),
            values: child("additionalProperties"),
            is_text: schema["type"] == "string",
            allowed: allowed.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    pub(super) fn has(&self, fields: &[&str]) -> bool {
        fields.iter().all(|field| self.fields.contains_key(*field))
    }
}

/// The kinds of the CustomResourceDefinitions in a text of YAML.
pub(super) fn read_definitions(text: &str) -> Result<Vec<Kind>, String> {
    let mut kinds = Vec::new();
    for document in text.split("\n---") {
        // Files of charts and of other kinds stand beside the definitions.
        if !document.contains("kind: CustomResourceDefinition") || document.contains("{{") {
            continue;
        }
        let document: Value = serde_saphyr::from_str(document).map_err(|error| error.to_string())?;
        let spec = &document["spec"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for version in spec["versions"].as_array().into_iter().flatten() {
            let root = Node::from_schema(&version["schema"]["openAPIV3Schema"]);
            kinds.push(Kind { group: word(&spec["group"]), kind: word(&spec["names"]["kind"]), root });
        }
    }
    Ok(kinds)
}
