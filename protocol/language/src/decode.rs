//! Reading nodes by the type that is expected. Every function reports what is wrong and continues; `None` means
//! that it was reported (or that the key is not there).

mod scalar;

use std::collections::BTreeMap;

use trimaran_model::error_code;

pub(crate) use scalar::{
    amount_of, boolean, bytes, choice, count, digest, duration, name, percent, positive_bytes,
    positive_count, positive_duration,
};

use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::suggest::nearest;
use crate::tree::{Entry, Node, NodeKind, Span};

/// A map that is read key by key; what was not asked for is an unknown key at its end.
pub(crate) struct Fields<'a> {
    node: &'a Node,
    /// Where the map's own key stands, for missing keys.
    place: Span,
    known: Vec<&'static str>,
    /// Required keys that are not there.
    missing: Vec<&'static str>,
    /// Keys of the full language that this version does not have yet.
    later: &'static [&'static str],
}

impl<'a> Fields<'a> {
    /// Begins to read `node` as a map.
    pub(crate) fn of(node: &'a Node, place: Span, what: &str, sink: &mut Sink) -> Option<Self> {
        match &node.kind {
            NodeKind::Map(_) => {
                Some(Self { node, place, known: Vec::new(), missing: Vec::new(), later: &[] })
            }
            NodeKind::Scalar { .. } | NodeKind::Seq(_) => {
                wrong_type(node, &format!("{what} has to be a map"), sink);
                None
            }
        }
    }

    /// Begins to read the map of a key.
    pub(crate) fn below(entry: &'a Entry, sink: &mut Sink) -> Option<Self> {
        Self::of(&entry.value, entry.key_span, &quoted(entry), sink)
    }

    pub(crate) fn later(mut self, keys: &'static [&'static str]) -> Self {
        self.later = keys;
        self
    }

    pub(crate) fn optional(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        self.node.get(key)
    }

    /// Reads a key that has to be there; [`Fields::finish`] reports it otherwise.
    pub(crate) fn required(&mut self, key: &'static str) -> Option<&'a Entry> {
        let found = self.optional(key);
        if found.is_none() {
            self.missing.push(key);
        }
        found
    }

    /// Reports every key that no reader knows, and every one that is missing. A misspelt key is one error, not
    /// two.
    pub(crate) fn finish(mut self, sink: &mut Sink) {
        for entry in self.node.entries() {
            if sink.is_full() {
                return;
            }
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            if self.later.contains(&entry.key.as_str()) {
                not_yet(entry, "remove it", sink);
                continue;
            }
            let meant = unknown_key(entry, &self.known, "known here", sink);
            self.missing.retain(|key| meant.as_deref() != Some(*key));
        }
        for key in self.missing {
            let message = format!("the key `{key}` is missing");
            sink.error(error_code::MISSING_KEY, self.place, message, format!("add `{key}:`"));
        }
    }
}

/// A part of the full language that this version does not implement.
pub(crate) fn not_yet(entry: &Entry, help: &str, sink: &mut Sink) {
    let message = format!("`{}` is part of the language but not supported by this version yet", entry.key);
    sink.error(error_code::NOT_YET, entry.key_span, message, help);
}

/// Reports a key that is not known here; returns the one that was meant, as far as that can be guessed.
fn unknown_key(entry: &Entry, known: &[&'static str], otherwise: &str, sink: &mut Sink) -> Option<String> {
    if expression(&entry.key, entry.key_span, "a key", sink) {
        return None;
    }
    let meant = nearest(&entry.key, known.iter().map(|key| (*key).to_owned()));
    let help = match &meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("{otherwise}: {}", known.join(", ")),
    };
    let message = format!("unknown key `{}`", shown(&entry.key));
    sink.error(error_code::UNKNOWN_KEY, entry.key_span, message, help);
    meant
}

/// Reports `${{`, which never passes as text; whether it was there.
pub(crate) fn expression(text: &str, span: Span, what: &str, sink: &mut Sink) -> bool {
    let found = text.contains("${{");
    if found {
        let message = format!("{what} has an expression; expressions are not supported by this version yet");
        sink.error(error_code::EXPRESSION, span, message, "write the value itself");
    }
    found
}

/// Reports a NUL character, which YAML can write as `"\0"` and no argument, variable, path or name can hold;
/// whether it was there.
fn nul(text: &str, span: Span, what: &str, sink: &mut Sink) -> bool {
    let found = text.contains('\0');
    if found {
        let message = format!("{what} has a NUL character, which no program can be given");
        sink.error(error_code::WRONG_TYPE, span, message, "remove it");
    }
    found
}

/// Says what a value has to be, with what it is.
pub(crate) fn wrong_type(node: &Node, message: &str, sink: &mut Sink) {
    if let NodeKind::Scalar { text, .. } = &node.kind
        && expression(text, node.span, "the value", sink)
    {
        return;
    }
    let message = format!("{message}, this is {}", node.type_name());
    sink.error(error_code::WRONG_TYPE, node.span, message, "");
}

/// The key of an entry inside of a message; some keys are chosen by the file.
pub(crate) fn quoted(entry: &Entry) -> String {
    format!("`{}`", shown(&entry.key))
}

/// The text of a key.
pub(crate) fn text(entry: &Entry, sink: &mut Sink) -> Option<String> {
    text_of(&entry.value, &quoted(entry), sink)
}

pub(crate) fn text_of(node: &Node, what: &str, sink: &mut Sink) -> Option<String> {
    match &node.kind {
        NodeKind::Scalar { text, .. } if !node.is_null() => {
            let bad = expression(text, node.span, what, sink) || nul(text, node.span, what, sink);
            (!bad).then(|| text.clone())
        }
        NodeKind::Scalar { .. } | NodeKind::Seq(_) | NodeKind::Map(_) => {
            wrong_type(node, &format!("{what} has to be a text"), sink);
            None
        }
    }
}

/// What `read` makes of an optional key: `default` when it is not there, `None` when it was wrong.
pub(crate) fn or_default<T>(
    entry: Option<&Entry>,
    default: T,
    read: impl FnOnce(&Entry) -> Option<T>,
) -> Option<T> {
    match entry {
        Some(entry) => read(entry),
        None => Some(default),
    }
}

/// A list; anything else is wrong.
pub(crate) fn list<'a>(entry: &'a Entry, sink: &mut Sink) -> Option<&'a [Node]> {
    match &entry.value.kind {
        NodeKind::Seq(items) => Some(items),
        NodeKind::Scalar { .. } | NodeKind::Map(_) => {
            wrong_type(&entry.value, &format!("{} has to be a list", quoted(entry)), sink);
            None
        }
    }
}

/// A map of names that the file chooses; anything else is wrong.
pub(crate) fn map<'a>(entry: &'a Entry, sink: &mut Sink) -> Option<&'a [Entry]> {
    match &entry.value.kind {
        NodeKind::Map(entries) => Some(entries),
        NodeKind::Scalar { .. } | NodeKind::Seq(_) => {
            wrong_type(&entry.value, &format!("{} has to be a map", quoted(entry)), sink);
            None
        }
    }
}

/// What `read` makes of all items, each of which is read even after a wrong one.
pub(crate) fn each<I, T>(
    items: impl IntoIterator<Item = I>,
    mut read: impl FnMut(I) -> Option<T>,
) -> Option<Vec<T>> {
    let mut values = Vec::new();
    let mut whole = true;
    for item in items {
        match read(item) {
            Some(value) => values.push(value),
            None => whole = false,
        }
    }
    whole.then_some(values)
}

/// A list of texts.
pub(crate) fn words(entry: &Entry, what: &str, sink: &mut Sink) -> Option<Vec<String>> {
    let items = list(entry, sink)?;
    each(items, |item| text_of(item, what, sink))
}

/// A map of texts by names that the file chooses.
pub(crate) fn texts(entry: &Entry, sink: &mut Sink) -> Option<BTreeMap<String, String>> {
    let entries = map(entry, sink)?;
    let pairs = each(entries, |entry| {
        let bad_key = expression(&entry.key, entry.key_span, "a key", sink);
        let value = text(entry, sink)?;
        (!bad_key).then(|| (entry.key.clone(), value))
    })?;
    Some(pairs.into_iter().collect())
}

/// The known keys of a union such as `{ http: … }`. All of them are to be read, so that nothing that is wrong
/// in them is missed; only a union with exactly one has a value.
pub(crate) struct Union<'a> {
    pub(crate) known: Vec<&'a Entry>,
}

impl<'a> Union<'a> {
    pub(crate) fn of(entry: &'a Entry, keys: &[&'static str], sink: &mut Sink) -> Self {
        let NodeKind::Map(entries) = &entry.value.kind else {
            let message = format!("{} has to be a map with one of: {}", quoted(entry), keys.join(", "));
            wrong_type(&entry.value, &message, sink);
            return Self { known: Vec::new() };
        };
        let (known, others): (Vec<_>, Vec<_>) =
            entries.iter().partition(|other| keys.contains(&other.key.as_str()));
        for other in &others {
            unknown_key(other, keys, "one of", sink);
        }
        if let Some(second) = known.get(1) {
            let message = format!("exactly one of {} is allowed", keys.join(", "));
            sink.error(error_code::EXACTLY_ONE, second.key_span, message, "keep one of them");
        }
        if known.is_empty() && others.is_empty() {
            let message = format!("{} needs one of: {}", quoted(entry), keys.join(", "));
            sink.error(error_code::MISSING_KEY, entry.key_span, message, "");
        }
        Self { known }
    }

    /// The one key, when it is one.
    pub(crate) fn one(&self) -> Option<&'a Entry> {
        match self.known.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}
