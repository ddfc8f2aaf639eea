//! Who owns which fields of an object, and how fields pass to Trimaran.
//!
//! What kubectl, Helm or Spinnaker applied is taken over with all its fields: otherwise a field that leaves the manifests
//! would stay for ever, since the API server keeps what another manager owns. What was only edited by hand
//! (`kubectl rollout restart`, `kubectl edit`) is taken where the release sets the same field, and else left alone: taking
//! it over would remove it.

use serde_json::{Map, Value, json};
use trimaran_kubernetes_driver::{FieldOwner, MANAGER};

/// Managers that apply whole objects, as Trimaran does.
const APPLIERS: &[&str] = &[
    MANAGER,
    "kubectl-client-side-apply",
    "before-first-apply",
    "kubectl-create",
    "kubectl-replace",
    "kubectl",
    "helm",
    "Helm",
    "clouddriver",
];

/// The managed fields of an object when what others applied is Trimaran's; `None` when nothing has to change.
pub(crate) fn taken_over(object: &Value) -> Option<Value> {
    let entries = object.pointer("/metadata/managedFields")?.as_array()?;
    let is_own = |entry: &Value| entry["manager"] == MANAGER && entry["operation"] == "Apply";
    let is_taken = |entry: &Value| {
        let manager = entry["manager"].as_str().unwrap_or_default();
        let is_whole = entry.get("subresource").is_none_or(|part| part == "");
        is_whole && !is_own(entry) && APPLIERS.contains(&manager)
    };
    if !entries.iter().any(is_taken) {
        return None;
    }
    let mut fields = Map::new();
    let mut own: Option<Value> = None;
    let mut others = Vec::new();
    for entry in entries {
        if is_own(entry) || is_taken(entry) {
            if let Some(Value::Object(more)) = entry.get("fieldsV1") {
                unite(&mut fields, more);
            }
            if own.is_none() || is_own(entry) {
                own = Some(entry.clone());
            }
        } else {
            others.push(entry.clone());
        }
    }
    let mut own = own.expect("one was found above");
    own["manager"] = MANAGER.into();
    own["operation"] = "Apply".into();
    own["fieldsV1"] = Value::Object(fields);
    others.push(own);
    Some(Value::Array(others))
}

fn unite(fields: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        match (fields.get_mut(name), value) {
            (Some(Value::Object(known)), Value::Object(value)) => unite(known, value),
            (Some(_), _) => {}
            (None, value) => {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
}

/// A JSON patch that gives an object these managed fields, and fails when it has another version.
pub(crate) fn patch(version: &str, managed_fields: Value) -> Value {
    json!([
        in_version(version),
        {"op": "replace", "path": "/metadata/managedFields", "value": managed_fields},
    ])
}

/// The operation that lets a JSON patch conflict when the object has another version. A `test` of it would be answered
/// as if the patch were wrong.
pub(crate) fn in_version(version: &str) -> Value {
    json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version})
}

/// Whether Trimaran alone owns the number of replicas, so that leaving it out would set it back to one.
pub(crate) fn owns_replicas(object: &Value) -> bool {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let owners: Vec<&Value> = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.pointer("/fieldsV1/f:spec/f:replicas").is_some())
        .collect();
    !owners.is_empty() && owners.iter().all(|entry| entry["manager"] == MANAGER)
}

/// The document without the fields that others own.
pub(crate) fn without(document: &Value, fields: &[FieldOwner]) -> Value {
    let mut document = document.clone();
    for field in fields {
        remove(&mut document, &steps(&field.field));
    }
    document
}

/// One step of a path as an API server writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    /// The item of a list with these values: `[name="web"]`.
    Item(Map<String, Value>),
    /// A value of a set: `[="a"]`.
    Member(Value),
    Index(usize),
}

/// Reads `.spec.containers[name="web",port=80].image`. Keys that hold dots are joined by what follows; what can't be read
/// ends the path.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path;
    loop {
        if let Some(after) = rest.strip_prefix('[') {
            let Some(end) = closing(after) else { return steps };
            steps.extend(selector(&after[..end]));
            rest = &after[end + 1..];
        } else if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            steps.push(Step::Field(after[..end].to_owned()));
            rest = &after[end..];
        } else {
            return steps;
        }
    }
}

/// Where the bracket ends, outside of strings.
fn closing(text: &str) -> Option<usize> {
    let (mut in_string, mut escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            ']' if !in_string => return Some(at),
            _ => {}
        }
    }
    None
}

fn selector(text: &str) -> Option<Step> {
    if let Some(value) = text.strip_prefix('=') {
        return serde_json::from_str(value).ok().map(Step::Member);
    }
    if let Ok(index) = text.parse() {
        return Some(Step::Index(index));
    }
    let mut keys = Map::new();
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=')?;
        keys.insert(key.to_owned(), serde_json::from_str(value).ok()?);
    }
    Some(Step::Item(keys))
}

fn remove(value: &mut Value, steps: &[Step]) {
    let Some((first, rest)) = steps.split_first() else { return };
    match (first, value) {
        (Step::Field(_), Value::Object(map)) => {
            // A key with dots was read as several steps.
            let joined = (1..=steps.len()).rev().find_map(|count| {
                let names = steps[..count].iter().map(|step| match step {
                    Step::Field(name) => Some(name.as_str()),
                    Step::Item(_) | Step::Member(_) | Step::Index(_) => None,
                });
                let name = names.collect::<Option<Vec<_>>>()?.join(".");
                map.contains_key(&name).then_some((name, count))
            });
            match joined {
                Some((name, count)) if count == steps.len() => drop(map.shift_remove(&name)),
                Some((name, count)) => remove(&mut map[&name], &steps[count..]),
                None => {}
            }
        }
        (Step::Item(keys), Value::Array(items)) => {
            let is_meant = |item: &Value| keys.iter().all(|(key, value)| item.get(key) == Some(value));
            if rest.is_empty() {
                items.retain(|item| !is_meant(item));
            } else {
                items.iter_mut().filter(|item| is_meant(item)).for_each(|item| remove(item, rest));
            }
        }
        (Step::Member(member), Value::Array(items)) => items.retain(|item| item != member),
        (Step::Index(index), Value::Array(items)) => {
            if let Some(item) = items.get_mut(*index) {
                remove(item, rest);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
               "fieldsV1": fields})
    }

    #[test]
    fn what_appliers_own_passes_to_us_and_what_was_edited_stays() {
        let object = json!({"metadata": {"managedFields": [
            entry("kubectl-client-side-apply", "Update", json!({"f:spec": {"f:replicas": {}, "f:paused": {}}})),
            entry("kubectl-rollout", "Update", json!({"f:spec": {"f:template": {}}})),
            entry("kube-controller-manager", "Update", json!({"f:status": {}})),
            entry("trimaran", "Apply", json!({"f:spec": {"f:selector": {}}})),
        ]}});
        let taken = taken_over(&object).expect("there is something to take");
        let managers: Vec<_> =
            taken.as_array().expect("a list").iter().map(|it| it["manager"].clone()).collect();
        assert_eq!(managers, ["kubectl-rollout", "kube-controller-manager", "trimaran"]);
        assert_eq!(
            taken[2]["fieldsV1"],
            json!({"f:spec": {"f:replicas": {}, "f:paused": {}, "f:selector": {}}})
        );
        let after = json!({"metadata": {"managedFields": taken}});
        assert_eq!(taken_over(&after), None, "once is enough");
    }

    #[test]
    fn statuses_and_scales_are_not_taken() {
        let mut scale = entry("kubectl", "Update", json!({"f:spec": {"f:replicas": {}}}));
        scale["subresource"] = "scale".into();
        assert_eq!(taken_over(&json!({"metadata": {"managedFields": [scale]}})), None);
    }

    #[test]
    fn replicas_are_handed_over_only_when_no_one_else_has_them() {
        let owned = |managers: &[&str]| {
            let fields = json!({"f:spec": {"f:replicas": {}}});
            let entries: Vec<_> = managers.iter().map(|it| entry(it, "Apply", fields.clone())).collect();
            owns_replicas(&json!({"metadata": {"managedFields": entries}}))
        };
        assert!(owned(&["trimaran"]));
        assert!(
            !owned(&["trimaran", "trimaran-handover"]) && !owned(&["kube-controller-manager"]) && !owned(&[])
        );
    }

    #[test]
    fn fields_of_others_are_left_out() {
        let document = json!({
            "metadata": {"annotations": {"example.com/a": "1", "b": "2"}, "finalizers": ["x", "y"]},
            "spec": {"replicas": 3, "containers": [{"name": "web", "image": "a", "tty": true}, {"name": "b"}]},
        });
        let without = |fields: &[&str]| {
            let owned: Vec<FieldOwner> = fields
                .iter()
                .map(|field| FieldOwner { manager: "x".to_owned(), field: (*field).to_owned() })
                .collect();
            super::without(&document, &owned)
        };
        assert_eq!(without(&[".spec.replicas"])["spec"].get("replicas"), None);
        let image = without(&[".spec.containers[name=\"web\"].image"]);
        assert_eq!(image["spec"]["containers"][0], json!({"name": "web", "tty": true}));
        let dotted = without(&[".metadata.annotations.example.com/a"]);
        assert_eq!(dotted["metadata"]["annotations"], json!({"b": "2"}));
        assert_eq!(without(&[".metadata.finalizers[=\"x\"]"])["metadata"]["finalizers"], json!(["y"]));
        let item = without(&[".spec.containers[name=\"b\"]"]);
        assert_eq!(item["spec"]["containers"].as_array().expect("a list").len(), 1);
        assert_eq!(without(&[".spec.none.more", "nonsense"]), document);
    }
}
