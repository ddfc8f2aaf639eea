//! Small rooms: sizes of files and functions, a doc at the top of every module, no module that nothing compiles, and
//! what a core must not say.

use std::path::Path;

const LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 100;

/// The crates of `dependencies::CORES`, as folders.
const CORE_FOLDERS: &[&str] = &[
    "protocol/model/",
    "protocol/spec/",
    "protocol/wire/",
    "coordinator/engine/",
    "coordinator/replica/",
    "agent/executor/",
    "agent/host/core/",
    "agent/kubernetes/core/",
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
    let core = CORE_FOLDERS.iter().any(|folder| file.starts_with(folder)) && file.contains("/src/");
    if core && text.contains("clippy::disallowed_") {
        findings.push(format!("{file}: a core must not allow what is banned for cores"));
    }
    if core && file.ends_with("src/lib.rs") && !text.contains("#![forbid(unsafe_code)]") {
        findings.push(format!("{file}: a core forbids unsafe code"));
    }
    findings.extend(long_functions(file, text));
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

/// Functions over the bound, found by the indentation that rustfmt gives: from `fn` to the `}` in its column.
fn long_functions(file: &str, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut findings = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words =
            ["fn ", "pub fn ", "pub(crate) fn ", "async fn ", "pub async fn ", "pub(crate) async fn "];
        if !words.iter().any(|word| code.starts_with(word)) {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let close = format!("{indent}}}");
        let end = lines[start..].iter().position(|line| *line == close).unwrap_or(0);
        if end > FUNCTION_LINES_MAX {
            findings.push(format!(
                "{file}:{}: a function of {end} lines, at most {FUNCTION_LINES_MAX}",
                start + 1
            ));
        }
    }
    findings
}
