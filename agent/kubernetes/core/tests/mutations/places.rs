//! Values of the wrong type, and the places of a document that they can take.

use serde_json::{Value, json};

/// Null is not among them: it reads as absent.
pub(crate) fn odd_values() -> Vec<Value> {
    vec![
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!("3"),
        json!(""),
        json!([]),
        json!([null, 3, {"type": 3}]),
        json!({}),
        json!({"a": [{}]}),
    ]
}

/// Every place in a value, as JSON pointers.
pub(crate) fn places(value: &Value, pointer: &str, found: &mut Vec<String>) {
    let nested: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (key, value) in nested {
        let pointer = format!("{pointer}/{key}");
        places(value, &pointer, found);
        found.push(pointer);
    }
}
