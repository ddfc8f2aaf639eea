//! The places of objects that hold names of ConfigMaps and Secrets, as data.
//!
//! A row is `KIND WHAT PATH [namespace=PATH]`. KIND is `group/Kind`, `Kind` for the core group, or `@part` for
//! something that several kinds contain. WHAT is `config-map`, `secret`, `qualified-…` for `NAMESPACE/NAME`,
//! `output-…` for a name that a controller writes, or `@part`. The part `@pod-template` has a meaning of its own: its
//! metadata gets the checksum of configuration that keeps its name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use serde_json::Value;

use super::ConfigKind;
use crate::identity::group;
use crate::path::Path;

/// The part whose `metadata` becomes the pods'.
const POD_TEMPLATE: &str = "@pod-template";
/// Parts inside of parts; more is a mistake in a file.
const DEPTH_MAX: usize = 16;

/// What is written by hand: first the parts that all others name.
const KUBERNETES: &str = include_str!("../../references/kubernetes.txt");
const WORKLOADS: &str = include_str!("../../references/workloads.txt");
const OPERATORS: &str = include_str!("../../references/operators.txt");

/// `references/schemas/`, from the schemas of operators.
mod schemas {
    include!(concat!(env!("OUT_DIR"), "/builtin_references.rs"));
}

/// A row that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ReferenceError {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub message: String,
}

/// One place of an object that holds the name of a ConfigMap or Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// JSON pointer to the text that holds the name.
    pub pointer: String,
    pub kind: ConfigKind,
    pub name: String,
    /// The namespace beside or before the name; without one it is the object's own.
    pub namespace: Option<String>,
    /// The text is `NAMESPACE/NAME`.
    pub qualified: bool,
    /// A controller writes the object of this name; the set only says how it shall be called.
    pub output: bool,
    /// JSON pointer to the pod template that holds it.
    pub template: Option<String>,
}

#[derive(Debug, Clone)]
enum What {
    Name { kind: ConfigKind, qualified: bool, output: bool },
    Part(String),
}

#[derive(Debug, Clone)]
struct Row {
    what: What,
    path: Path,
    namespace: Option<Path>,
}

/// All rows, by kind or part.
#[derive(Debug, Clone, Default)]
pub struct References {
    rows: BTreeMap<String, Vec<Row>>,
}

impl References {
    /// The rows that come with Trimaran.
    pub fn builtin() -> &'static Self {
        static BUILT: OnceLock<References> = OnceLock::new();
        BUILT.get_or_init(|| {
            let mut all = Self::default();
            let first = [("kubernetes.txt", KUBERNETES)];
            let last = [("workloads.txt", WORKLOADS), ("operators.txt", OPERATORS)];
            for (file, text) in first.iter().chain(schemas::BUILTIN_FILES).chain(&last) {
                all.add(file, text).expect("the files of this crate are read by its tests");
            }
            all
        })
    }

    /// Adds the rows of a file to those that are known.
    ///
    /// # Errors
    /// The first row that can't be read; nothing of the file is added then.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), ReferenceError> {
        let mut rows: Vec<(String, Row)> = Vec::new();
        let mut parts = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let failed = |message| ReferenceError { file: file.to_owned(), line: index + 1, message };
            let (kind, row) = row(line).map_err(failed)?;
            if let What::Part(part) = &row.what {
                parts.entry(part.clone()).or_insert(index + 1);
            }
            rows.push((kind, row));
        }
        let is_new = |part: &String| rows.iter().any(|(kind, _)| kind == part);
        let unknown = parts.iter().find(|(part, _)| !self.rows.contains_key(*part) && !is_new(part));
        if let Some((part, line)) = unknown {
            let message = format!("no row says what is inside of `{part}`");
            return Err(ReferenceError { file: file.to_owned(), line: *line, message });
        }
        for (kind, row) in rows {
            self.rows.entry(kind).or_default().push(row);
        }
        Ok(())
    }

    /// Every reference of an object, each place once; a place that may hold either kind only when it says which.
    pub fn of(&self, object: &Value) -> Vec<Reference> {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let group = group(object);
        let key = if group.is_empty() { kind.to_owned() } else { format!("{group}/{kind}") };
        let mut search = Search { references: self, object, found: Vec::new(), seen: BTreeSet::new() };
        search.part(&key, object, "", None, 0);
        // A place of both kinds means one of them only when the object says which.
        let Search { found, seen, .. } = search;
        let both = |it: &Reference| {
            let other = match it.kind {
                ConfigKind::ConfigMap => ConfigKind::Secret,
                ConfigKind::Secret => ConfigKind::ConfigMap,
            };
            seen.contains(&(it.pointer.clone(), other))
        };
        found.into_iter().filter(|it| !both(it)).collect()
    }
}

fn row(line: &str) -> Result<(String, Row), String> {
    let mut words = line.split_whitespace();
    let (Some(kind), Some(what), Some(path)) = (words.next(), words.next(), words.next()) else {
        return Err("a row has the form KIND WHAT PATH [namespace=PATH]".to_owned());
    };
    let namespace = match words.next().map(|word| word.strip_prefix("namespace=").ok_or(word)) {
        None => None,
        Some(Ok(path)) => Some(Path::parse(path)?),
        Some(Err(word)) => return Err(format!("`{word}` is not known here; it may be `namespace=PATH`")),
    };
    if let Some(word) = words.next() {
        return Err(format!("`{word}` is too much; a row ends after `namespace=PATH`"));
    }
    let name = |kind, qualified, output| What::Name { kind, qualified, output };
    let what = match what {
        "config-map" => name(ConfigKind::ConfigMap, false, false),
        "secret" => name(ConfigKind::Secret, false, false),
        "qualified-config-map" => name(ConfigKind::ConfigMap, true, false),
        "qualified-secret" => name(ConfigKind::Secret, true, false),
        "output-config-map" => name(ConfigKind::ConfigMap, false, true),
        "output-secret" => name(ConfigKind::Secret, false, true),
        part if part.starts_with('@') => What::Part(part.to_owned()),
        other => return Err(format!("`{other}` is neither config-map nor secret nor a @part")),
    };
    Ok((kind.to_owned(), Row { what, path: Path::parse(path)?, namespace }))
}

struct Search<'a> {
    references: &'a References,
    object: &'a Value,
    found: Vec<Reference>,
    /// Places that have a reference: two rows may lead to the same one.
    seen: BTreeSet<(String, ConfigKind)>,
}

impl<'a> Search<'a> {
    fn part(&mut self, part: &str, value: &'a Value, pointer: &str, template: Option<&str>, depth: usize) {
        let references = self.references;
        let Some(rows) = references.rows.get(part) else { return };
        if depth > DEPTH_MAX {
            return;
        }
        for row in rows {
            row.path.visit(value, pointer, &mut |value, pointer| match &row.what {
                What::Part(inner) => {
                    let template = if inner == POD_TEMPLATE { Some(pointer) } else { template };
                    self.part(inner, value, pointer, template, depth + 1);
                }
                What::Name { kind, qualified, output } => {
                    let namespace = row.namespace.as_ref().and_then(|path| path.text(self.object));
                    let Some(mut reference) = self.reference(*kind, value, pointer, namespace) else {
                        return;
                    };
                    if *qualified && let Some((namespace, name)) = reference.name.split_once('/') {
                        reference.namespace = Some(namespace.to_owned());
                        reference.name = name.to_owned();
                        reference.qualified = true;
                    }
                    reference.output = *output;
                    reference.template = template.map(str::to_owned);
                    self.add(reference);
                }
            });
        }
    }

    /// Adds a reference. Of a place that a controller writes no other row says anything.
    fn add(&mut self, reference: Reference) {
        if self.seen.insert((reference.pointer.clone(), reference.kind)) {
            self.found.push(reference);
        } else if reference.output {
            let same = |it: &&mut Reference| it.pointer == reference.pointer && it.kind == reference.kind;
            if let Some(known) = self.found.iter_mut().find(same) {
                known.output = true;
            }
        }
    }

    /// The reference at a place, unless the fields beside the name say that another kind is meant.
    fn reference(
        &self,
        kind: ConfigKind,
        value: &Value,
        pointer: &str,
        namespace: Option<&str>,
    ) -> Option<Reference> {
        let name = value.as_str().filter(|name| !name.is_empty())?;
        let beside = match pointer.strip_suffix("/name") {
            // The metadata of the object itself has a name too, and is no reference with a kind.
            Some("/metadata") | None => None,
            Some(parent) => self.object.pointer(parent),
        };
        let beside_text = |key: &str| beside.and_then(|it| it.get(key)).and_then(Value::as_str);
        // Some operators call the kind a type; most types are something else.
        let typed = beside_text("type").filter(|it| matches!(*it, "ConfigMap" | "Secret"));
        if beside_text("kind").or(typed).is_some_and(|it| it != kind.as_str())
            || beside_text("group").is_some_and(|it| !it.is_empty())
        {
            return None;
        }
        let namespace = namespace.or_else(|| beside_text("namespace")).filter(|it| !it.is_empty());
        Some(Reference {
            pointer: pointer.to_owned(),
            kind,
            name: name.to_owned(),
            namespace: namespace.map(str::to_owned),
            qualified: false,
            output: false,
            template: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_that_are_wrong_say_why_and_where() {
        let wrong = [
            ("A config-map", "form KIND WHAT PATH"),
            ("A configmap a.b", "neither config-map nor secret"),
            ("A secret a..b", "a key is missing"),
            ("A secret a.b ns=c", "may be `namespace=PATH`"),
            ("A secret a.b namespace=c d", "`d` is too much"),
            ("A @nothing a.b", "inside of `@nothing`"),
        ];
        for (text, expected) in wrong {
            let error = References::default().add("x.txt", &format!("# words\n\n{text}\n")).unwrap_err();
            assert!(error.message.contains(expected) && error.line == 3, "{error}");
        }
    }

    #[test]
    fn parts_that_contain_themselves_end() {
        let mut references = References::default();
        references.add("x.txt", "A @loop .\n@loop @loop .\n@loop secret s").unwrap();
        assert_eq!(references.of(&json!({"kind": "A", "s": "x"})).len(), 1);
    }

    #[test]
    fn words_beside_a_name_decide() {
        let mut references = References::default();
        references.add("x.txt", "g/A config-map refs[].name\ng/A secret refs[].name").unwrap();
        let object = json!({"apiVersion": "g/v1", "kind": "A", "refs": [
            {"kind": "ConfigMap", "name": "a"}, {"kind": "Secret", "name": "b", "namespace": "n"},
            {"kind": "Secret", "name": "c", "group": "other"}, {"kind": "Service", "name": "d"}, {"name": 7},
        ]});
        let found: Vec<_> =
            references.of(&object).into_iter().map(|it| (it.kind, it.name, it.namespace)).collect();
        assert_eq!(
            found,
            [
                (ConfigKind::ConfigMap, "a".to_owned(), None),
                (ConfigKind::Secret, "b".to_owned(), Some("n".to_owned()))
            ]
        );
    }
}
