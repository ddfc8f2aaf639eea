//! Words that the project's text must not have: paths of somebody's machine and hosts of registries.

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

pub(crate) fn check(root: &Path, files: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with(".lock")) {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for (head, tail) in BANNED {
                let word = format!("{head}{tail}");
                if line.contains(&word) {
                    findings.push(format!("{file}:{}: `{word}` must not be named", number + 1));
                }
            }
        }
    }
    findings
}
