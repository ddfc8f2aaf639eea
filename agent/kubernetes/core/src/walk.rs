//! Every text of a JSON value, without recursion: values from a cluster may be nested deeply.

use serde_json::Value;

use crate::finding::pointer_part;

/// Calls `see` with each text, in the order of the value, and with its JSON pointer, which continues `pointer`.
pub(crate) fn texts<'a>(value: &'a Value, pointer: &str, see: &mut dyn FnMut(&'a str, &str)) {
    let mut stack = vec![(value, pointer.to_owned())];
    while let Some((value, pointer)) = stack.pop() {
        match value {
            Value::String(text) => see(text, &pointer),
            Value::Array(items) => {
                let items = items.iter().enumerate().rev();
                stack.extend(items.map(|(index, item)| (item, format!("{pointer}/{index}"))));
            }
            Value::Object(map) => {
                let items = map.iter().rev();
                stack.extend(items.map(|(key, item)| (item, format!("{pointer}/{}", pointer_part(key)))));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
