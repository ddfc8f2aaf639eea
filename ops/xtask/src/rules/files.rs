//! Small files: sizes of files and functions, a doc at the top of every module, no module that nothing compiles, and
//! what a core must not say.

use std::path::Path;

use super::crates::CRATES;

const LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// Tables of cases are long and flat.
const TEST_LINES_MAX: usize = 100;

/// What stands between a core and the same answer everywhere, and what no lint of `.clippy.toml` can name as a whole.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "tokio::",
    "SystemTime",
    "RandomState",
];

/// Visible entries of the top folder; everything else is hidden or has its place below these.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "deny.toml",
    "agent",
    "coordinator",
    "ops",
    "protocol",
    "tests",
];

pub(crate) fn check(root: &Path, files: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in files {
        let top = file.split('/').next().expect("a path has a first part");
        if !top.starts_with('.') && !TOP.contains(&top) {
            findings.push(format!("{file}: the top folder is closed; give it a place below"));
        }
        if file.ends_with(".rs") {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            findings.extend(check_source(file, &text));
            if is_unnamed(root, file) {
                findings.push(format!("{file}: no module names it, so nothing compiles it"));
            }
        }
    }
    findings
}

fn check_source(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(format!("{file}: {lines} lines, at most {LINES_MAX}"));
    }
    if !text.trim_start().starts_with("//!") && !file.ends_with("build.rs") {
        findings.push(format!("{file}: starts without saying what it is for (`//!`)"));
    }
    if CRATES.iter().any(|it| it.is_core && file.starts_with(&format!("{}/src/", it.folder))) {
        findings.extend(check_core(file, text));
    }
    findings.extend(long_functions(file, text));
    findings
}

fn check_core(file: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if text.contains("clippy::disallowed_") {
        findings.push(format!("{file}: a core must not allow what is banned for cores"));
    }
    if file.ends_with("src/lib.rs") && !text.contains("#![forbid(unsafe_code)]") {
        findings.push(format!("{file}: a core forbids unsafe code"));
    }
    let code = |line: &&str| !line.trim_start().starts_with("//");
    for line in text.lines().filter(code) {
        let impure = IMPURE.iter().filter(|word| line.contains(**word));
        findings.extend(impure.map(|word| format!("{file}: a core has no `{word}`")));
    }
    findings
}

/// Whether a file of a crate's `src` is a module that its parent does not declare.
fn is_unnamed(root: &Path, file: &str) -> bool {
    let Some((folder, name)) = file.rsplit_once('/') else { return false };
    let name = name.trim_end_matches(".rs");
    let in_source = folder.ends_with("/src") || folder.contains("/src/");
    if !in_source || folder.ends_with("/bin") || ["main", "lib"].contains(&name) {
        return false;
    }
    let parents = ["/main.rs", "/lib.rs", ".rs"].map(|end| root.join(format!("{folder}{end}")));
    let names = |parent: &std::path::PathBuf| {
        let text = std::fs::read_to_string(parent).unwrap_or_default();
        text.lines().any(|line| line.trim().ends_with(&format!("mod {name};")))
    };
    !parents.iter().any(names)
}

/// Whether this line begins a function, whatever stands before the word.
fn begins_function(code: &str) -> bool {
    let before = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    code.split(' ').find(|word| !before.contains(word)) == Some("fn")
}

/// Functions over the bound, found by the indentation that rustfmt gives: from `fn` to the `}` in its column.
fn long_functions(file: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    let tests = lines.iter().position(|line| *line == "mod tests {").unwrap_or(lines.len());
    let is_test_file = file.contains("/tests/") || file.ends_with("/tests.rs");
    for (start, line) in lines.iter().enumerate() {
        let most = if is_test_file || start > tests { TEST_LINES_MAX } else { FUNCTION_LINES_MAX };
        let code = line.trim_start();
        if !begins_function(code) {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let close = format!("{indent}}}");
        let end = lines[start..].iter().position(|line| *line == close).unwrap_or(0);
        if end > most {
            findings.push(format!("{file}:{}: a function of {end} lines, at most {most}", start + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(file: &str, text: &str) -> String {
        check_source(file, text).join("\n")
    }

    #[test]
    fn a_file_says_what_it_is_for_and_is_short() {
        assert_eq!(words_of("ops/cli/src/a.rs", "//! What it is for.\n"), "");
        assert!(words_of("ops/cli/src/a.rs", "use std::fs;\n").contains("without saying"));
        let long = "//! Long.\n".repeat(LINES_MAX + 1);
        assert!(words_of("ops/cli/src/a.rs", &long).contains("801 lines"));
    }

    #[test]
    fn long_functions_are_found_whatever_stands_before_them() {
        let body = "    run();\n".repeat(FUNCTION_LINES_MAX);
        for before in ["", "pub ", "pub(super) async ", "const unsafe "] {
            let text = format!("//! A file.\n{before}fn long() {{\n{body}}}\n");
            assert!(words_of("ops/cli/src/a.rs", &text).contains("a.rs:2: a function"), "{before}");
            assert_eq!(words_of("ops/cli/tests/a.rs", &text), "", "tables of cases may be longer");
        }
    }

    #[test]
    fn a_core_does_no_input_and_no_output() {
        let root = "//! A core.\n#![forbid(unsafe_code)]\n";
        assert_eq!(words_of("protocol/wire/src/lib.rs", root), "");
        assert_eq!(
            words_of("protocol/wire/tests/bytes.rs", "//! Reads a file: std::fs.\nuse std::fs;\n"),
            ""
        );
        for wrong in ["//! A core.\n", &format!("{root}use std::fs;\n"), &format!("{root}use tokio::time;\n")]
        {
            assert!(words_of("protocol/wire/src/lib.rs", wrong).contains("a core"), "{wrong}");
        }
    }
}
