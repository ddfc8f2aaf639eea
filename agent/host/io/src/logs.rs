//! The output of a service: files of lines that its shim writes, and their reader.
//!
//! A file is named `output-NUMBER.log`; numbers grow and never come back. When the newest is full the next
//! one is begun and the oldest is removed, so a name always means the same lines and a reader can't be
//! fooled by a rotation. Each file begins with the run that was in progress, so it can be read alone.
//!
//! Deliberately not here: where the files of a service are, and how lines travel to the operator.

pub(crate) mod format;
mod reader;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

use std::path::Path;

pub use reader::{Reader, open};

/// Numbers of the files in `directory`, the oldest first.
fn sequence_numbers(directory: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = std::fs::read_dir(directory)?
        .filter_map(|entry| sequence_number(entry.ok()?.file_name().to_str()?))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The newest file in `directory`, if there is one.
pub fn newest(directory: &Path) -> Option<std::path::PathBuf> {
    let number = *sequence_numbers(directory).ok()?.last()?;
    Some(directory.join(file_name(number)))
}

fn sequence_number(name: &str) -> Option<u64> {
    name.strip_prefix("output-")?.strip_suffix(".log")?.parse().ok()
}

fn file_name(number: u64) -> String {
    format!("output-{number:08}.log")
}
