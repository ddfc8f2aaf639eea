//! What holds for every input: nothing panics, every finding has its place inside of the file, and reading the same
//! file twice finds the same.
#![allow(clippy::disallowed_methods, reason = "a test reads its corpus")]

use std::path::Path;

use proptest::prelude::*;
use trimaran_language::{SourceFile, compile, compile_host_spec};

/// The corpus, good and bad.
fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files = Vec::new();
    for folder in ["good", "bad"] {
        let mut paths: Vec<_> = std::fs::read_dir(root.join(folder))
            .expect("the corpus is there")
            .map(|entry| entry.expect("a readable folder").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .collect();
        paths.sort();
        files.extend(paths.iter().map(|path| std::fs::read(path).expect("a readable file")));
    }
    files
}

fn check(bytes: &[u8]) {
    let file = SourceFile { name: "trimaran.yaml", bytes };
    let compiled = compile(&[file]);
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<usize> = text
        .strip_prefix('\u{feff}')
        .unwrap_or(&text)
        .split('\n')
        .map(|line| line.trim_end_matches('\r').chars().count())
        .collect();
    let host = compile_host_spec(file).err().unwrap_or_default();
    for it in compiled.diagnostics.iter().chain(&host) {
        let length = lines.get(it.line as usize - 1).unwrap_or_else(|| panic!("no line {}: {it:?}", it.line));
        assert!(it.column >= 1 && it.column as usize <= length + 1, "{length} characters: {it:?}\n{text}");
        assert!(
            it.length >= 1 && (it.column + it.length) as usize <= length + 2,
            "{length} characters: {it:?}\n{text}"
        );
        assert!(it.code.entry().is_some() && !it.message.is_empty() && !it.help.is_empty(), "{it:?}");
        assert!(!it.message.contains(char::is_control), "{it:?}");
    }
    for pair in compiled.diagnostics.windows(2) {
        assert!((pair[0].line, pair[0].column) <= (pair[1].line, pair[1].column), "{pair:?}");
        assert_ne!(pair[0], pair[1], "each error once");
    }
    let again = compile(&[file]);
    assert_eq!(compiled.diagnostics, again.diagnostics);
}

/// One change of a file.
#[derive(Debug, Clone)]
enum Edit {
    Remove {
        at: usize,
        length: usize,
    },
    Insert {
        at: usize,
        text: String,
    },
    /// Copies a line to another place.
    CopyLine {
        from: usize,
        to: usize,
    },
    RemoveLine(usize),
    Indent {
        line: usize,
        by: usize,
    },
}

fn edit() -> impl Strategy<Value = Edit> {
    let words = prop::sample::select(vec![
        ":",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "\n",
        "\t",
        "#",
        "&a ",
        "*a",
        "!!str ",
        "? ",
        "| ",
        "---\n",
        "...\n",
        "null",
        "${{ x }}",
        "{version}",
        "\0",
        "\u{feff}",
        "\r",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "é",
        "🚀",
        "100%",
        "<<: ",
        "%YAML 1.1\n",
        ",",
        " ",
        "0",
        "name: x\n",
    ]);
    let text = prop_oneof![4 => words.prop_map(str::to_owned), 1 => any::<String>()];
    prop_oneof![
        (any::<usize>(), 1..40usize).prop_map(|(at, length)| Edit::Remove { at, length }),
        (any::<usize>(), text).prop_map(|(at, text)| Edit::Insert { at, text }),
        (any::<usize>(), any::<usize>()).prop_map(|(from, to)| Edit::CopyLine { from, to }),
        any::<usize>().prop_map(Edit::RemoveLine),
        (any::<usize>(), 1..5usize).prop_map(|(line, by)| Edit::Indent { line, by }),
    ]
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let count = lines.len().max(1);
    match edit {
        Edit::Remove { at, length } => {
            let at = at % (bytes.len() + 1);
            bytes.drain(at..(at + length).min(bytes.len()));
            return;
        }
        Edit::Insert { at, text } => {
            let at = at % (bytes.len() + 1);
            bytes.splice(at..at, text.bytes());
            return;
        }
        Edit::CopyLine { from, to } => {
            let Some(line) = lines.get(from % count).cloned() else { return };
            lines.insert(to % count, line);
        }
        Edit::RemoveLine(line) if !lines.is_empty() => {
            lines.remove(line % count);
        }
        Edit::Indent { line, by } if !lines.is_empty() => {
            let line = &mut lines[line % count];
            line.splice(0..0, std::iter::repeat_n(b' ', *by));
        }
        Edit::RemoveLine(_) | Edit::Indent { .. } => return,
    }
    *bytes = lines.concat();
}

#[test]
fn the_corpus_itself_holds() {
    for bytes in corpus() {
        check(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        check(&bytes);
    }

    #[test]
    fn arbitrary_text(text in "\\PC{0,200}") {
        check(text.as_bytes());
    }

    #[test]
    fn text_of_the_language(text in "([a-c:{}\\[\\],&*!?|>'\"#%@`\n\r\t -]|trimaran: v1|pipeline|target|hosts|name){0,60}") {
        check(text.as_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2048) })]

    #[test]
    fn edited_files(which in any::<prop::sample::Index>(), edits in prop::collection::vec(edit(), 1..6)) {
        let files = corpus();
        let mut bytes = which.get(&files).clone();
        for edit in &edits {
            apply(&mut bytes, edit);
        }
        check(&bytes);
    }
}
