//! Scalars of the language: names, durations, counts, percentages, words of a closed list.

use std::str::FromStr;

use trimaran_model::amount::IntOrPercent;
use trimaran_model::error_code;
use trimaran_model::id::{Digest, InvalidName};
use trimaran_model::time::Millis;

use super::{text, text_of};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::suggest::did_you_mean;
use crate::tree::{Entry, Node, NodeKind};

/// A name of one of the typed kinds.
pub(crate) fn name<T>(node: &Node, what: &str, sink: &mut Sink) -> Option<T>
where
    T: FromStr<Err = InvalidName>,
{
    let text = text_of(node, what, sink)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let message = format!("`{}` is not a name: {}", shown(&text), error.why);
            sink.error(error_code::BAD_NAME, node.span, message, "");
            None
        }
    }
}

/// 64 hexadecimal digits.
pub(crate) fn digest(entry: &Entry, sink: &mut Sink) -> Option<Digest> {
    let text = text(entry, sink)?;
    let found = text.parse().ok();
    if found.is_none() {
        let message = format!("`{}` is not a sha256 digest of 64 hexadecimal digits", shown(&text));
        sink.error(error_code::BAD_DIGEST, entry.value.span, message, "");
    }
    found
}

/// `90s`, `10m`, `1h30m`, `3d`, `500ms`, `0s`.
pub(crate) fn duration(entry: &Entry, sink: &mut Sink) -> Option<Millis> {
    let text = text(entry, sink)?;
    let found = Millis::parse(&text);
    if found.is_none() {
        let no_unit = !text.is_empty() && text.len() < 10 && text.chars().all(|c| c.is_ascii_digit());
        let help = match no_unit {
            true => format!("add a unit: {text}ms, {text}s, {text}m, {text}h or {text}d"),
            false => "write it like 500ms, 90s, 10m, 1h30m or 3d".to_owned(),
        };
        let message = format!("`{}` is not a duration", shown(&text));
        sink.error(error_code::BAD_DURATION, entry.value.span, message, help);
    }
    found
}

/// A duration that is not nothing.
pub(crate) fn positive_duration(entry: &Entry, sink: &mut Sink) -> Option<Millis> {
    let found = duration(entry, sink)?;
    if found == Millis::ZERO {
        let message = format!("`{}` has to be longer than nothing", entry.key);
        sink.error(error_code::BAD_DURATION, entry.value.span, message, "write it like 500ms");
        return None;
    }
    Some(found)
}

/// A whole number without sign.
pub(crate) fn count(entry: &Entry, sink: &mut Sink) -> Option<u32> {
    let text = text(entry, sink)?;
    let found = whole(&text);
    if found.is_none() {
        let message = format!("`{}` is not a whole number", shown(&text));
        sink.error(error_code::BAD_AMOUNT, entry.value.span, message, "write it like 1 or 64");
    }
    found
}

/// A whole number from 1.
pub(crate) fn positive_count(entry: &Entry, sink: &mut Sink) -> Option<u32> {
    let found = count(entry, sink)?;
    if found == 0 {
        let message = format!("`{}` is at least 1", entry.key);
        sink.error(error_code::BAD_AMOUNT, entry.value.span, message, "write it like 1 or 64");
        return None;
    }
    Some(found)
}

/// `0`, `512`, `64KiB`, `512MiB` or `2GiB`.
pub(crate) fn bytes(entry: &Entry, sink: &mut Sink) -> Option<u64> {
    let text = text(entry, sink)?;
    let found = byte_size(&text);
    if found.is_none() {
        let message = format!("`{}` is not a size", shown(&text));
        sink.error(error_code::BAD_AMOUNT, entry.value.span, message, "write it like 64KiB, 512MiB or 2GiB");
    }
    found
}

/// A size that is not nothing.
pub(crate) fn positive_bytes(entry: &Entry, sink: &mut Sink) -> Option<u64> {
    let found = bytes(entry, sink)?;
    if found == 0 {
        let message = format!("`{}` is at least 1", entry.key);
        sink.error(error_code::BAD_AMOUNT, entry.value.span, message, "write it like 64KiB, 512MiB or 2GiB");
        return None;
    }
    Some(found)
}

fn byte_size(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("", 0)];
    let (number, shift) = units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))?;
    u64::from(whole(number)?).checked_mul(1 << shift)
}

/// `50%` or `200%`: a share that may be more than a whole.
pub(crate) fn percent(entry: &Entry, sink: &mut Sink) -> Option<u32> {
    let text = text(entry, sink)?;
    let found = text.strip_suffix('%').and_then(whole).filter(|percent| *percent > 0);
    if found.is_none() {
        let message = format!("`{}` is not a percentage from 1%", shown(&text));
        sink.error(error_code::BAD_AMOUNT, entry.value.span, message, "write it like 50% or 200%");
    }
    found
}

/// `3` or `25%`.
pub(crate) fn amount_of(node: &Node, what: &str, sink: &mut Sink) -> Option<IntOrPercent> {
    let text = text_of(node, what, sink)?;
    let found = match text.strip_suffix('%') {
        Some(percent) => whole(percent)
            .and_then(|percent| u8::try_from(percent).ok())
            .filter(|percent| *percent <= 100)
            .map(IntOrPercent::Percent),
        None => whole(&text).map(IntOrPercent::Count),
    };
    if found.is_none() {
        let message = format!("`{}` is neither a count nor a percentage up to 100%", shown(&text));
        sink.error(error_code::BAD_AMOUNT, node.span, message, "write it like 3 or 25%");
    }
    found
}

/// Digits only, without a zero before them: `+3`, `0x10`, `010` and `1_000` mean different things to different readers.
fn whole(text: &str) -> Option<u32> {
    let plain = text.chars().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

/// `true` or `false`, without quotes.
pub(crate) fn boolean(entry: &Entry, sink: &mut Sink) -> Option<bool> {
    match &entry.value.kind {
        NodeKind::Scalar { text, plain: true } if text == "true" => Some(true),
        NodeKind::Scalar { text, plain: true } if text == "false" => Some(false),
        _ => {
            let text = text(entry, sink)?;
            let message = format!("`{}` is neither true nor false: `{}`", entry.key, shown(&text));
            sink.error(
                error_code::BAD_CHOICE,
                entry.value.span,
                message,
                "write true or false without quotes",
            );
            None
        }
    }
}

/// One of several words.
pub(crate) fn choice<T: Copy>(node: &Node, what: &str, words: &[(&str, T)], sink: &mut Sink) -> Option<T> {
    let text = text_of(node, what, sink)?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let names: Vec<String> = words.iter().map(|(word, _)| (*word).to_owned()).collect();
        let help = did_you_mean(&text, names.iter().cloned(), || format!("one of: {}", names.join(", ")));
        sink.error(error_code::BAD_CHOICE, node.span, format!("{what} can't be `{}`", shown(&text)), help);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [("0", 0), ("512", 512), ("64KiB", 65_536), ("2GiB", 2 << 30)] {
            assert_eq!(byte_size(text), Some(bytes), "{text}");
        }
        for bad in ["", "MiB", "1.5MiB", "5 MiB", "5MB", "5mib", "-1"] {
            assert_eq!(byte_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn whole_numbers_are_digits() {
        assert_eq!(whole("64"), Some(64));
        for bad in ["", "+3", "-1", "0x10", "1_000", "1.0", " 1", "99999999999"] {
            assert_eq!(whole(bad), None, "{bad}");
        }
    }
}
