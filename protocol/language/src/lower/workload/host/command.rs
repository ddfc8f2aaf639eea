//! A program and its arguments.

use trimaran_model::error_code;

use crate::decode::{each, expression, text_of, wrong_type};
use crate::diagnostic::Sink;
use crate::tree::{Entry, NodeKind};

/// Program and arguments: a list, since no shell would split a text.
pub(super) fn command_list(entry: &Entry, sink: &mut Sink) -> Option<Vec<String>> {
    let items = match &entry.value.kind {
        NodeKind::Seq(items) => items,
        NodeKind::Map(_) => {
            wrong_type(&entry.value, "`command` has to be a list", sink);
            return None;
        }
        NodeKind::Scalar { text, .. } => {
            if !expression(text, entry.value.span, "`command`", sink) {
                let message = "`command` has to be a list; there is no shell that would split a text";
                let help = "write it like [bin/web, \"--port\", \"8080\"]";
                sink.error(error_code::COMMAND_LIST, entry.value.span, message, help);
            }
            return None;
        }
    };
    let words = each(items, |item| text_of(item, "a word of the command", sink))?;
    if words.first().is_none_or(|program| program.is_empty()) {
        let message = "`command` names no program";
        sink.error(error_code::COMMAND_LIST, entry.value.span, message, "name the program first");
        return None;
    }
    Some(words)
}
