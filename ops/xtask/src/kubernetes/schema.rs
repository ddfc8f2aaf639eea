//! The fields of the kinds of Kubernetes itself, from the OpenAPI documents of its releases, as one text.
//!
//! `kind VERSION KIND = TYPE` names the type of a kind; `type TYPE FIELD:FORM…` lists the fields of a type. A form is
//! `string`, `int32`, `int64`, `number`, `boolean`, `int-or-string`, `quantity`, `any`, a type, `[]FORM` for a list,
//! `[KEYS]FORM` for a list that server-side apply merges by the values of KEYS (`.` for a set of texts; `KEY=VALUE` for
//! a key with a default), and `{}FORM` for a map.
//!
//! All releases are read as one: a field that one of them has is a field. Which release a cluster runs is not known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::registry::go_module;

const MODULE: &str = "k8s.io/kubernetes";
/// The oldest release that the clients support, up to the newest one.
const RELEASES: &[&str] = &["v1.33.5", "v1.34.4", "v1.35.4", "v1.36.3", "v1.37.2"];
const OUTPUT: &str = "agent/kubernetes/core/schema/kubernetes.txt";
/// Keys of lists that have a default (`k8s.io/api/core/v1`, `+default`): the end of the type of an item, key, default.
const KEY_DEFAULTS: &[(&str, &str, &str)] =
    &[("Port", "protocol", "TCP"), ("LocalObjectReference", "name", "")];

#[derive(Default)]
struct Schema {
    /// By version and kind.
    kinds: BTreeMap<(String, String), String>,
    types: BTreeMap<String, BTreeMap<String, String>>,
}

pub(super) fn write(root: &Path) -> Result<(), String> {
    let mut schema = Schema::default();
    for release in RELEASES {
        let path = go_module(MODULE, release)?.join("api/openapi-spec/swagger.json");
        let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let document: Value = serde_json::from_slice(&text).map_err(|error| format!("{release}: {error}"))?;
        let definitions = document["definitions"].as_object().ok_or("the document has no definitions")?;
        for (name, definition) in definitions {
            schema.add(name, definition);
        }
    }
    schema.keep_used();
    let output = root.join(OUTPUT);
    std::fs::write(&output, schema.print()).map_err(|error| format!("{}: {error}", output.display()))
}

impl Schema {
    fn add(&mut self, name: &str, definition: &Value) {
        let Some(properties) = definition["properties"].as_object() else { return };
        let name = short_name(name);
        let is_object = properties.get("metadata").is_some_and(|it| form(it) == "meta.v1.ObjectMeta");
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        for kind in kinds.into_iter().flatten().filter(|_| is_object) {
            let word = |key: &str| kind[key].as_str().unwrap_or_default();
            let version = match word("group") {
                "" => word("version").to_owned(),
                group => format!("{group}/{}", word("version")),
            };
            self.kinds.insert((version, word("kind").to_owned()), name.clone());
        }
        let fields = self.types.entry(name).or_default();
        for (field, property) in properties {
            let new = form(property);
            let known = fields.entry(field.clone()).or_insert_with(|| new.clone());
            // Releases that differ allow whatever one of them allows.
            if *known != new {
                "any".clone_into(known);
            }
        }
    }

    /// Drops types that no kind leads to, such as those of requests. A type without fields allows any value.
    fn keep_used(&mut self) {
        let names: BTreeSet<String> = self.types.keys().cloned().collect();
        for form in self.types.values_mut().flat_map(BTreeMap::values_mut) {
            let item = item_of(form);
            if item.contains('.') && !names.contains(item) {
                let outer = form.len() - item.len();
                form.replace_range(outer.., "any");
            }
        }
        let mut open: Vec<String> = self.kinds.values().cloned().collect();
        let mut used = BTreeMap::new();
        while let Some(name) = open.pop() {
            if let Some(fields) = self.types.remove(&name) {
                open.extend(fields.values().map(|form| item_of(form).to_owned()));
                used.insert(name, fields);
            }
        }
        self.types = used;
    }

    fn print(&self) -> String {
        let releases = RELEASES.join(", ");
        let mut text = format!(
            "# Written by `cargo xtask kubernetes schema` from {MODULE} {releases}; its source says what a line means.\n"
        );
        for ((version, kind), name) in &self.kinds {
            writeln!(text, "kind {version} {kind} = {name}").expect("writing to a string cannot fail");
        }
        for (name, fields) in &self.types {
            write!(text, "type {name}").expect("writing to a string cannot fail");
            for (field, form) in fields {
                write!(text, " {field}:{form}").expect("writing to a string cannot fail");
            }
            text.push('\n');
        }
        text
    }
}

/// The form of a property.
fn form(property: &Value) -> String {
    if let Some(reference) = property["$ref"].as_str() {
        return referred(reference.rsplit('/').next().unwrap_or(reference));
    }
    match (property["type"].as_str(), property["format"].as_str()) {
        (Some("string"), Some("int-or-string")) => "int-or-string".to_owned(),
        (Some("string"), _) => "string".to_owned(),
        (Some("integer"), Some(format)) => format.to_owned(),
        (Some("number"), _) => "number".to_owned(),
        (Some("boolean"), _) => "boolean".to_owned(),
        (Some("array"), _) => {
            let item = form(&property["items"]);
            format!("[{}]{item}", list_keys(property, &item))
        }
        (Some("object"), _) if property["additionalProperties"].is_object() => {
            format!("{{}}{}", form(&property["additionalProperties"]))
        }
        _ => "any".to_owned(),
    }
}

/// By what server-side apply tells the items of a list apart; empty when it replaces the list as a whole.
fn list_keys(property: &Value, item: &str) -> String {
    if property["x-kubernetes-list-type"] == "set" {
        return ".".to_owned();
    }
    let keys = property["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
    let keys: Vec<String> = keys
        .filter_map(Value::as_str)
        .map(|key| match KEY_DEFAULTS.iter().find(|(of, name, _)| item.ends_with(of) && *name == key) {
            Some((_, _, default)) => format!("{key}={default}"),
            None => key.to_owned(),
        })
        .collect();
    keys.join(",")
}

/// A reference to a definition. Some are no maps of fields.
fn referred(name: &str) -> String {
    let last = name.rsplit('.').next().unwrap_or(name);
    match last {
        "Quantity" => "quantity".to_owned(),
        "IntOrString" => "int-or-string".to_owned(),
        "Time" | "MicroTime" => "string".to_owned(),
        // These have no properties: any JSON value, or any map.
        "JSON"
        | "JSONSchemaPropsOrArray"
        | "JSONSchemaPropsOrBool"
        | "JSONSchemaPropsOrStringArray"
        | "FieldsV1"
        | "Patch"
        | "RawExtension"
        | "CustomResourceSubresourceStatus" => "any".to_owned(),
        _ => short_name(name),
    }
}

/// `apps.v1.Deployment` of `io.k8s.api.apps.v1.Deployment`.
fn short_name(name: &str) -> String {
    let parts: Vec<&str> = name.rsplit('.').take(3).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(".")
}

/// The innermost form of lists and maps.
fn item_of(form: &str) -> &str {
    form.rsplit([']', '}']).next().unwrap_or(form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn properties_become_forms() {
        let cases = [
            (json!({"type": "string"}), "string"),
            (json!({"type": "integer", "format": "int32"}), "int32"),
            (json!({"type": "object", "additionalProperties": {"type": "string"}}), "{}string"),
            (json!({"type": "object"}), "any"),
            (json!({}), "any"),
            (json!({"$ref": "#/definitions/io.k8s.apimachinery.pkg.api.resource.Quantity"}), "quantity"),
            (json!({"$ref": "#/definitions/io.k8s.api.core.v1.Container"}), "core.v1.Container"),
            (json!({"type": "array", "items": {"type": "string"}}), "[]string"),
            (
                json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}),
                "[.]string",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-map-keys": ["port", "protocol"],
                       "items": {"$ref": "#/definitions/io.k8s.api.core.v1.ServicePort"}}),
                "[port,protocol=TCP]core.v1.ServicePort",
            ),
        ];
        for (property, expected) in cases {
            assert_eq!(form(&property), expected, "{property}");
        }
    }

    #[test]
    fn fields_of_all_releases_count_and_unused_types_are_dropped() {
        let mut schema = Schema::default();
        let meta = json!({"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"});
        let kind = json!([{"group": "g", "version": "v1", "kind": "A"}]);
        for field in ["old", "new"] {
            let definition = json!({"x-kubernetes-group-version-kind": kind,
                "properties": {"metadata": meta, field: {"type": "string"}, "changed": {"type":
                    if field == "old" { "string" } else { "boolean" }}}});
            schema.add("io.k8s.api.g.v1.A", &definition);
        }
        schema.add("io.k8s.api.g.v1.Unused", &json!({"properties": {"a": {"type": "string"}}}));
        schema.keep_used();
        let text = schema.print();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let fields = "type g.v1.A changed:any metadata:any new:string old:string";
        assert_eq!(lines, ["kind g/v1 A = g.v1.A", fields], "no definition of the metadata was added");
    }
}
