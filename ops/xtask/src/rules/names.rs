//! Names of functions, types, modules and constants must not have words that went: in a sentence they are English, as a
//! name they hide what the field has a noun for (`ops/docs/glossary.md`).
//!
//! Not here: words that sentences must not have either (`words`). Names of tests are sentences.

use std::path::Path;

/// `(word, what a name says instead)`.
const WORDS: &[(&str, &str)] = &[
    ("tell", "send, report or notify"),
    ("hear", "receive"),
    ("hears", "receives"),
    ("said", "reported or printed"),
    ("sight", "observation"),
    ("look", "observe or inspect"),
    ("looks", "observes or inspects"),
    ("room", "space or capacity"),
    ("way", "route or rollback"),
    ("ways", "routes or rollbacks"),
    ("untold", "unspecified"),
    ("pressed", "requested"),
    ("complain", "report"),
    ("beat", "publish"),
    ("pulse", "status"),
    ("acted", "what it did"),
];

/// `(last word of a constant, what it is)`.
const ENDS: &[(&str, &str)] = &[
    ("every", "an interval"),
    ("again", "a retry delay"),
    ("within", "a timeout"),
    ("reach", "a timeout"),
    ("dial", "a timeout"),
];

/// The document behind the key `way_back` of INTERFACE 4.
const KEPT: &str = "WayBack";

const KINDS: &[&str] = &["fn", "struct", "enum", "trait", "type", "mod", "const", "static"];

pub(crate) fn check(root: &Path, files: &[String]) -> Vec<String> {
    let sources = files.iter().filter(|file| file.ends_with(".rs"));
    sources
        .flat_map(|file| {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            check_source(&text).into_iter().map(move |(line, what)| format!("{file}:{line}: {what}"))
        })
        .collect()
}

/// What is found, with its line.
fn check_source(text: &str) -> Vec<(usize, String)> {
    let (mut findings, mut is_test) = (Vec::new(), false);
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim_start();
        is_test |= line.starts_with("#[test]") || (line.starts_with("#[") && line.contains("::test"));
        let Some((kind, name)) = declared(line) else { continue };
        if !std::mem::take(&mut is_test) && name != KEPT {
            findings.extend(refused(kind, name).map(|what| (number, what)));
        }
    }
    findings
}

/// The kind and name that a line declares.
fn declared(line: &str) -> Option<(&str, &str)> {
    let line = match line.strip_prefix("pub(") {
        Some(scope) => scope.split_once(')')?.1,
        None => line,
    };
    let is_first = |word: &&str| matches!(*word, "async" | "unsafe" | "extern" | "pub");
    let mut words = line.split_whitespace().skip_while(is_first);
    let mut kind = words.next().filter(|word| KINDS.contains(word))?;
    let mut name = words.next()?;
    if matches!((kind, name), ("const", "fn" | "unsafe" | "async")) {
        (kind, name) = ("fn", words.find(|word| *word != "fn")?);
    }
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    Some((kind, &name[..end])).filter(|(_, name)| !name.is_empty())
}

fn refused(kind: &str, name: &str) -> Option<String> {
    let words = words_of(name);
    if let Some((word, instead)) = WORDS.iter().find(|(word, _)| words.iter().any(|it| it == word)) {
        return Some(format!("`{name}` has the word `{word}`; the glossary says {instead}"));
    }
    let last = words.last().filter(|_| matches!(kind, "const" | "static"))?;
    let (_, what) = ENDS.iter().find(|(end, _)| end == last)?;
    Some(format!("`{name}` is {what}; name it so"))
}

/// The words of `free_space` and `FreeSpace`.
fn words_of(name: &str) -> Vec<String> {
    let (mut words, mut after_lower) = (vec![String::new()], false);
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = c.is_lowercase();
        if c != '_' {
            let word = words.last_mut().expect("there is one from the beginning");
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_went_is_found_in_names_of_every_kind() {
        for source in [
            "fn tell(&self) {",
            "    pub(crate) async fn agent_hears(",
            "pub const fn make_room() {}",
            "struct DiskRoom {",
            "pub(super) enum Look {",
            "pub(in crate::a) mod sight;",
            "const RETRY_WITHIN: u64 = 1;",
            "pub const EVERY: u64 = 1;",
        ] {
            assert_eq!(check_source(source).len(), 1, "{source}");
        }
    }

    #[test]
    fn sentences_longer_words_and_values_stay() {
        for source in [
            "#[test]\nfn reports_tell_what_was_said() {",
            "#[tokio::test(flavor = \"multi_thread\")]\nasync fn a_disk_has_room() {",
            "fn always_lookup_rooms() {",
            "pub struct WayBack {",
            "let look = 1;",
            "/// const SOON: no.",
            "fn every(again: u64) {",
        ] {
            assert_eq!(check_source(source), [], "{source}");
        }
        let after = check_source("#[test]\nfn a_test_may_tell() {}\nfn tell() {}\n");
        assert_eq!(after.len(), 1, "only the test itself: {after:?}");
        assert_eq!(after[0].0, 3);
    }
}
