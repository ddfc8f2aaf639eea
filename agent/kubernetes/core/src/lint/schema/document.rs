//! The fields of the kinds of Kubernetes, read from the text that `cargo xtask kubernetes schema` writes.
//!
//! The text is compressed in the program, opened at the first question and read type by type as they are asked for: a
//! command that judges no manifest pays nothing.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::OnceLock;

/// `schema/kubernetes.txt`, compressed by the build script (zlib, RFC 1950).
const COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kubernetes.txt.zlib"));

/// What a value has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Any,
    Text,
    /// A text that is one of these words.
    Word(Vec<&'static str>),
    Int32,
    Int64,
    Number,
    Boolean,
    IntOrText,
    Quantity,
    List {
        item: Box<Form>,
        keys: Keys,
    },
    /// Any keys, all values of one form.
    Map(Box<Form>),
    /// The fields of a type.
    Fields(&'static str),
}

/// How server-side apply tells the items of a list apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keys {
    /// Not at all: the list is replaced as a whole.
    None,
    /// By their values: a set.
    Value,
    /// By fields, each with its default.
    Fields(Vec<(&'static str, Option<&'static str>)>),
}

/// Fields by name, sorted.
pub(super) type Fields = BTreeMap<&'static str, Form>;

/// The document, opened.
#[derive(Debug)]
pub(super) struct Document {
    kinds: BTreeMap<(&'static str, &'static str), &'static str>,
    types: BTreeMap<&'static str, Type>,
}

#[derive(Debug)]
struct Type {
    line: &'static str,
    fields: OnceLock<(Fields, Vec<&'static str>)>,
}

impl Document {
    pub(super) fn get() -> &'static Self {
        static DOCUMENT: OnceLock<Document> = OnceLock::new();
        DOCUMENT.get_or_init(|| Self::read(text()))
    }

    fn read(text: &'static str) -> Self {
        let (mut kinds, mut types) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["kind", version, kind, "=", name] => {
                    kinds.insert((version, kind), name);
                }
                ["type", name, ..] => {
                    let line = line.get("type ".len() + name.len()..).unwrap_or_default();
                    types.insert(name, Type { line, fields: OnceLock::new() });
                }
                _ => {}
            }
        }
        Self { kinds, types }
    }

    /// The type of a kind, such as `apps.v1.Deployment`; `None` for kinds that Kubernetes itself does not have.
    pub(super) fn type_of(&self, version: &str, kind: &str) -> Option<&'static str> {
        self.kinds.get(&(version, kind)).copied()
    }

    /// The fields of a type.
    pub(super) fn fields(&self, name: &str) -> Option<&Fields> {
        self.read_type(name).map(|(fields, _)| fields)
    }

    /// The fields that an object of a type must have.
    pub(super) fn required(&self, name: &str) -> &[&'static str] {
        self.read_type(name).map_or(&[], |(_, required)| required)
    }

    fn read_type(&self, name: &str) -> Option<&(Fields, Vec<&'static str>)> {
        let found = self.types.get(name)?;
        Some(found.fields.get_or_init(|| {
            let (mut fields, mut required) = (Fields::new(), Vec::new());
            for (field, form) in found.line.split_whitespace().filter_map(|field| field.split_once(':')) {
                let name = field.strip_suffix('!').unwrap_or(field);
                fields.insert(name, Form::read(form));
                required.extend((name.len() < field.len()).then_some(name));
            }
            (fields, required)
        }))
    }
}

/// `EnvVar` of `core.v1.EnvVar`.
pub(super) fn kind_of(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn text() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let mut text = String::new();
        flate2::read::ZlibDecoder::new(COMPRESSED)
            .read_to_string(&mut text)
            .expect("the build script compresses a text");
        text
    })
}

impl Form {
    fn read(text: &'static str) -> Self {
        if let Some(value) = text.strip_prefix("{}") {
            return Self::Map(Box::new(Self::read(value)));
        }
        if let Some((keys, item)) = text.strip_prefix('[').and_then(|it| it.split_once(']')) {
            return Self::List { item: Box::new(Self::read(item)), keys: Keys::read(keys) };
        }
        if let Some(words) = text.strip_prefix('=') {
            return Self::Word(words.split('|').collect());
        }
        match text {
            "any" => Self::Any,
            "string" => Self::Text,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            "int-or-string" => Self::IntOrText,
            "quantity" => Self::Quantity,
            name => Self::Fields(name),
        }
    }
}

impl Keys {
    fn read(text: &'static str) -> Self {
        match text {
            "" => Self::None,
            "." => Self::Value,
            keys => Self::Fields(
                keys.split(',')
                    .map(|key| key.split_once('=').map_or((key, None), |(k, v)| (k, Some(v))))
                    .collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_and_every_type_that_is_named_exists() {
        let document = Document::get();
        assert!(document.kinds.len() > 100 && document.types.len() > 500, "{}", document.types.len());
        for name in document.kinds.values() {
            assert!(document.types.contains_key(name), "{name}");
        }
        for name in document.types.keys() {
            for (field, form) in document.fields(name).expect("a type") {
                let mut form = form;
                while let Form::Map(inner) | Form::List { item: inner, .. } = form {
                    form = inner;
                }
                let Form::Fields(inner) = form else { continue };
                assert!(document.types.contains_key(inner), "{name}.{field}: {inner}");
            }
        }
    }

    #[test]
    fn forms_are_read() {
        let document = Document::get();
        let spec = document.fields("core.v1.ServiceSpec").expect("a type");
        let keys = Keys::Fields(vec![("port", None), ("protocol", Some("TCP"))]);
        let item = Box::new(Form::Fields("core.v1.ServicePort"));
        assert_eq!(spec["ports"], Form::List { item, keys });
        assert_eq!(spec["selector"], Form::Map(Box::new(Form::Text)));
        let port = document.fields("core.v1.ServicePort").expect("a type");
        assert_eq!((&port["port"], &port["targetPort"]), (&Form::Int32, &Form::IntOrText));
        let container = document.fields("core.v1.Container").expect("a type");
        assert_eq!(container["imagePullPolicy"], Form::Word(vec!["Always", "IfNotPresent", "Never"]));
        assert_eq!(document.required("core.v1.Container"), ["name"]);
        assert_eq!(document.type_of("apps/v1", "Deployment"), Some("apps.v1.Deployment"));
        assert_eq!(document.type_of("example.com/v1", "Deployment"), None);
    }
}
