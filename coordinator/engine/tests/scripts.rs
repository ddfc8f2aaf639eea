//! The engine by text scripts: `scripts/*.txt` hold commands and what they give. `UPDATE=1 cargo test` writes
//! what they give now; read the difference before it is committed.
//!
//! A line with `> ` is a command, lines with `| ` below it belong to it, `#` is a comment, and what follows up
//! to an empty line is the output. After every entry `trimaran_sim::check` looks at the state.
#![allow(
    clippy::disallowed_methods,
    reason = "the scripts are files, and a variable says that they are rewritten"
)]

mod script;

use std::path::{Path, PathBuf};

use trimaran_query::codes::instead_of_sentences;

use script::Script;

#[test]
fn scripts_give_what_they_say() {
    let update = std::env::var("UPDATE").is_ok_and(|value| value == "1");
    let mut wrong = Vec::new();
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("a script");
        let now = Script::new().run(&text);
        if now == text {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if update {
            std::fs::write(&path, &now).expect("the script is written");
        } else {
            wrong.push(format!("{name}:\n{}", first_difference(&text, &now)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of scripts")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    assert!(files.len() >= 10, "only {} scripts were found", files.len());
    files
}

/// A better sentence changes no log, no row and no hash: none of them changes when every sentence is its code.
#[test]
fn scripts_whose_every_sentence_is_its_code_write_the_same_rows_and_hashes() {
    let mut changed = 0;
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("a script");
        let (mut sentences, mut codes) = (Script::new(), Script::new());
        let shown = sentences.run(&text);
        let coded = instead_of_sentences(|| codes.run(&text));
        let (sentences, codes) = (sentences.lab(), codes.lab());
        let name = path.display();
        assert_eq!(sentences.engine.hash(), codes.engine.hash(), "{name}");
        assert!(sentences.log == codes.log, "{name}: another log");
        assert!(sentences.rows.0 == codes.rows.0, "{name}: other rows");
        changed += shown.lines().zip(coded.lines()).filter(|(shown, coded)| shown != coded).count();
    }
    assert!(changed > 100, "only {changed} lines that are shown have a sentence");
}

fn first_difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let at = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let around = |lines: &[&str]| {
        let from = at.saturating_sub(4);
        lines.iter().skip(from).take(12).map(|line| format!("    {line}\n")).collect::<String>()
    };
    format!("  line {}\n  expected:\n{}  is now:\n{}", at + 1, around(&old), around(&new))
}
