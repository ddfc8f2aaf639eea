//! Trees to the model, one file a block.

mod environment;
mod pipeline;
mod target;
pub(crate) mod workload;

use trimaran_model::error_code;
use trimaran_model::pipeline::Pipeline;
use trimaran_model::target::Target;

use crate::decode::{Fields, text};
use crate::diagnostic::Sink;
use crate::tree::{Node, NodeKind, Span};

/// One document of a file.
#[derive(Debug, Clone)]
pub struct Document {
    pub file: String,
    /// Where its name stands.
    pub span: Span,
    pub kind: DocumentKind,
    /// Places that checks across documents point to.
    pub(crate) places: Places,
}

#[derive(Debug, Clone)]
pub enum DocumentKind {
    Pipeline(Pipeline),
    Target(Target),
}

/// Where the names of a pipeline stand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// Environment, target and place of each use of a target.
    pub(crate) targets: Vec<(String, String, Span)>,
    /// Place of each environment's name.
    pub(crate) environments: Vec<(String, Span)>,
}

/// Kinds of documents, by their first key.
const LATER: &[&str] = &["template", "freeze", "policy", "metric", "group"];

/// Reads one document; `None` when it had errors.
pub(crate) fn document(node: &Node, file: &str, sink: &mut Sink) -> Option<Document> {
    let before = sink.len();
    if node.is_null() {
        return None;
    }
    let NodeKind::Map(entries) = &node.kind else {
        crate::decode::wrong_type(node, "a document has to be a map that starts with `trimaran: v1`", sink);
        return None;
    };
    version(node, sink);
    let later = entries.iter().find(|entry| LATER.contains(&entry.key.as_str()));
    if let Some(entry) = later {
        let message = format!("documents of kind `{}` are not part of this version", entry.key);
        sink.error(error_code::NOT_YET, entry.key_span, message, "remove the document");
        return None;
    }
    let found = match (node.get("pipeline"), node.get("target")) {
        (Some(_), Some(second)) => {
            let message = "a document is a pipeline or a target, not both";
            sink.error(error_code::EXACTLY_ONE, second.key_span, message, "separate them with a line `---`");
            None
        }
        (Some(name), None) => pipeline::lower(node, sink)
            .map(|(pipeline, places)| (name, DocumentKind::Pipeline(pipeline), places)),
        (None, Some(name)) => {
            target::lower(node, sink).map(|target| (name, DocumentKind::Target(target), Places::default()))
        }
        (None, None) => {
            let message = "the document names neither a `pipeline:` nor a `target:`";
            sink.error(
                error_code::MISSING_KEY,
                Span { length: 1, ..node.span },
                message,
                "add `pipeline: NAME`",
            );
            None
        }
    };
    let (name, kind, places) = found?;
    (sink.len() == before).then(|| Document { file: file.to_owned(), span: name.value.span, kind, places })
}

/// `trimaran: v1`, first.
fn version(node: &Node, sink: &mut Sink) {
    let Some(entry) = node.get("trimaran") else {
        let place = node.entries().first().map_or(node.span, |entry| entry.key_span);
        let message = "a document starts with `trimaran: v1`";
        return sink.error(error_code::MISSING_KEY, place, message, "add `trimaran: v1` as its first line");
    };
    if let Some(found) = text(entry, sink)
        && found != "v1"
    {
        let message = format!(
            "version `{}` of the language is not known; this version knows v1",
            crate::parse::shown(&found)
        );
        sink.error(error_code::BAD_VERSION, entry.value.span, message, "write `trimaran: v1`");
    }
}

/// Begins a document's fields with the version taken.
pub(crate) fn fields<'a>(node: &'a Node, sink: &mut Sink) -> Option<Fields<'a>> {
    let place = node.entries().first().map_or(node.span, |entry| entry.key_span);
    let mut fields = Fields::of(node, place, "a document", sink)?;
    fields.optional("trimaran");
    Some(fields)
}
