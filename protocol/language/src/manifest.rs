//! Files of Kubernetes manifests: YAML or JSON text to JSON values, read as `kubectl` reads them, and the
//! line and column of a JSON pointer into them.
//!
//! Scalars follow YAML 1.1 as sigs.k8s.io/yaml reads it ([`scalar`]). Positions are computed only on
//! request, from the text again: a file of 10,000 objects without findings never pays for them.
//! Duplicate keys are errors here, where `kubectl` would silently take the last one. Deliberately not here:
//! folders, and what the objects mean.

mod json;
pub mod scalar;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value};
use trimaran_model::error_code;

use crate::diagnostic::{Diagnostic, Severity, Sink, at};
use crate::parse::{self, Limits, shown};
use crate::tree::{Entry, Node, NodeKind, Span};
use scalar::Scalar;

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub value: Value,
    pub place: DocumentPlace,
    /// Keys that became others than the ones that are written (TR5002).
    pub warnings: Vec<Diagnostic>,
}

/// Where a document is written in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentPlace {
    /// Its index among the documents of a YAML file, empty ones counted.
    Yaml { index: usize },
    /// Its first byte in a file of JSON texts.
    Json { offset: usize },
}

/// The documents of a file that are not empty; the first thing that makes it unreadable otherwise.
///
/// A file that starts as JSON is read as JSON texts one after the other. When that fails, as it does for YAML
/// in flow style, it is read as YAML, unless its name ends with `.json`.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<Document>, Box<Diagnostic>> {
    let mut sink = Sink::new(name);
    if bytes.len() > Limits::MANIFEST.bytes {
        return yaml(name, bytes, &mut sink);
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if !matches!(first, Some(b'{' | b'[')) {
        return yaml(name, bytes, &mut sink);
    }
    match json::read(text, bytes.len() - text.len()) {
        Ok(documents) => Ok(documents),
        // YAML takes much that looks like JSON, such as `{"a": 1 2}`, for something else than was meant.
        Err(error) if name.ends_with(".json") => {
            let span = Span { line: error.line, column: error.column.max(1), length: 1 };
            let message = format!("this is not valid JSON: {}", error.message);
            Err(Box::new(at(name, Severity::Error, error_code::UNREADABLE, span, message, error.help)))
        }
        Err(_) => yaml(name, bytes, &mut sink),
    }
}

fn yaml(name: &str, bytes: &[u8], sink: &mut Sink) -> Result<Vec<Document>, Box<Diagnostic>> {
    let trees = parse::parse(bytes, &Limits::MANIFEST, sink);
    if let Some(problem) = sink.first() {
        // The code of the language is about its own files; these are another kind.
        let mut problem = Box::new(Diagnostic { code: error_code::UNREADABLE, ..problem.clone() });
        let line = bytes.split(|byte| *byte == b'\n').nth((problem.line as usize).saturating_sub(1));
        if line.is_some_and(|line| line.windows(2).any(|it| it == b"{{")) {
            problem.help =
                "this looks like a template: render the chart first, and pass its result".to_owned();
        }
        return Err(problem);
    }
    let mut documents = Vec::with_capacity(trees.len());
    for (index, tree) in trees.into_iter().enumerate() {
        if tree.is_null() {
            continue;
        }
        let diagnostic = |severity, code, problem: Problem| {
            let Problem { span, message, help } = problem;
            at(name, severity, code, span, message, help)
        };
        let mut changed = Vec::new();
        let value = into_json(tree, &mut changed)
            .map_err(|problem| Box::new(diagnostic(Severity::Error, error_code::UNREADABLE, *problem)))?;
        let warnings =
            changed.into_iter().map(|it| diagnostic(Severity::Warning, error_code::KEY_NOT_TEXT, it));
        let place = DocumentPlace::Yaml { index };
        documents.push(Document { value, place, warnings: warnings.collect() });
    }
    Ok(documents)
}

/// Finds places in one file. It caches what it has parsed, so that many lookups cost little more than one.
#[derive(Debug, Default)]
pub struct Places {
    trees: std::cell::OnceCell<Vec<Node>>,
    json: json::Memory,
}

impl Places {
    /// The place of a JSON pointer in a document of `bytes`, the file that [`read`] has read: of the value when
    /// it is a scalar, of its key when it is a list or map, and of the nearest part that exists otherwise.
    pub fn of(&self, bytes: &[u8], document: DocumentPlace, pointer: &str) -> Span {
        match document {
            DocumentPlace::Json { offset } => json::place_of(bytes, offset, pointer, &self.json),
            DocumentPlace::Yaml { index } => {
                let trees =
                    self.trees.get_or_init(|| parse::parse(bytes, &Limits::MANIFEST, &mut Sink::new("")));
                trees.get(index).map_or(Span { line: 1, column: 1, length: 1 }, |tree| tree.place_of(pointer))
            }
        }
    }
}

/// A value that JSON cannot express.
struct Problem {
    span: Span,
    message: String,
    help: String,
}

/// A tree as a JSON value, and what is to be said of its keys. The depth is bounded by the parser.
fn into_json(node: Node, changed: &mut Vec<Problem>) -> Result<Value, Box<Problem>> {
    let span = node.span;
    match node.kind {
        NodeKind::Scalar { text, plain: false } => Ok(Value::String(text)),
        NodeKind::Scalar { text, plain: true } => Ok(match scalar::resolve(&text) {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => Value::Bool(value),
            Scalar::Integer(value) => Value::Number(value.into()),
            Scalar::Unsigned(value) => Value::Number(value.into()),
            Scalar::Float(value) => Value::Number(number(value, span, &text)?),
            Scalar::Text => Value::String(text),
        }),
        NodeKind::Seq(items) => {
            let values = items.into_iter().map(|item| into_json(item, changed));
            values.collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        NodeKind::Map(entries) => {
            let mut map = Map::with_capacity(entries.len());
            // Keys that the parser has distinguished by their text may become one. Few keys change, or are merged.
            let (mut texts, mut merged_keys) = (BTreeMap::new(), BTreeSet::new());
            for entry in entries {
                let Entry { key: text, key_span: span, key_plain, merged, value } = entry;
                let key = if key_plain { key(&text, span)? } else { text.clone() };
                let is_twice = map.contains_key(&key) && !merged_keys.remove(&key);
                if is_twice && merged {
                    continue;
                }
                if is_twice {
                    let first = texts.get(&key).unwrap_or(&key);
                    return Err(Box::new(twice(first, &text, &key, span)));
                }
                if merged {
                    merged_keys.insert(key.clone());
                }
                if key != text {
                    changed.push(changed_key(&text, &key, span));
                    texts.insert(key.clone(), text);
                }
                map.insert(key, into_json(value, changed)?);
            }
            Ok(Value::Object(map))
        }
    }
}

fn changed_key(text: &str, key: &str, span: Span) -> Problem {
    Problem {
        span,
        message: format!("the key `{}` is read as `{}`", shown(text), shown(key)),
        help: format!("put the key in quotes: `\"{}\"`", shown(text)),
    }
}

/// Two keys that differ in the text and become one.
fn twice(first: &str, second: &str, key: &str, span: Span) -> Problem {
    Problem {
        span,
        message: format!(
            "`{}` and `{}` are one key: both are read as `{}`",
            shown(first),
            shown(second),
            shown(key)
        ),
        help: "put the keys in quotes".to_owned(),
    }
}

/// A number as the API server stores it: without a fraction it is an integer.
fn number(value: f64, span: Span, text: &str) -> Result<Number, Box<Problem>> {
    // Within this range every integral f64 converts without loss.
    let integral = value.fract() == 0.0 && value.abs() < 9.0e15;
    if integral {
        return Ok(Number::from(value as i64));
    }
    Number::from_f64(value).ok_or_else(|| {
        Box::new(Problem {
            span,
            message: format!("`{}` has no form in JSON", shown(text)),
            help: "write a finite number, or put the text in quotes".to_owned(),
        })
    })
}

/// A plain key as the text that it becomes: `on` is `true`, `0x10` is `16`.
fn key(text: &str, span: Span) -> Result<String, Box<Problem>> {
    Ok(match scalar::resolve(text) {
        Scalar::Text => text.to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Integer(value) => value.to_string(),
        Scalar::Unsigned(value) => value.to_string(),
        Scalar::Float(value) => number(value, span, text)?.to_string(),
        Scalar::Null => {
            return Err(Box::new(Problem {
                span,
                message: "a key has to be a text".to_owned(),
                help: "put the key in quotes".to_owned(),
            }));
        }
    })
}

#[cfg(test)]
mod tests;
