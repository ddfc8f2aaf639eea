//! Trees to the model, one file a block.

mod artifacts;
mod environment;
pub(crate) mod head;
mod pipeline;
pub(crate) mod secret;
mod target;
pub(crate) mod workload;

use trimaran_model::error_code;

use self::head::{first_place, version};
use crate::diagnostic::Sink;
use crate::document::{Document, Outline, OutlineKind};
use crate::suggest::nearest;
use crate::tree::{Entry, Node, NodeKind};

/// The kinds of documents, each with the key that holds its name and with keys that no other kind has.
const KINDS: [(Kind, &str, &[&str]); 2] = [
    (Kind::Pipeline, "pipeline", &["workload", "environments", "artifacts"]),
    (Kind::Target, "target", &["hosts", "agent", "class"]),
];
const KINDS_LATER: &[&str] = &["template", "freeze", "policy", "metric", "group"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipeline,
    Target,
}

/// Reads one document: its value when it had no errors, and its outline when its kind is known.
pub(crate) fn document(node: &Node, file: &str, sink: &mut Sink) -> (Option<Document>, Option<Outline>) {
    let before = sink.errors();
    let Some(kind) = kind(node, sink) else { return (None, None) };
    let (value, name, kind) = match kind {
        Kind::Pipeline => pipeline::lower(node, sink),
        Kind::Target => target::lower(node, sink),
    };
    let files = match &kind {
        OutlineKind::Pipeline { files, .. } => files.clone(),
        OutlineKind::Target { .. } => Vec::new(),
    };
    let outline = Outline { file: file.to_owned(), name: name.clone(), kind };
    let document = match (value, name) {
        (Some(kind), Some((_, span))) if sink.errors() == before => {
            Some(Document { file: file.to_owned(), span, kind, files })
        }
        _ => None,
    };
    (document, Some(outline))
}

/// What the document is. A misspelt or missing key does not hide the other errors of the document.
fn kind(node: &Node, sink: &mut Sink) -> Option<Kind> {
    if node.is_null() {
        let message = "the document is empty";
        sink.error(
            error_code::EMPTY_DOCUMENT,
            node.span,
            message,
            "remove the line `---`, or write the document",
        );
        return None;
    }
    let NodeKind::Map(entries) = &node.kind else {
        crate::decode::wrong_type(node, "a document has to be a map that starts with `trimaran: v1`", sink);
        return None;
    };
    let place = first_place(node);
    if let Some(other) = other_tool(node) {
        let message = format!("this looks like {other}, not like a file of Trimaran");
        let help =
            "a document starts with `trimaran: v1` and `pipeline: NAME`; `trimaran init` writes a first one";
        sink.error(error_code::MISSING_KEY, place, message, help);
        return None;
    }
    let known_version = version(node, sink);
    let mut named: Vec<(&Entry, Kind)> =
        KINDS.iter().filter_map(|(kind, key, _)| Some((node.get(key)?, *kind))).collect();
    named.sort_by_key(|(entry, _)| entry.key_span);
    match named.as_slice() {
        [_, (second, _), ..] => {
            let message = "a document is a pipeline or a target, not both";
            sink.error(error_code::EXACTLY_ONE, second.key_span, message, "separate them with a line `---`");
            None
        }
        [(_, one)] => known_version.then_some(*one),
        [] => {
            let later = entries.iter().find(|entry| KINDS_LATER.contains(&entry.key.as_str()));
            if let Some(entry) = later {
                let message =
                    format!("documents of kind `{}` are not supported by this version yet", entry.key);
                sink.error(error_code::NOT_YET, entry.key_span, message, "remove the document");
                return None;
            }
            let guessed = guess(node);
            if guessed.is_none() {
                let message =
                    "the document says neither `pipeline:` nor `target:`, so it is not known what it is";
                sink.error(error_code::MISSING_KEY, place, message, "add `pipeline: NAME` or `target: NAME`");
            }
            guessed.filter(|_| known_version)
        }
    }
}

/// The tool whose file this is, by the keys that its files always have.
fn other_tool(node: &Node) -> Option<&'static str> {
    let has = |keys: &[&str]| keys.iter().all(|key| node.get(key).is_some());
    let is_own =
        node.get("trimaran").is_some() || node.get("pipeline").is_some() || node.get("target").is_some();
    match () {
        () if is_own => None,
        () if has(&["on", "jobs"]) => Some("a workflow of GitHub Actions"),
        () if has(&["services"]) => Some("a Compose file"),
        () if has(&["stages", "application"]) => Some("a pipeline of Spinnaker"),
        () => None,
    }
}

/// The kind whose own key was misspelt, or whose other keys are there.
fn guess(node: &Node) -> Option<Kind> {
    let slip = |key: &str| node.entries().iter().any(|entry| nearest(&entry.key, [key.to_owned()]).is_some());
    let others = |keys: &[&str]| keys.iter().any(|key| node.get(key).is_some());
    let found = KINDS.iter().find(|(_, key, _)| slip(key)).or(KINDS.iter().find(|(_, _, keys)| others(keys)));
    found.map(|(kind, _, _)| *kind)
}
