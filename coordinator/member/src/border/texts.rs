//! Texts and lists of what users write, within their bounds. A refusal does not repeat what is too long.

use std::collections::BTreeMap;

use trimaran_model::id::{label_error, name_error};
use trimaran_model::limits::{LABELS_MAX, NAME_BYTES_MAX};

/// A text of at most `max` bytes.
pub fn short(what: &str, text: &str, max: usize) -> Result<(), String> {
    if text.len() > max {
        return Err(format!("{what} has at most {max} bytes, not {}", text.len()));
    }
    Ok(())
}

/// A name, which is not looked up but stored, or names what is stored.
pub fn name(what: &str, text: &str) -> Result<(), String> {
    short(what, text, NAME_BYTES_MAX)?;
    match name_error(text) {
        Some(why) => Err(format!("`{text}` is not a name: {why}")),
        None => Ok(()),
    }
}

/// A list of at most `max` members.
pub fn few(what: &str, count: usize, max: usize) -> Result<(), String> {
    if count > max {
        return Err(format!("a request has at most {max} {what}, not {count}"));
    }
    Ok(())
}

/// Labels of runners.
pub fn labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    few("labels", labels.len(), LABELS_MAX)?;
    match labels.iter().find_map(|(key, value)| label_error(key, value)) {
        Some(why) => Err(why.to_owned()),
        None => Ok(()),
    }
}
