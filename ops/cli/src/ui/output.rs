//! The output forms: tables for people, documents for programs.

use std::io::{self, Write as _};

use serde_json::Value;

/// `-o`: tables and trees for people, the others for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OutputForm {
    Table,
    Json,
    /// One JSON value a line.
    Jsonl,
    Yaml,
}

/// Writes a document in one of the forms for programs; `Table` is the caller's own work.
pub(crate) fn print_document(form: OutputForm, document: &Value) {
    let text = match form {
        OutputForm::Table | OutputForm::Json => {
            serde_json::to_string_pretty(document).expect("a JSON value prints")
        }
        OutputForm::Jsonl => document.to_string(),
        OutputForm::Yaml => yaml(document),
    };
    print_text(&text);
}

/// Writes text and a line end to stdout. A reader that went away ends the process quietly, as `cat` does.
pub(crate) fn print_text(text: &str) {
    let mut out = io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    if let Err(error) = written.and_then(|()| out.flush()) {
        let quiet = error.kind() == io::ErrorKind::BrokenPipe;
        std::process::exit(if quiet { 0 } else { 1 });
    }
}

/// A JSON value as YAML: block style, every string quoted as JSON does, which is YAML too (YAML 1.2, 1.3).
pub(crate) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    write_yaml(value, 0, &mut out);
    out
}

fn write_yaml(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, item) in map {
                out.push_str(&format!("{indent}{}:", plain_or_quoted(key)));
                write_yaml_item(item, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&format!("{indent}-"));
                write_yaml_item(item, depth, out);
            }
        }
        scalar => out.push_str(&format!("{indent}{scalar}\n")),
    }
}

fn write_yaml_item(item: &Value, depth: usize, out: &mut String) {
    let nested = match item {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    if nested {
        out.push('\n');
        write_yaml(item, depth + 1, out);
    } else {
        out.push_str(&format!(" {item}\n"));
    }
}

/// Keys of our documents are plain words; any other key is quoted.
fn plain_or_quoted(key: &str) -> String {
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
        && !matches!(key, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    if plain { key.to_owned() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_keeps_strings_strings() {
        let value = json!({"a": "no", "list": [1, {"b": null}], "empty": [], "on": true});
        assert_eq!(yaml(&value), "a: \"no\"\nlist:\n  - 1\n  -\n    b: null\nempty: []\n\"on\": true\n");
    }
}
