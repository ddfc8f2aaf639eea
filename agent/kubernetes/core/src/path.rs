//! Paths into objects, as references files and tables of rules write them: `spec.tls[].secretName`.
//!
//! Keys are parted by dots and quoted when they have dots of their own; `[]` is each item of a list, `{}` each
//! value of a map, and `.` alone the value itself.

use serde_json::Value;

use crate::finding::pointer_part;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Items,
    Values,
}

/// A path below a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    /// Reads a path; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = if text == "." { "" } else { text };
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("[]") {
                steps.push(Step::Items);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("{}") {
                steps.push(Step::Values);
                rest = after;
            } else {
                if !steps.is_empty() {
                    rest =
                        rest.strip_prefix('.').ok_or_else(|| format!("a dot is missing before `{rest}`"))?;
                }
                let (key, after) = key(rest)?;
                steps.push(Step::Key(key.to_owned()));
                rest = after;
            }
        }
        Ok(Self(steps))
    }

    /// Calls `see` with each value that the path leads to and with its JSON pointer, which continues `pointer`.
    pub(crate) fn visit<'a>(&self, value: &'a Value, pointer: &str, see: &mut dyn FnMut(&'a Value, &str)) {
        walk(&self.0, value, pointer, see);
    }

    /// The text that the path leads to, when it leads to just one value.
    pub(crate) fn text<'a>(&self, value: &'a Value) -> Option<&'a str> {
        let mut found = None;
        self.visit(value, "", &mut |value, _| found = value.as_str());
        found
    }
}

fn key(text: &str) -> Result<(&str, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"').ok_or_else(|| "a quote is not closed".to_owned());
    }
    let end = text.find(['.', '[', '{', '"']).unwrap_or(text.len());
    if end == 0 {
        return Err(format!("a key is missing before `{text}`"));
    }
    Ok(text.split_at(end))
}

fn walk<'a>(steps: &[Step], value: &'a Value, pointer: &str, see: &mut dyn FnMut(&'a Value, &str)) {
    let Some((step, rest)) = steps.split_first() else { return see(value, pointer) };
    match (step, value) {
        (Step::Key(key), Value::Object(map)) => {
            if let Some(child) = map.get(key) {
                walk(rest, child, &format!("{pointer}/{}", pointer_part(key)), see);
            }
        }
        (Step::Items, Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                walk(rest, item, &format!("{pointer}/{index}"), see);
            }
        }
        (Step::Values, Value::Object(map)) => {
            for (key, item) in map {
                walk(rest, item, &format!("{pointer}/{}", pointer_part(key)), see);
            }
        }
        (Step::Key(_) | Step::Items | Step::Values, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointers(path: &str, value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        Path::parse(path).unwrap().visit(value, "", &mut |_, pointer| found.push(pointer.to_owned()));
        found
    }

    #[test]
    fn paths_lead_to_what_is_there() {
        let value = json!({"a": [{"b": 1}, {"c": 2}, 3], "m": {"x/y": {"b": 1}}, "q": {"a.b/c": "t"}});
        assert_eq!(pointers("a[].b", &value), ["/a/0/b"]);
        assert_eq!(pointers("m{}.b", &value), ["/m/x~1y/b"]);
        assert_eq!(pointers("q.\"a.b/c\"", &value), ["/q/a.b~1c"]);
        assert_eq!(pointers(".", &value), [""]);
        assert!(pointers("a.b", &value).is_empty() && pointers("m[].b", &value).is_empty());
        for wrong in ["a..b", "a.\"b", ".a", "a[]b", "a.[]"] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
    }
}
