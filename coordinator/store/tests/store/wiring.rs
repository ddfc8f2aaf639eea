//! A node under load, across a restart and across kill -9.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use trimaran_engine::rows::tables;
use trimaran_member::{Proposed, ReadAnswer};
use trimaran_replica::Settings;
use trimaran_store::Store;

use crate::init;
use crate::node::{Node, load};

fn settings() -> Settings {
    // Several proposals travel in one entry.
    Settings { snapshot_entries: 40, kept_entries: 10, ..Settings::new(1, 7) }
}

/// All rows but that of the cluster, whose time goes on with the leader's own commands.
fn rows_but_time(store: &Store) -> Vec<trimaran_replica::Row> {
    crate::rows(store).into_iter().filter(|(key, _)| key[0] != tables::META).collect()
}

#[test]
fn a_thousand_proposals_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let node = Node::start(dir.path(), settings());
    assert_eq!(load(&node, 8, 125), 1000);
    let (status, stats) = node.status();
    assert!(status.first > 60, "the log was cut, it starts at {}", status.first);
    assert!(stats.syncs < 1000, "{} syncs for 1000 proposals: they share them", stats.syncs);
    let ReadAnswer::At(revision) = node.read() else { panic!("a leader reads") };
    assert_eq!(revision, status.applied.index);
    // Rows follow their answers: they are all there when the writer has ended.
    let store = node.store.clone();
    drop(node);
    let before = rows_but_time(&store);
    drop(store);

    let again = Node::start(dir.path(), settings());
    let (after, _) = again.status();
    assert_eq!(rows_but_time(&again.store), before);
    assert!(after.applied.index > status.applied.index, "the entry of the new term");
    let alarms = again.alarms();
    assert_eq!(alarms.len(), 1000);
    assert_eq!(alarms["c3-17"], "v3-17");
}

const CHILD: &str = "TRIMARAN_STORE_CHILD";

/// The same test is parent and child: the child writes and prints what was acknowledged until it is killed.
#[test]
fn what_was_acknowledged_survives_kill_nine() {
    if let Ok(dir) = std::env::var(CHILD) {
        return write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let mut acknowledged = BTreeMap::new();
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["wiring::what_was_acknowledged_survives_kill_nine", "--exact", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines.by_ref() {
            seen += add(&mut acknowledged, &line.unwrap());
            if seen >= 150 + round * 40 {
                child.kill().unwrap();
                break;
            }
        }
        // What it printed before it died counts too.
        for line in lines {
            seen += add(&mut acknowledged, &line.unwrap());
        }
        assert!(!child.wait().unwrap().success());
        assert!(seen >= 150, "the child wrote");

        let node = Node::start(dir.path(), settings());
        let alarms = node.alarms();
        for (data, index) in &acknowledged {
            let (key, value) = data.split_once('=').unwrap();
            assert_eq!(alarms.get(key).map(String::as_str), Some(value), "acknowledged at {index}");
        }
    }
}

/// A limit on the size of files makes writes fail in the middle of the WAL, as a full disk does. The process
/// must end then, once, and what it had acknowledged must be there.
#[test]
fn a_failed_write_ends_the_process_and_loses_nothing() {
    if let Ok(dir) = std::env::var(CHILD) {
        return write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    // 128 blocks of 512 bytes, or of 1 KiB, as the shell counts them.
    let child = Command::new("sh")
        .args(["-c", "ulimit -f 128; trap '' XFSZ; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["wiring::a_failed_write_ends_the_process_and_loses_nothing", "--exact", "--nocapture"])
        .env(CHILD, dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(!child.status.success());
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(said.contains("a write failed: "), "{said}");
    let mut acknowledged = BTreeMap::new();
    let count: usize =
        String::from_utf8_lossy(&child.stdout).lines().map(|line| add(&mut acknowledged, line)).sum();
    assert!(count > 100, "{count} before the limit");
    let node = Node::start(dir.path(), settings());
    let alarms = node.alarms();
    for data in acknowledged.keys() {
        let (key, value) = data.split_once('=').unwrap();
        assert_eq!(alarms.get(key).map(String::as_str), Some(value), "{data}");
    }
}

fn add(acknowledged: &mut BTreeMap<String, u64>, line: &str) -> usize {
    // The test harness may print before the first line of ours, without an end.
    let Some((_, rest)) = line.split_once("ack ") else { return 0 };
    let Some((index, data)) = rest.strip_suffix('.').and_then(|rest| rest.split_once(' ')) else { return 0 };
    acknowledged.insert(data.to_owned(), index.parse().unwrap());
    1
}

fn write_until_killed(dir: &Path) {
    let node = Node::start(dir, settings());
    let start = node.status().0.applied.index;
    std::thread::scope(|scope| {
        for client in 0..4 {
            let node = &node;
            scope.spawn(move || {
                for n in 0u64.. {
                    let (code, message) = (format!("start{start}-{client}-{n}"), format!("v{n}"));
                    match node.propose(&code, &message) {
                        Proposed::Done { revision, .. } => println!("ack {revision} {code}={message}."),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
}
