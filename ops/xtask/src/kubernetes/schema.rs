//! The fields of the kinds of Kubernetes itself, from the OpenAPI documents of its releases, as one text.
//!
//! `kind VERSION KIND = TYPE` names the type of a kind; `type TYPE FIELD:FORM…` lists the fields of a type. A form is
//! `string`, `int32`, `int64`, `number`, `boolean`, `int-or-string`, `quantity`, `any`, a type, `[]FORM` for a list,
//! `[KEYS]FORM` for a list that server-side apply merges by the values of KEYS (`.` for a set of texts; `KEY=VALUE` for
//! a key with a default), `{}FORM` for a map, and `=A|B` for a text that is one of these words. `FIELD!:FORM` is a field
//! that an object must have.
//!
//! The words of a text stand in no document of a release but in the Go file that the documents are made from. What the
//! documents call required is what Go writes always: fields whose zero passes validation are left out by hand
//! ([`ZERO_PASSES`]), and those that validation asks for although Go may leave them out are added ([`ASKED_FOR`]).
//!
//! All releases are read as one: a field that one of them has is a field. Which release a cluster runs is not known.

use std::collections::btree_map::Entry;
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

/// The Go file with the words of texts, in the same module.
const GENERATED: &str = "pkg/generated/openapi/zz_generated.openapi.go";
/// Groups whose required fields were compared with the validation of an API server (`pkg/apis/*/validation` of the module).
const REQUIRED_GROUPS: &[&str] = &[
    "admissionregistration",
    "apiextensions",
    "apps",
    "autoscaling",
    "batch",
    "core",
    "discovery",
    "meta",
    "networking",
    "node",
    "policy",
    "rbac",
    "storage",
];
/// Required by the documents, but an object without the field is taken: its zero is valid or gets a default.
const ZERO_PASSES: &[(&str, &str)] = &[
    ("apiextensions.v1.CustomResourceDefinitionVersion", "served"),
    ("apiextensions.v1.CustomResourceDefinitionVersion", "storage"),
    ("batch.v1.PodFailurePolicy", "rules"),
    ("core.v1.HTTPHeader", "value"),
    ("core.v1.ISCSIPersistentVolumeSource", "lun"),
    ("core.v1.ISCSIVolumeSource", "lun"),
    ("core.v1.LimitRangeSpec", "limits"),
    ("core.v1.PreferredSchedulingTerm", "preference"),
    ("core.v1.Sysctl", "value"),
    ("storage.v1.CSIDriver", "spec"),
    ("storage.v1.CSINodeSpec", "drivers"),
    ("storage.v1.TokenRequest", "audience"),
];
/// Not required by the documents, but validation refuses an object without the field.
const ASKED_FOR: &[(&str, &str)] = &[
    ("apps.v1.DaemonSet", "spec"),
    ("apps.v1.Deployment", "spec"),
    ("apps.v1.ReplicaSet", "spec"),
    ("apps.v1.StatefulSet", "spec"),
    ("autoscaling.v1.HorizontalPodAutoscaler", "spec"),
    ("autoscaling.v2.HorizontalPodAutoscaler", "spec"),
    ("batch.v1.CronJob", "spec"),
    ("batch.v1.Job", "spec"),
    ("batch.v1.JobTemplateSpec", "spec"),
    ("core.v1.PersistentVolume", "spec"),
    ("core.v1.PersistentVolumeClaim", "spec"),
    ("core.v1.PersistentVolumeClaimSpec", "accessModes"),
    ("core.v1.PersistentVolumeClaimSpec", "resources"),
    ("core.v1.PersistentVolumeSpec", "accessModes"),
    ("core.v1.PersistentVolumeSpec", "capacity"),
    ("core.v1.Pod", "spec"),
    ("core.v1.PodTemplateSpec", "spec"),
    ("core.v1.Service", "spec"),
    ("networking.v1.Ingress", "spec"),
];

#[derive(Default)]
struct Schema {
    /// By version and kind.
    kinds: BTreeMap<(String, String), String>,
    types: BTreeMap<String, BTreeMap<String, String>>,
    /// Fields that every release requires, by type.
    required: BTreeMap<String, BTreeSet<String>>,
}

/// The words of texts of one release, by type and field.
type Words = BTreeMap<(String, String), Vec<String>>;

pub(super) fn write(root: &Path) -> Result<(), String> {
    let mut schema = Schema::default();
    for release in RELEASES {
        let module = go_module(MODULE, release)?;
        let generated = module.join(GENERATED);
        let generated = std::fs::read_to_string(&generated)
            .map_err(|error| format!("{}: {error}", generated.display()))?;
        let words = words_of_texts(&generated);
        let path = module.join("api/openapi-spec/swagger.json");
        let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let document: Value = serde_json::from_slice(&text).map_err(|error| format!("{release}: {error}"))?;
        let definitions = document["definitions"].as_object().ok_or("the document has no definitions")?;
        for (name, definition) in definitions {
            schema.add(name, definition, &words);
        }
    }
    schema.keep_used();
    let output = root.join(OUTPUT);
    std::fs::write(&output, schema.print()).map_err(|error| format!("{}: {error}", output.display()))
}

impl Schema {
    fn add(&mut self, name: &str, definition: &Value, words: &Words) {
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
        let required = definition["required"].as_array().into_iter().flatten();
        let required: BTreeSet<String> = required.filter_map(Value::as_str).map(str::to_owned).collect();
        match self.required.entry(name.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(required);
            }
            Entry::Occupied(mut entry) => entry.get_mut().retain(|field| required.contains(field)),
        }
        let fields = self.types.entry(name.clone()).or_default();
        for (field, property) in properties {
            let mut new = form(property);
            if let Some(words) = words.get(&(name.clone(), field.clone())).filter(|_| new.ends_with("string"))
            {
                new.truncate(new.len() - "string".len());
                new.push_str(&format!("={}", words.join("|").replace(' ', "%20")));
            }
            let known = fields.entry(field.clone()).or_insert_with(|| new.clone());
            *known = either(known, &new);
        }
    }

    /// Whether an object of this type must have the field.
    fn requires(&self, name: &str, field: &str) -> bool {
        let pair = (name, field);
        let is_checked = REQUIRED_GROUPS.iter().any(|group| name.split('.').next() == Some(group));
        let is_required = self.required.get(name).is_some_and(|fields| fields.contains(field));
        ASKED_FOR.contains(&pair) || (is_checked && is_required && !ZERO_PASSES.contains(&pair))
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
                let mark = if self.requires(name, field) { "!" } else { "" };
                write!(text, " {field}{mark}:{form}").expect("writing to a string cannot fail");
            }
            text.push('\n');
        }
        text
    }
}

/// The form of a field whose forms differ between releases: whatever one of them allows.
fn either(one: &str, other: &str) -> String {
    if one == other {
        return one.to_owned();
    }
    // Keys of lists have a `=` too, before the bracket that closes them.
    let text_of = |form: &str| {
        let (outer, words) = form.rsplit_once('=').filter(|(_, words)| !words.contains(']'))?;
        Some((outer.to_owned(), words.to_owned()))
    };
    match (text_of(one), text_of(other)) {
        (Some((outer, known)), Some((other_outer, new))) if outer == other_outer => {
            let mut words: BTreeSet<&str> = known.split('|').collect();
            words.extend(new.split('|'));
            format!("{outer}={}", words.into_iter().collect::<Vec<_>>().join("|"))
        }
        (Some((outer, _)), None) if format!("{outer}string") == other => other.to_owned(),
        (None, Some((outer, _))) if format!("{outer}string") == one => one.to_owned(),
        _ => "any".to_owned(),
    }
}

/// The words of texts in the Go file, which has a function for each type, with fields and their words by indentation.
fn words_of_texts(file: &str) -> Words {
    let (mut name, mut field, mut words) = (None, None, Words::new());
    for line in file.lines() {
        if let Some(function) = line.strip_prefix("func schema_") {
            let parts: Vec<&str> =
                function.split('(').next().unwrap_or_default().split('_').rev().take(3).collect();
            name = <[&str; 3]>::try_from(parts)
                .ok()
                .map(|[name, version, group]| format!("{group}.{version}.{name}"));
        } else if let Some(rest) = line.strip_prefix("\t\t\t\t\t\"") {
            field = rest.strip_suffix("\": {").map(str::to_owned);
        } else if let Some(list) = line.trim_start().strip_prefix("Enum:") {
            let list = list.trim().strip_prefix("[]interface{}{").and_then(|it| it.strip_suffix("},"));
            if let (Some(list), Some(name), Some(field)) = (list, &name, &field) {
                let list = list.split(", ").map(|word| word.trim_matches('"').to_owned());
                words.insert((name.clone(), field.clone()), list.collect());
            }
        }
    }
    words
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
            schema.add("io.k8s.api.g.v1.A", &definition, &Words::new());
        }
        schema.add(
            "io.k8s.api.g.v1.Unused",
            &json!({"properties": {"a": {"type": "string"}}}),
            &Words::new(),
        );
        schema.keep_used();
        let text = schema.print();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let fields = "type g.v1.A changed:any metadata:any new:string old:string";
        assert_eq!(lines, ["kind g/v1 A = g.v1.A", fields], "no definition of the metadata was added");
    }
    #[test]
    fn words_of_texts_are_read_from_the_go_file() {
        let file = "func schema_k8sio_api_core_v1_Container(ref common.ReferenceCallback) {\n\t\t\t\t\t\"imagePullPolicy\": {\n\t\t\t\t\t\t\tEnum:        []interface{}{\"Always\", \"Never\"},\n\t\t\t\t\t\"name\": {\n";
        let key = ("core.v1.Container".to_owned(), "imagePullPolicy".to_owned());
        assert_eq!(words_of_texts(file), Words::from([(key, vec!["Always".to_owned(), "Never".to_owned()])]));
    }

    #[test]
    fn forms_that_differ_allow_what_one_of_them_allows() {
        for (one, other, both) in [
            ("=A|B", "=B|C", "=A|B|C"),
            ("[]=A", "[]=B", "[]=A|B"),
            ("=A", "string", "string"),
            ("[]string", "[]=A", "[]string"),
            ("=A", "[]=A", "any"),
            ("int32", "int64", "any"),
            ("string", "string", "string"),
        ] {
            assert_eq!(either(one, other), both, "{one} {other}");
        }
    }

    #[test]
    fn a_field_is_required_where_every_release_and_validation_say_so() {
        let mut schema = Schema::default();
        for required in [json!(["name", "value", "once"]), json!(["name", "value"])] {
            let fields =
                json!({"name": {"type": "string"}, "value": {"type": "string"}, "once": {"type": "string"}});
            let definition = json!({"properties": fields, "required": required});
            schema.add("io.k8s.api.core.v1.HTTPHeader", &definition, &Words::new());
        }
        assert!(schema.requires("core.v1.HTTPHeader", "name"));
        assert!(!schema.requires("core.v1.HTTPHeader", "value"), "its zero passes");
        assert!(!schema.requires("core.v1.HTTPHeader", "once"), "one release takes it");
        assert!(schema.requires("core.v1.Pod", "spec"));
    }
}
