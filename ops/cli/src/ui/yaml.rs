//! JSON values as YAML for people and for `kubectl`: block style, quotes only where they are needed.
//!
//! What is written is read back as the same value by YAML 1.1 and 1.2 readers alike: a text is written without
//! quotes only when neither could take it for something else.

use serde_json::Value;
use trimaran_language::manifest::scalar::{self, Scalar};

/// A JSON value as one YAML document without markers; ends with a line end.
pub(crate) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    node(value, 0, &mut out);
    out
}

/// Values as the documents of one file.
pub(crate) fn yaml_documents(values: &[Value]) -> String {
    values.iter().map(yaml).collect::<Vec<_>>().join("---\n")
}

/// A value that starts where `out` stands; further lines are indented by `depth`.
fn node(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (index, (key, item)) in map.iter().enumerate() {
                if index > 0 {
                    indent(depth, out);
                }
                out.push_str(&text(key));
                out.push(':');
                let list = matches!(item, Value::Array(items) if !items.is_empty());
                if list || matches!(item, Value::Object(map) if !map.is_empty()) {
                    // Items of a list stand below its key, as kubectl writes them.
                    let depth = if list { depth } else { depth + 1 };
                    out.push('\n');
                    indent(depth, out);
                    node(item, depth, out);
                } else {
                    out.push(' ');
                    scalar_node(item, depth + 1, out);
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    indent(depth, out);
                }
                out.push_str("- ");
                node(item, depth + 1, out);
            }
        }
        scalar => scalar_node(scalar, depth.max(1), out),
    }
}

fn indent(depth: usize, out: &mut String) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn scalar_node(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::String(it) if is_block(it) => block(it, depth, out),
        Value::String(it) => out.push_str(&format!("{}\n", text(it))),
        other => out.push_str(&format!("{other}\n")),
    }
}

/// Texts of several lines that are the same in a literal block.
fn is_block(text: &str) -> bool {
    let body = text.trim_end_matches('\n');
    body.contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && text.chars().all(|c| c == '\n' || is_printable(c))
        && body.lines().all(|line| line.is_empty() || !line.trim().is_empty())
}

fn block(text: &str, depth: usize, out: &mut String) {
    let ends = text.len() - text.trim_end_matches('\n').len();
    out.push_str(match ends {
        0 => "|-\n",
        1 => "|\n",
        _ => "|+\n",
    });
    let lines = text.strip_suffix('\n').unwrap_or(text);
    for line in lines.split('\n') {
        if !line.is_empty() {
            indent(depth, out);
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn is_printable(c: char) -> bool {
    c == '\t'
        || !(c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'))
}

/// A text of one line: plain where that is safe.
fn text(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || " _-./:@+=,()%$;~".contains(c);
    let Some(first) = text.chars().next() else { return false };
    let starts = first.is_alphanumeric() || "_./$(+".contains(first);
    let option = text.starts_with('-')
        && !text.starts_with("---")
        && text[1..].starts_with(|c: char| c == '-' || c.is_alphabetic());
    (starts || option)
        && text.chars().all(inside)
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && !text.starts_with("...")
        && scalar::resolve(text) == Scalar::Text
        && !other_readers(text)
}

/// Texts that some reader of YAML takes for a number or a time: `12:30`, `2001-01-01`, `1e400`, `0o9`.
fn other_readers(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.contains(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_hexdigit() || "+-.:_ ,xobTZeE".contains(c))
}

/// A double-quoted text (YAML 1.2, 7.3.1). JSON's escapes are a part of YAML's; more characters need one here.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn again(text: &str) -> Vec<Value> {
        let documents = trimaran_language::manifest::read("out.yaml", text.as_bytes());
        documents.unwrap_or_else(|it| panic!("{it:?}\n{text}")).into_iter().map(|it| it.value).collect()
    }

    #[test]
    fn documents_look_as_people_write_them() {
        let value = json!({
            "kind": "ConfigMap", "data": {"a.yaml": "x: 1\ny:\n\n  z: \"q\"\n", "answer": "no", "n": "0644"},
            "list": [1, {"b": null, "c": [["d"], []]}, {}], "args": ["--port=80", "-c", "echo $(X)", "a: b", "- x"],
            "on": true, "time": "2001-01-01T00:00:00Z", "image": "a/b:1.2@sha256:ab", "path": "/healthz",
        });
        let expected = "kind: ConfigMap\ndata:\n  a.yaml: |\n    x: 1\n    y:\n\n      z: \"q\"\n  answer: \"no\"\n  \"n\": \"0644\"\nlist:\n- 1\n- b: null\n  c:\n  - - d\n  - []\n- {}\nargs:\n- --port=80\n- -c\n- echo $(X)\n- \"a: b\"\n- \"- x\"\n\"on\": true\ntime: \"2001-01-01T00:00:00Z\"\nimage: a/b:1.2@sha256:ab\npath: /healthz\n";
        assert_eq!(yaml(&value), expected);
        assert_eq!(again(expected), [value]);
    }

    #[test]
    fn every_text_is_read_back() {
        let mut texts: Vec<String> = [
            "",
            " ",
            "a ",
            " a",
            "yes",
            "~",
            "null",
            "0",
            "1e3",
            "0x1",
            ".5",
            "-",
            "--",
            "---",
            "...",
            "- a",
            "a:",
            "a: b",
            "a #b",
            "#",
            "&a",
            "*a",
            "!a",
            "|",
            ">",
            "%a",
            "@a",
            "`a",
            "'a'",
            "\"a\"",
            "{",
            "[a]",
            "a,b",
            "?",
            "? a",
            "=",
            "<<",
            "\t",
            "a\tb",
            "a\nb",
            "a\nb\n",
            "a\nb\n\n",
            "\na",
            "\n",
            "\n\n",
            "a\n \nb",
            "  a\nb",
            "a\r\nb",
            "\u{7f}",
            "\u{85}",
            "\u{a0}",
            "\u{feff}a\nb",
            "\u{2028}",
            "😀 ü",
            "ü\nö",
            "a\n\tb\n",
            "-a",
            "--a\n--b",
            "12:30:45",
            "a\\b",
            "+1",
            "+a",
            ".inf",
            "-.inf",
            "\u{0}",
            "1_000",
            "o",
            "a:b",
            "::",
            "http://x/y?z=1&q#f",
            "a\n#b\n",
            "a\n---\nb",
            "%YAML",
            "~a",
            "x ~",
            "\u{fffe}",
            "\u{1f}\n",
        ]
        .map(str::to_owned)
        .to_vec();
        texts.push("x".repeat(2000));
        for text in texts {
            for value in [
                json!(text),
                json!({"k": text}),
                json!([text]),
                json!({"a": {"b": [{"c": text, "d": 1}]}}),
                json!({(text.as_str()): 1}),
            ] {
                // Keys beyond 1024 characters need another form, which is never needed.
                if text.len() > 1000 && value.as_object().is_some_and(|it| it.contains_key(&text)) {
                    continue;
                }
                assert_eq!(again(&yaml(&value)), std::slice::from_ref(&value), "{text:?}\n{}", yaml(&value));
            }
        }
    }
}
