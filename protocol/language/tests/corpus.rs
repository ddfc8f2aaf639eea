//! A corpus of files as people write them. Every file of `corpus/bad` has all of its expected diagnostics beside it,
//! in a file that ends with `.expected`; `UPDATE=1 cargo test -p trimaran-language --test corpus` writes them again.
//! Files of `corpus/good` have none.
#![allow(clippy::disallowed_methods, reason = "a test reads its corpus")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use trimaran_language::{Compiled, Diagnostic, SourceFile, compile};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn compiled(path: &Path) -> Compiled {
    let bytes = std::fs::read(path).expect("a readable file");
    let name = path.file_name().expect("a file has a name").to_string_lossy();
    compile(&[SourceFile { name: &name, bytes: &bytes }])
}

/// One finding a paragraph, as a reviewer reads it.
fn expected_text(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for it in diagnostics {
        let place = format!("{}:{} length {}", it.line, it.column, it.length);
        writeln!(text, "{place}: {} {}: {}", it.severity.as_str(), it.code, it.message)
            .expect("a string grows");
        writeln!(text, "    help: {}", it.help).expect("a string grows");
    }
    text
}

#[test]
fn bad_files_have_exactly_their_expected_diagnostics() {
    let update = std::env::var_os("UPDATE").is_some();
    let files = files("bad");
    assert!(files.len() >= 60, "the corpus has {} bad files", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let compiled = compiled(&path);
        assert!(!compiled.diagnostics.is_empty(), "{} has no finding", path.display());
        let found = expected_text(&compiled.diagnostics);
        let beside = path.with_extension("expected");
        if update {
            std::fs::write(&beside, &found).expect("the corpus can be written");
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_expected_file_belongs_to_a_bad_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bad");
    for entry in std::fs::read_dir(folder).expect("the corpus is there") {
        let path = entry.expect("a readable folder").path();
        assert!(path.with_extension("yaml").exists(), "{} is left over", path.display());
    }
}

#[test]
fn good_files_have_no_diagnostics() {
    let files = files("good");
    assert!(files.len() >= 15, "the corpus has {} good files", files.len());
    for path in files {
        let compiled = compiled(&path);
        let found = expected_text(&compiled.diagnostics);
        assert!(found.is_empty(), "{}\n{found}", path.display());
        assert!(!compiled.documents.is_empty(), "{} has no document", path.display());
    }
}
