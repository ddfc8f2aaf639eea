//! Reading nodes by the type that is expected. Every function reports what is wrong and goes on; `None` means
//! that it was reported (or that the key is not there).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::pipeline::Amount;
use trimaran_model::time::Millis;

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
    /// Keys of the full language that this version does not have yet.
    later: &'static [&'static str],
}

impl<'a> Fields<'a> {
    /// Begins to read `node` as a map.
    pub(crate) fn of(node: &'a Node, place: Span, what: &str, sink: &mut Sink) -> Option<Self> {
        match &node.kind {
            NodeKind::Map(_) => Some(Self { node, place, known: Vec::new(), later: &[] }),
            NodeKind::Scalar { .. } | NodeKind::Seq(_) => {
                wrong_type(node, &format!("{what} has to be a map"), sink);
                None
            }
        }
    }

    pub(crate) fn later(mut self, keys: &'static [&'static str]) -> Self {
        self.later = keys;
        self
    }

    pub(crate) fn optional(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        self.node.get(key)
    }

    pub(crate) fn required(&mut self, key: &'static str, sink: &mut Sink) -> Option<&'a Entry> {
        let found = self.optional(key);
        if found.is_none() {
            let message = format!("the key `{key}` is missing");
            sink.error(error_code::MISSING_KEY, self.place, message, format!("add `{key}:`"));
        }
        found
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self, sink: &mut Sink) {
        for entry in self.node.entries() {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let key = shown(&entry.key);
            if self.later.contains(&entry.key.as_str()) {
                let message = format!("`{key}` is part of the language but not of this version");
                sink.error(error_code::NOT_YET, entry.key_span, message, "remove it");
                continue;
            }
            let known = || self.known.iter().map(|key| (*key).to_owned());
            let help = match nearest(&entry.key, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
            };
            sink.error(error_code::UNKNOWN_KEY, entry.key_span, format!("unknown key `{key}`"), help);
        }
    }
}

pub(crate) fn wrong_type(node: &Node, message: &str, sink: &mut Sink) {
    let message = format!("{message}, this is {}", node.type_name());
    sink.error(error_code::WRONG_TYPE, node.span, message, "");
}

/// A text. `${{` is refused: expressions are not part of this version and never pass as text.
pub(crate) fn text(entry: &Entry, sink: &mut Sink) -> Option<String> {
    text_of(&entry.value, &format!("`{}`", entry.key), sink)
}

pub(crate) fn text_of(node: &Node, what: &str, sink: &mut Sink) -> Option<String> {
    match &node.kind {
        NodeKind::Scalar { text, .. } if !node.is_null() => {
            if text.contains("${{") {
                let message = format!("{what} has an expression; this version has none");
                sink.error(error_code::EXPRESSION, node.span, message, "write the value itself");
                return None;
            }
            Some(text.clone())
        }
        NodeKind::Scalar { .. } | NodeKind::Seq(_) | NodeKind::Map(_) => {
            wrong_type(node, &format!("{what} has to be a text"), sink);
            None
        }
    }
}

/// A text that `T` accepts.
pub(crate) fn parsed<T: FromStr>(node: &Node, what: &str, code: ErrorCode, sink: &mut Sink) -> Option<T>
where
    T::Err: Display,
{
    let text = text_of(node, what, sink)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            sink.error(code, node.span, error.to_string(), "");
            None
        }
    }
}

/// A list; anything else is wrong.
pub(crate) fn list<'a>(entry: &'a Entry, sink: &mut Sink) -> Option<&'a [Node]> {
    match &entry.value.kind {
        NodeKind::Seq(items) => Some(items),
        NodeKind::Scalar { .. } | NodeKind::Map(_) => {
            wrong_type(&entry.value, &format!("`{}` has to be a list", entry.key), sink);
            None
        }
    }
}

/// A map of texts.
pub(crate) fn texts(entry: &Entry, sink: &mut Sink) -> Option<BTreeMap<String, String>> {
    let NodeKind::Map(entries) = &entry.value.kind else {
        wrong_type(&entry.value, &format!("`{}` has to be a map", entry.key), sink);
        return None;
    };
    let mut map = BTreeMap::new();
    for entry in entries {
        if let Some(value) = text(entry, sink) {
            map.insert(entry.key.clone(), value);
        }
    }
    Some(map)
}

/// `90s`, `10m`, `1h30m`, `3d`, `500ms`, `0s`.
pub(crate) fn duration(entry: &Entry, sink: &mut Sink) -> Option<Millis> {
    let text = text(entry, sink)?;
    let found = parse_duration(&text);
    if found.is_none() {
        let message = format!("`{}` is not a duration", shown(&text));
        sink.error(
            error_code::BAD_DURATION,
            entry.value.span,
            message,
            "write it like 500ms, 90s, 10m, 1h30m or 3d",
        );
    }
    found
}

fn parse_duration(text: &str) -> Option<Millis> {
    let mut rest = text;
    let mut total = 0u64;
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let unit = match &after[..end] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        if unit >= last {
            return None;
        }
        last = unit;
        total = total.checked_add(number.checked_mul(unit)?)?;
        rest = &after[end..];
    }
    // A hundred years; longer ones are slips.
    (!text.is_empty() && total <= 3_155_760_000_000).then_some(Millis(total))
}

/// A whole number.
pub(crate) fn count(entry: &Entry, sink: &mut Sink) -> Option<u32> {
    let text = text(entry, sink)?;
    let found = text.parse().ok();
    if found.is_none() {
        let message = format!("`{}` is not a whole number", shown(&text));
        sink.error(error_code::BAD_AMOUNT, entry.value.span, message, "write it like 1 or 64");
    }
    found
}

/// `3` or `25%`.
pub(crate) fn amount_of(node: &Node, what: &str, sink: &mut Sink) -> Option<Amount> {
    let text = text_of(node, what, sink)?;
    let found = match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Amount::Percent),
        None => text.parse().ok().map(Amount::Count),
    };
    if found.is_none() {
        let message = format!("`{}` is neither a count nor a percentage up to 100%", shown(&text));
        sink.error(error_code::BAD_AMOUNT, node.span, message, "write it like 3 or 25%");
    }
    found
}

/// One of several words.
pub(crate) fn choice<T: Copy>(node: &Node, what: &str, words: &[(&str, T)], sink: &mut Sink) -> Option<T> {
    let text = text_of(node, what, sink)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let names = || words.iter().map(|(word, _)| (*word).to_owned());
        let help = match nearest(&text, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of: {}", names().collect::<Vec<_>>().join(", ")),
        };
        sink.error(error_code::BAD_CHOICE, node.span, format!("{what} can't be `{}`", shown(&text)), help);
    }
    found
}

/// The one key of a union such as `{ http: … }`.
pub(crate) fn union<'a>(entry: &'a Entry, keys: &[&str], sink: &mut Sink) -> Option<&'a Entry> {
    let NodeKind::Map(entries) = &entry.value.kind else {
        let message = format!("`{}` has to be a map with one of: {}", entry.key, keys.join(", "));
        wrong_type(&entry.value, &message, sink);
        return None;
    };
    for other in entries.iter().filter(|other| !keys.contains(&other.key.as_str())) {
        let known = || keys.iter().map(|key| (*key).to_owned());
        let help = match nearest(&other.key, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of: {}", keys.join(", ")),
        };
        sink.error(
            error_code::UNKNOWN_KEY,
            other.key_span,
            format!("unknown key `{}`", shown(&other.key)),
            help,
        );
    }
    let mut known = entries.iter().filter(|other| keys.contains(&other.key.as_str()));
    let first = known.next();
    if let Some(second) = known.next() {
        let message = format!("exactly one of {} is allowed", keys.join(", "));
        sink.error(error_code::EXACTLY_ONE, second.key_span, message, "remove one of the two");
    }
    if first.is_none() && entries.is_empty() {
        let message = format!("`{}` needs one of: {}", entry.key, keys.join(", "));
        sink.error(error_code::MISSING_KEY, entry.key_span, message, "");
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_once_and_in_order() {
        for (text, ms) in
            [("500ms", 500), ("90s", 90_000), ("1h30m", 5_400_000), ("3d", 259_200_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Some(Millis(ms)), "{text}");
        }
        for bad in
            ["", "5", "s", "5x", "30m1h", "1s1s", "-1s", "1.5s", "5 s", "99999999999999999999d", "9999999d"]
        {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
