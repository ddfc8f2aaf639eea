//! `{ secret: NAME }`: a value that is never in a file of the language, but in a file that a host or an agent keeps.

use trimaran_model::error_code;

use crate::decode::{Fields, text};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::tree::Entry;

/// The name of the secret.
pub(crate) fn secret(entry: &Entry, sink: &mut Sink) -> Option<String> {
    let mut it = Fields::below(entry, sink)?;
    let secret = it.required("secret");
    it.finish(sink);
    secret.and_then(|entry| secret_name(entry, sink))
}

/// One component of a path that is not hidden.
fn secret_name(entry: &Entry, sink: &mut Sink) -> Option<String> {
    let name = text(entry, sink)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 128 || name.starts_with('.') || !name.chars().all(plain) {
        let message = format!("`{}` is not the name of a secret", shown(&name));
        let help = "names of secrets have letters, digits, `-`, `_` and `.`";
        sink.error(error_code::BAD_NAME, entry.value.span, message, help);
        return None;
    }
    Some(name)
}
