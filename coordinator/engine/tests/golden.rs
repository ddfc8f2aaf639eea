//! A log and rows as this version writes them: the log decodes for ever and replays to the same state, and each kind of row
//! has its bytes in a file of its own. `UPDATE=1` writes them again, which is allowed until the first release and never
//! after it.
#![allow(clippy::disallowed_methods, reason = "the log is a file, and a variable says that it is rewritten")]

mod history;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use trimaran_engine::Engine;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::Entry;

use history::history;
use trimaran_query::codes::instead_of_sentences;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn is_update() -> bool {
    std::env::var("UPDATE").is_ok_and(|value| value == "1")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The first row of each table that the history ever writes, hot or cold.
#[test]
fn each_kind_of_row_keeps_its_bytes() {
    let (lab, mut engine) = (history(), Engine::new());
    let mut first: BTreeMap<u8, (Vec<u8>, Vec<u8>)> = BTreeMap::new();
    for (index, bytes) in &lab.log {
        let applied = engine.apply(*index, &Entry::from_bytes(bytes).expect("an entry"));
        for (key, value) in applied.rows {
            if let Some(value) = value {
                first.entry(key[0]).or_insert((key, value));
            }
        }
    }
    assert!(first.len() >= 18, "the history writes rows of only {} tables", first.len());
    for (table, (key, value)) in first {
        let text = format!("{} {}\n", hex(&key), hex(&value));
        let path = golden(&format!("row-{table:02}.txt"));
        if is_update() {
            std::fs::write(&path, &text).expect("the row is written");
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, stored, "the row of table {table} has other bytes");
    }
}

#[test]
fn an_old_log_replays_to_the_same_state() {
    let path = golden("log-v1.txt");
    if is_update() {
        let lab = history();
        let mut text = String::new();
        for (index, bytes) in &lab.log {
            text.push_str(&format!("{index} {}\n", hex(bytes)));
        }
        text.push_str(&format!("hash {:032x}\n", lab.engine.hash()));
        std::fs::write(&path, text).expect("the log is written");
    }
    let text = std::fs::read_to_string(&path).expect("the log of the version");
    let mut engine = Engine::new();
    let mut entries = 0;
    for line in text.lines() {
        let (index, rest) = line.split_once(' ').expect("two words");
        if index == "hash" {
            assert_eq!(format!("{:032x}", engine.hash()), rest, "the log replays to another state");
            continue;
        }
        let byte = |at: usize| u8::from_str_radix(&rest[at..at + 2], 16).expect("hexadecimal digits");
        let bytes: Vec<u8> = (0..rest.len()).step_by(2).map(byte).collect();
        engine.apply(index.parse().expect("an index"), &Entry::from_bytes(&bytes).expect("an entry"));
        entries += 1;
    }
    assert!(entries > 40, "only {entries} entries");
    // The history as it is made today encodes to the same bytes, whatever the sentences say.
    assert_eq!(history().engine.hash(), engine.hash());
    assert_eq!(instead_of_sentences(history).engine.hash(), engine.hash());
}
