//! The rules, and what they share: the list of tracked files.

mod circles;
mod crates;
mod dependencies;
mod files;
mod health_rules;
mod names;
mod words;

use std::path::Path;
use std::process::Command;

/// Runs every rule.
pub(crate) fn all(root: &Path) -> Vec<String> {
    let files = tracked(root);
    let mut findings = dependencies::check(root, &files);
    findings.extend(files::check(root, &files));
    findings.extend(words::check(root, &files));
    findings.extend(health_rules::check(root, &files));
    findings.extend(words::check_glossary(root, &files));
    findings.extend(names::check(root, &files));
    findings.extend(circles::check(root, &files));
    findings
}

/// The files of the project, as git lists them: tracked, or new and not ignored.
fn tracked(root: &Path) -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .expect("git lists the files");
    let text = String::from_utf8(output.stdout).expect("file names are UTF-8");
    text.lines().filter(|file| root.join(file).is_file()).map(str::to_owned).collect()
}
