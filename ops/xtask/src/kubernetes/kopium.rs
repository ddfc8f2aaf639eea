//! Schemas from Rust sources that kopium made of CustomResourceDefinitions: structs with doc comments and `serde`
//! attributes. Only what kopium writes is read, line by line.

use std::collections::BTreeMap;

use super::node::{Kind, Node};

#[derive(Default)]
struct Struct {
    fields: Vec<Field>,
    /// Of an enum.
    variants: Vec<String>,
}

struct Field {
    name: String,
    description: String,
    form: String,
}

/// The kind of a source; `None` for a module that only lists others.
pub(super) fn read(text: &str) -> Option<Kind> {
    let attribute = |key: &str| {
        let line = text.lines().find(|line| line.starts_with("#[kube(group ="))?;
        let (_, rest) = line.split_once(&format!("{key} = \""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let (group, kind) = (attribute("group")?, attribute("kind")?);
    let types = structs(text);
    let spec = expand(&types, &format!("{kind}Spec"), 0);
    let root = Node { fields: BTreeMap::from([("spec".to_owned(), spec)]), ..Node::default() };
    Some(Kind { group, kind, root })
}

fn structs(text: &str) -> BTreeMap<String, Struct> {
    let mut all: BTreeMap<String, Struct> = BTreeMap::new();
    let (mut open, mut description, mut renamed) = (None::<String>, String::new(), None::<String>);
    for line in text.lines() {
        let line = line.trim();
        let opened = |word: &str| line.strip_prefix(word).and_then(|it| it.strip_suffix(" {"));
        if let Some(name) = opened("pub struct ").or_else(|| opened("pub enum ")) {
            open = Some(name.to_owned());
            all.entry(name.to_owned()).or_default();
            description.clear();
            renamed = None;
        } else if line == "}" {
            open = None;
        } else if let Some(words) = line.strip_prefix("///") {
            description.push_str(words);
        } else if line.starts_with("#[serde(") {
            renamed = line
                .split_once("rename = \"")
                .and_then(|(_, it)| it.split_once('"'))
                .map(|(it, _)| it.to_owned());
        } else if let (Some(open), Some(field)) = (&open, line.strip_prefix("pub ")) {
            let Some((name, form)) = field.trim_end_matches(',').split_once(": ") else { continue };
            let name = renamed.take().unwrap_or_else(|| name.trim_start_matches("r#").to_owned());
            let description = std::mem::take(&mut description);
            all.entry(open.clone()).or_default().fields.push(Field {
                name,
                description,
                form: form.to_owned(),
            });
        } else if let (Some(open), Some(variant)) = (&open, line.strip_suffix(',')) {
            let variant = renamed.take().unwrap_or_else(|| variant.to_owned());
            all.entry(open.clone()).or_default().variants.push(variant);
        } else {
            description.clear();
        }
    }
    all
}

/// kopium gives each place a type of its own, so the depth is that of the schema.
fn expand(types: &BTreeMap<String, Struct>, form: &str, depth: usize) -> Node {
    let inner = |prefix: &str| form.strip_prefix(prefix).and_then(|it| it.strip_suffix('>'));
    if depth > 60 {
        return Node::default();
    }
    if let Some(form) = inner("Option<").or_else(|| inner("Box<")) {
        return expand(types, form, depth + 1);
    }
    if let Some(form) = inner("Vec<") {
        return Node { items: Some(Box::new(expand(types, form, depth + 1))), ..Node::default() };
    }
    if let Some(form) = inner("BTreeMap<String, ").or_else(|| inner("HashMap<String, ")) {
        return Node { values: Some(Box::new(expand(types, form, depth + 1))), ..Node::default() };
    }
    if form == "String" {
        return Node { is_text: true, ..Node::default() };
    }
    let Some(found) = types.get(form) else { return Node::default() };
    let fields = found.fields.iter().map(|field| {
        let node = Node { description: field.description.clone(), ..expand(types, &field.form, depth + 1) };
        (field.name.clone(), node)
    });
    let (allowed, is_text) = (found.variants.clone(), !found.variants.is_empty());
    Node { fields: fields.collect(), allowed, is_text, ..Node::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_become_schemas() {
        let text = "\
#[kube(group = \"g.io\", version = \"v1\", kind = \"Thing\", plural = \"things\")]
pub struct ThingSpec {
    /// The login.
    #[serde(default, rename = \"loginSecret\")]
    pub login_secret: Option<ThingLogin>,
    #[serde(default)]
    pub names: Option<Vec<String>>,
}
/// Words.
pub struct ThingLogin {
    pub name: String,
    pub kind: ThingLoginKind,
}
pub enum ThingLoginKind {
    Secret,
    #[serde(rename = \"other-kind\")]
    OtherKind,
}
";
        let kind = read(text).expect("a kind");
        assert_eq!((kind.group.as_str(), kind.kind.as_str()), ("g.io", "Thing"));
        let spec = &kind.root.fields["spec"];
        assert_eq!(spec.fields["loginSecret"].description, " The login.");
        assert!(spec.fields["loginSecret"].fields["name"].is_text);
        assert_eq!(spec.fields["loginSecret"].fields["kind"].allowed, ["Secret", "other-kind"]);
        assert!(spec.fields["names"].items.as_ref().expect("a list").is_text);
        assert!(read("pub mod things;").is_none());
    }
}
