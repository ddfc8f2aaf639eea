//! Writer and reader against each other.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use trimaran_model::id::Digest;
use trimaran_model::limits::{LOG_FILES_KEPT, LOG_LINE_BYTES_MAX};
use trimaran_wire::v1::runner::LogQuery;

use super::writer::{LineBuffer, Writer};
use super::{open, sequence_numbers};

fn query() -> LogQuery {
    LogQuery {
        pipeline: "web".to_owned(),
        target: "lab".to_owned(),
        run: None,
        release: None,
        since_ms: None,
        tail: None,
        follow: false,
    }
}

fn write(directory: &Path, run: &str, lines: &[&str]) {
    let mut writer = Writer::new(directory.to_owned(), run);
    for line in lines {
        writer.line(false, line.as_bytes());
    }
    writer.flush();
}

async fn read(directory: &Path, query: &LogQuery) -> Vec<String> {
    let mut reader = open(directory, query);
    let mut lines = Vec::new();
    while let Some(batch) = reader.next().await {
        lines.extend(batch.into_iter().map(|line| line.line));
    }
    lines
}

#[tokio::test]
async fn lines_of_a_run_are_those_between_its_start_and_the_next_runs() {
    let folder = tempfile::tempdir().expect("a directory");
    let directory = folder.path().join("log");
    assert!(read(&directory, &query()).await.is_empty(), "there is no directory yet");
    write(&directory, "web#1", &["one", "two"]);
    write(&directory, "web#1", &["restarted"]);
    write(&directory, "web#2", &["three"]);
    assert_eq!(read(&directory, &query()).await, ["one", "two", "restarted", "three"]);
    let first = LogQuery { run: Some("web#1".to_owned()), ..query() };
    assert_eq!(read(&directory, &first).await, ["one", "two", "restarted"]);
    assert_eq!(read(&directory, &LogQuery { tail: Some(2), ..first.clone() }).await, ["two", "restarted"]);
    assert_eq!(read(&directory, &LogQuery { tail: Some(0), ..first.clone() }).await, [""; 0]);
    assert!(read(&directory, &LogQuery { since_ms: Some(i64::MAX), ..first }).await.is_empty());
    let other = LogQuery { run: Some("web#3".to_owned()), ..query() };
    assert!(read(&directory, &other).await.is_empty());
}

#[tokio::test]
async fn lines_of_what_a_run_restored_are_of_another_release() {
    let folder = tempfile::tempdir().expect("a directory");
    let (failed, restored) = ([3; 32], [1; 32]);
    let owner = |release| super::format::owner("web#2", Some(&Digest(release).to_string()));
    write(folder.path(), "web#2", &["of an old shim"]);
    write(folder.path(), &owner(failed), &["FATAL: no config"]);
    write(folder.path(), &owner(restored), &["serving"]);
    let run = LogQuery { run: Some("web#2".to_owned()), ..query() };
    assert_eq!(read(folder.path(), &run).await, ["of an old shim", "FATAL: no config", "serving"]);
    let query = LogQuery { release: Some(failed), ..run };
    assert_eq!(read(folder.path(), &query).await, ["of an old shim", "FATAL: no config"]);
    assert_eq!(read(folder.path(), &LogQuery { tail: Some(1), ..query }).await, ["FATAL: no config"]);
}

#[tokio::test]
async fn old_files_go_and_the_newest_lines_stay() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut writer = Writer::with_file_size(folder.path().to_owned(), "web#1", 1000);
    for number in 0..2000 {
        writer.line(number % 2 == 1, number.to_string().as_bytes());
        writer.flush();
    }
    let numbers = sequence_numbers(folder.path()).expect("readable");
    assert_eq!(numbers.len(), LOG_FILES_KEPT);
    let size: u64 = fs::read_dir(folder.path())
        .expect("readable")
        .map(|entry| entry.expect("readable").metadata().expect("readable").len())
        .sum();
    assert!(size <= 1000 * LOG_FILES_KEPT as u64, "{size}");
    let first = LogQuery { run: Some("web#1".to_owned()), ..query() };
    let lines = read(folder.path(), &first).await;
    assert!(lines.len() > 100);
    let expected: Vec<String> = (2000 - lines.len()..2000).map(|number| number.to_string()).collect();
    assert_eq!(lines, expected, "each file says its run, also after the first ones are gone");
    assert_eq!(
        read(folder.path(), &LogQuery { tail: Some(60), ..first }).await,
        expected[lines.len() - 60..]
    );
}

#[tokio::test]
async fn a_reader_that_follows_sees_lines_over_rotations() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut reader = open(folder.path(), &LogQuery { follow: true, ..query() });
    let mut writer = Writer::with_file_size(folder.path().to_owned(), "web#1", 500);
    let mut seen = Vec::new();
    for number in 0..200 {
        writer.line(false, number.to_string().as_bytes());
        writer.flush();
        if number % 5 == 4 {
            while seen.len() < number + 1 {
                seen.extend(reader.next().await.expect("it follows").into_iter().map(|line| line.line));
            }
        }
    }
    assert_eq!(seen, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn lost_lines_are_counted_and_a_torn_record_is_skipped() {
    let folder = tempfile::tempdir().expect("a directory");
    let directory = folder.path().join("log");
    // A file where the directory should be stands for a disk that takes nothing.
    fs::write(&directory, "").expect("writable");
    let mut writer = Writer::new(directory.clone(), "web#1");
    writer.line(false, b"lost");
    writer.line(false, b"lost too");
    writer.flush();
    fs::remove_file(&directory).expect("own file");
    writer.line(false, b"seen");
    writer.flush();
    drop(writer);
    let file = directory.join(super::file_name(1));
    let mut text = fs::read_to_string(&file).expect("readable");
    text.push_str("1234 o torn at the end of a killed shi");
    fs::write(&file, text).expect("writable");
    write(&directory, "web#2", &["after"]);
    let lines = read(&directory, &query()).await;
    assert_eq!(lines[..2], ["(2 lines were lost: the disk was full)", "seen"]);
    assert_eq!(lines.last().map(String::as_str), Some("after"));
}

#[tokio::test]
async fn every_byte_that_a_service_writes_becomes_text() {
    let folder = tempfile::tempdir().expect("a directory");
    let mut writer = Writer::new(folder.path().to_owned(), "web#1\nforged");
    let mut lines = LineBuffer::default();
    let long = "ä".repeat(LOG_LINE_BYTES_MAX);
    let bytes = [b"\xff\xfe\r\n\nno \x00 end ", long.as_bytes()].concat();
    for piece in bytes.chunks(7) {
        lines.push(piece, |line| writer.line(false, line));
    }
    lines.finish(|line| writer.line(false, line));
    writer.flush();
    let read = read(folder.path(), &LogQuery { run: Some("web#1 forged".to_owned()), ..query() }).await;
    assert_eq!(read[..2], ["\u{fffd}\u{fffd}", ""]);
    assert!(read[2..].iter().all(|line| line.len() <= LOG_LINE_BYTES_MAX), "split");
    assert_eq!(read[2..].concat(), format!("no \0 end {long}"), "between characters");
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_how_bytes_arrive(text in "[a-c\n]{0,60}", size in 1usize..9) {
        let mut lines = LineBuffer::default();
        let mut seen = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            lines.push(piece, |line| seen.push(String::from_utf8_lossy(line).into_owned()));
        }
        lines.finish(|line| seen.push(String::from_utf8_lossy(line).into_owned()));
        prop_assert_eq!(seen, text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
}
