//! Words that the project's text must not have: paths of somebody's machine and hosts of registries, and words for which
//! the glossary (`ops/docs/glossary.md`) has another one.
//!
//! Not here: spelling, and words inside of longer ones (`lifetime` is no `life`).

use std::path::Path;

/// Written in two parts, so that this file does not find itself.
const BANNED: &[(&str, &str)] = &[
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/wo", "rk/"),
    ("crates", ".io/"),
    ("static.rust", "-lang.org"),
    ("pypi", ".org"),
    ("deb.debian", ".org"),
];

/// `(one or two words, what the project says instead)`. Identifiers count word by word: `take_back` is two words.
const REPLACED: &[(&str, &str)] = &[
    ("way back", "rollback, or the release to restore"),
    ("ways back", "rollbacks"),
    ("told", "sent, reported or notified"),
    ("heard", "received"),
    ("life", "incarnation, or cluster time"),
    ("lives", "incarnations, or is"),
    ("astray", "diverged"),
    ("strays", "diverged or orphans"),
    ("patience", "timeout"),
    ("carry out", "execute or perform"),
    ("carried out", "executed or performed"),
    ("carries out", "executes or performs"),
    ("take back", "undo"),
    ("mend", "fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("aim", "target or goal"),
    ("aims", "targets or goals"),
    ("nobody", "no one, or the passive"),
    ("somebody", "a user, or someone"),
    ("under way", "in progress"),
    ("by itself", "automatically"),
];

/// Text that is a promise to users or speaks of these words; two tests run services as Debian's account `nobody`.
const EXCEPT: &[&str] = &[
    "ops/xtask/src/rules/words.rs",
    "ops/docs/glossary.md",
    "agent/host/io/src/account.rs",
    "tests/conformance/tests/real/users.rs",
];

/// The key of INTERFACE 4; the only use of its words that stays.
const KEY: &str = "way_back";

/// Paths and hosts that must not be named.
pub(crate) fn check(root: &Path, files: &[String]) -> Vec<String> {
    let banned = |line: &str| -> Vec<String> {
        let words = BANNED.iter().map(|(head, tail)| format!("{head}{tail}"));
        words.filter(|word| line.contains(word)).map(|word| format!("`{word}` must not be named")).collect()
    };
    let files = files.iter().filter(|file| !file.ends_with(".lock"));
    files.flat_map(|file| check_lines(root, file, banned)).collect()
}

/// Words for which the glossary has another one.
pub(crate) fn check_glossary(root: &Path, files: &[String]) -> Vec<String> {
    let other = |line: &str| -> Vec<String> {
        replaced(line).map(|(word, instead)| format!("`{word}`: the glossary says {instead}")).collect()
    };
    files.iter().filter(|file| speaks(file)).flat_map(|file| check_lines(root, file, other)).collect()
}

/// What `check` finds in each line of a text file, with file and line before it.
fn check_lines(root: &Path, file: &str, check: impl Fn(&str) -> Vec<String>) -> Vec<String> {
    let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
    let numbered = text.lines().zip(1..);
    let found = numbered.flat_map(|(line, number)| check(line).into_iter().map(move |it| (number, it)));
    found.map(|(number, it)| format!("{file}:{number}: {it}")).collect()
}

/// Whether the words of this file are the project's own.
fn speaks(file: &str) -> bool {
    let is_text = [".rs", ".md", ".sh", ".toml", "Makefile"].iter().any(|end| file.ends_with(end));
    is_text && !EXCEPT.contains(&file)
}

/// The words of a line that have another word.
fn replaced(line: &str) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let line = line.to_lowercase();
    let tokens = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|token| *token != KEY);
    let words = tokens.flat_map(|token| token.split('_')).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_owned).collect();
    REPLACED.iter().filter(move |(wanted, _)| {
        let wanted: Vec<&str> = wanted.split(' ').collect();
        words.windows(wanted.len()).any(|found| found.iter().eq(wanted.iter()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(line: &str) -> Vec<&'static str> {
        replaced(line).map(|(word, _)| *word).collect()
    }

    #[test]
    fn a_word_is_found_in_identifiers_comments_and_messages() {
        assert_eq!(words_of("fn take_back(told_live: bool) {"), ["told", "take back"]);
        assert_eq!(words_of("fn keeps_a_way_back() {}"), ["way back"]);
        assert_eq!(words_of("// It goes on by itself, once in its Life."), ["life", "by itself"]);
    }

    #[test]
    fn longer_words_and_the_key_of_the_interface_stay() {
        assert_eq!(words_of("impl<'a> Lifetime<'a> for Amended {} // \"way_back\""), [""; 0]);
        assert!(speaks("README.md") && !speaks("Cargo.lock") && !speaks("ops/docs/glossary.md"));
    }
}
