//! Versioned configuration from outside: every path of a reference, every look-alike, and what holds for any set.

mod collection;
mod kept;
mod operators;
mod paths;
mod properties;
mod rows;
mod sets;

use serde_json::{Value, json};
use trimaran_kubernetes_core::config::{Options, References, Rendered, render};

/// The name that the ConfigMap and the Secret of most tests have; it is in look-alikes too.
const BASE: &str = "app";

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": "value"}})
}

fn secret(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"key": "value"}})
}

fn rendered(objects: Vec<Value>, namespace: Option<&str>) -> Rendered {
    render(objects, Options { namespace, references: References::builtin() })
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().expect("the object has a name").to_owned()
}

/// An object with a value at a JSON pointer; numbers are items of lists.
fn object(version: &str, kind: &str, pointer: &str, value: Value) -> Value {
    let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "it"}});
    put(&mut object, pointer, value);
    object
}

fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/");
        if let Ok(index) = part.parse::<usize>() {
            if place.is_null() {
                *place = json!([]);
            }
            let items = place.as_array_mut().expect("a list is here");
            while items.len() <= index {
                items.push(Value::Null);
            }
            place = &mut items[index];
        } else {
            if place.is_null() {
                *place = json!({});
            }
            place = place.as_object_mut().expect("a map is here").entry(part).or_insert(Value::Null);
        }
    }
    *place = value;
}
