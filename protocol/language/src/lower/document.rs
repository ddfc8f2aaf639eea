//! What the documents of every kind share: version, name and the place of what is missing.
//!
//! Not here: which kind a document is, which its parent decides.

use trimaran_model::error_code;

use crate::decode::{Fields, text};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::tree::{Entry, Node, NodeKind, Span};

/// The document's first key, where what is missing in the document is reported.
pub(super) fn first_place(node: &Node) -> Span {
    node.entries().first().map_or(Span { length: 1, ..node.span }, |entry| entry.key_span)
}

/// `trimaran: v1`. With another version nothing else can be said of the document.
pub(crate) fn version(node: &Node, sink: &mut Sink) -> bool {
    let Some(entry) = node.get("trimaran") else {
        let message = "a document starts with `trimaran: v1`";
        sink.error(
            error_code::MISSING_KEY,
            first_place(node),
            message,
            "add `trimaran: v1` as its first line",
        );
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
pub(super) fn written_name(entry: &Entry) -> Option<(String, Span)> {
    match &entry.value.kind {
        NodeKind::Scalar { text, .. } if !entry.value.is_null() => Some((text.clone(), entry.value.span)),
        NodeKind::Scalar { .. } | NodeKind::Seq(_) | NodeKind::Map(_) => None,
    }
}
