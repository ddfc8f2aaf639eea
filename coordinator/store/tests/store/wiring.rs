//! A node under load, across a restart and across kill -9.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use trimaran_replica::{Answer, Settings};

use crate::init;
use crate::node::{Node, load};

fn settings() -> Settings {
    Settings { snapshot_entries: 300, kept_entries: 50, ..Settings::new(1, 7) }
}

#[test]
fn a_thousand_proposals_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    let node = Node::start(dir.path(), settings());
    let seen = Mutex::new(BTreeMap::new());
    let count = load(&node, 8, 125, |index, data| {
        assert!(seen.lock().unwrap().insert(index, data.to_owned()).is_none(), "one entry, one index");
    });
    assert_eq!(count, 1000);
    let (status, stats) = node.status();
    assert!(status.first > 500, "the log was cut, it starts at {}", status.first);
    assert!(stats.syncs < 1000, "{} syncs for 1000 entries: they share them", stats.syncs);
    let Answer::Read { revision } = node.read() else { panic!("a leader reads") };
    assert_eq!(revision, status.applied.index);
    drop(node);

    let again = Node::start(dir.path(), settings());
    let (after, _) = again.status();
    assert_eq!(after.hash, status.hash);
    assert!(after.applied.index > status.applied.index, "the entry of the new term");
    let view = again.store.read_view();
    assert_eq!(view.scan(b"c").count(), 1000);
    assert_eq!(view.get(b"c3-17").unwrap().unwrap(), b"v3-17");
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
        let view = node.store.read_view();
        for (data, index) in &acknowledged {
            let (key, value) = data.split_once('=').unwrap();
            let found = view.get(key.as_bytes()).unwrap();
            assert_eq!(found.as_deref(), Some(value.as_bytes()), "acknowledged at {index}");
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
    let view = node.store.read_view();
    for data in acknowledged.keys() {
        let (key, value) = data.split_once('=').unwrap();
        assert_eq!(view.get(key.as_bytes()).unwrap().as_deref(), Some(value.as_bytes()), "{data}");
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
                    let data = format!("start{start}-{client}-{n}=v{n}");
                    match node.propose(data.clone().into_bytes()) {
                        Answer::Applied { entry, .. } => println!("ack {} {data}.", entry.index),
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
}
