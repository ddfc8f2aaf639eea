//! Trees to the model, one file a block.

mod artifacts;
mod environment;
mod pipeline;
mod target;
pub(crate) mod workload;

use trimaran_model::error_code;
use trimaran_model::pipeline::Pipeline;
use trimaran_model::target::{Target, TargetClass};

use crate::decode::{Fields, text};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::suggest::did_you_mean;
use crate::tree::{Entry, Node, NodeKind, Span};

/// One document of a file.
#[derive(Debug, Clone)]
pub struct Document {
    pub file: String,
    /// Where its name stands.
    pub span: Span,
    pub kind: DocumentKind,
}

#[derive(Debug, Clone)]
pub enum DocumentKind {
    Pipeline(Pipeline),
    Target(Target),
}

/// What checks across documents need of a document, also of one that has errors of its own: otherwise one
/// error would hide another, or a broken target would look like a missing one.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    pub(crate) file: String,
    /// As written; `None` when it could not be read.
    pub(crate) name: Option<(String, Span)>,
    pub(crate) kind: OutlineKind,
}

#[derive(Debug, Clone)]
pub(crate) enum OutlineKind {
    Pipeline { platform: Option<Platform>, environments: Vec<EnvironmentOutline> },
    Target { class: Option<TargetClass>, platform: Option<Platform> },
}

/// What a workload needs and a target has: the target's key, `hosts`.
pub(crate) type Platform = &'static str;

#[derive(Debug, Clone)]
pub(crate) struct EnvironmentOutline {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) approved: bool,
    pub(crate) targets: Vec<(String, Span)>,
}

/// Kinds of documents, by the key that holds their name.
const KINDS: &[&str] = &["pipeline", "target"];
const KINDS_LATER: &[&str] = &["template", "freeze", "policy", "metric", "group"];

/// Reads one document: its value when it had no errors, and its outline when its kind is known.
pub(crate) fn document(node: &Node, file: &str, sink: &mut Sink) -> (Option<Document>, Option<Outline>) {
    let before = sink.errors();
    let Some(kind) = kind(node, sink) else { return (None, None) };
    let (value, name, kind) = match kind.key.as_str() {
        "pipeline" => pipeline::lower(node, sink),
        _ => target::lower(node, sink),
    };
    let outline = Outline { file: file.to_owned(), name: name.clone(), kind };
    let document = match (value, name) {
        (Some(kind), Some((_, span))) if sink.errors() == before => {
            Some(Document { file: file.to_owned(), span, kind })
        }
        _ => None,
    };
    (document, Some(outline))
}

/// The entry that says what the document is.
fn kind<'a>(node: &'a Node, sink: &mut Sink) -> Option<&'a Entry> {
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
    let known_version = version(node, place, sink);
    let later = entries.iter().find(|entry| KINDS_LATER.contains(&entry.key.as_str()));
    if let Some(entry) = later {
        let message = format!("documents of kind `{}` are not supported by this version yet", entry.key);
        sink.error(error_code::NOT_YET, entry.key_span, message, "remove the document");
        return None;
    }
    let mut found = KINDS.iter().filter_map(|kind| node.get(kind));
    match (found.next(), found.next()) {
        (Some(a), Some(b)) => {
            let second = if (a.key_span.line, a.key_span.column) < (b.key_span.line, b.key_span.column) {
                b
            } else {
                a
            };
            let message = "a document is a pipeline or a target, not both";
            sink.error(error_code::EXACTLY_ONE, second.key_span, message, "separate them with a line `---`");
            None
        }
        (Some(one), None) => known_version.then_some(one),
        (None, _) => {
            let message =
                "the document says neither `pipeline:` nor `target:`, so it is not known what it is";
            let slip = entries.iter().map(|entry| {
                did_you_mean(&entry.key, KINDS.iter().map(|kind| (*kind).to_owned()), String::new)
            });
            let help =
                slip.into_iter().find(|help| !help.is_empty()).unwrap_or("add `pipeline: NAME`".to_owned());
            sink.error(error_code::MISSING_KEY, place, message, help);
            None
        }
    }
}

/// The document's first key, where what is missing in the document is reported.
fn first_place(node: &Node) -> Span {
    node.entries().first().map_or(Span { length: 1, ..node.span }, |entry| entry.key_span)
}

/// `trimaran: v1`. With another version nothing else can be said of the document.
fn version(node: &Node, place: Span, sink: &mut Sink) -> bool {
    let Some(entry) = node.get("trimaran") else {
        let message = "a document starts with `trimaran: v1`";
        sink.error(error_code::MISSING_KEY, place, message, "add `trimaran: v1` as its first line");
        return true;
    };
    match text(entry, sink) {
        Some(found) if found != "v1" => {
            let message = format!(
                "version `{}` of the language is not known; this version of Trimaran knows v1",
                shown(&found)
            );
            sink.error(error_code::BAD_VERSION, entry.value.span, message, "write `trimaran: v1`");
            false
        }
        _ => true,
    }
}

/// Begins a document's fields with the version taken.
pub(crate) fn fields<'a>(node: &'a Node, sink: &mut Sink) -> Option<Fields<'a>> {
    let mut fields = Fields::of(node, first_place(node), "a document", sink)?;
    fields.optional("trimaran");
    Some(fields)
}

/// The name of a document, as written.
fn written_name(entry: &Entry) -> Option<(String, Span)> {
    match &entry.value.kind {
        NodeKind::Scalar { text, .. } if !entry.value.is_null() => Some((text.clone(), entry.value.span)),
        NodeKind::Scalar { .. } | NodeKind::Seq(_) | NodeKind::Map(_) => None,
    }
}
