//! Lists of objects: `kind: List`, and the typed lists that an API server answers with, such as `PodList`.

use serde_json::{Map, Value};

/// Lists inside of lists that are opened; what lies deeper stays as it is.
const DEPTH_MAX: usize = 4;

/// Gives the objects of a list one by one, or the value itself when it is none, each with its JSON pointer
/// (`/items/3`; empty for the value itself). Items of a typed list carry no kind of their own on the wire; they
/// get the one that the list's name tells.
pub fn open(value: Value, add: &mut dyn FnMut(Value, String)) {
    open_at(value, String::new(), 0, add);
}

fn open_at(value: Value, pointer: String, depth: usize, add: &mut dyn FnMut(Value, String)) {
    let (mut list, kind) = match value {
        Value::Object(map) if depth < DEPTH_MAX => match list_kind(&map) {
            Some(kind) => (map, kind),
            None => return add(Value::Object(map), pointer),
        },
        other => return add(other, pointer),
    };
    let version = list.get("apiVersion").cloned();
    let Some(Value::Array(items)) = list.get_mut("items").map(Value::take) else { return };
    for (index, mut item) in items.into_iter().enumerate() {
        if let (Value::Object(item), Some(version), false) = (&mut item, &version, kind.is_empty())
            && !item.contains_key("kind")
            && !item.contains_key("apiVersion")
        {
            item.insert("apiVersion".to_owned(), version.clone());
            item.insert("kind".to_owned(), Value::String(kind.clone()));
        }
        open_at(item, format!("{pointer}/items/{index}"), depth + 1, add);
    }
}

/// The kind of the items: empty for `List`, `Pod` for `PodList`, `None` for what is no list.
fn list_kind(map: &Map<String, Value>) -> Option<String> {
    let kind = map.get("kind")?.as_str()?.strip_suffix("List")?;
    map.get("items")?.is_array().then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn opened(value: Value) -> Vec<(Value, String)> {
        let mut found = Vec::new();
        open(value, &mut |value, pointer| found.push((value, pointer)));
        found
    }

    #[test]
    fn lists_are_opened_and_everything_else_is_kept() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod"});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [
            pod, {"apiVersion": "v1", "kind": "PodList", "items": [{"metadata": {"name": "a"}}]}, 7,
        ]});
        let named = json!({"metadata": {"name": "a"}, "apiVersion": "v1", "kind": "Pod"});
        assert_eq!(
            opened(list),
            [
                (pod.clone(), "/items/0".to_owned()),
                (named, "/items/1/items/0".to_owned()),
                (json!(7), "/items/2".to_owned())
            ]
        );
        assert_eq!(opened(pod.clone()), [(pod, String::new())]);
        let no_list = json!({"kind": "AllowList", "spec": {}});
        assert_eq!(opened(no_list.clone()), [(no_list, String::new())]);
        assert_eq!(opened(json!({"kind": "List", "items": []})), []);
        assert_eq!(opened(json!(null)), [(json!(null), String::new())]);
    }
}
