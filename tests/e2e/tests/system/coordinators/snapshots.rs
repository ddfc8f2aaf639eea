//! A coordinator that was away for longer than the log is kept gets a snapshot, and is then as good as any; the log is cut,
//! and a load that writes the same rows again and again takes a bounded part of the disk.

use std::path::Path;

use serde_json::Value;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

use super::{WAIT_MAX, coordinators, leader, status, wait_whole};

/// Entries between snapshot positions in this cluster.
const SNAPSHOT_ENTRIES: u64 = 20;
const CLIENTS: usize = 4;
/// Changes of one round of all clients, each an entry where the disk is fast.
const ROUND: usize = 220;
/// Bytes of the document that each change writes over the one before.
const DOCUMENT_BYTES: usize = 128 << 10;
const ROUNDS: usize = 6;
const MIB: u64 = 1 << 20;
/// What a store of a few rows takes at most, with its log and its WAL.
const STORE_BYTES_MAX: u64 = 192 * MIB;

fn member(lab: &Lab, name: &str) -> Value {
    let status = until("the members can be had", WAIT_MAX, || status(lab));
    let members = status["members"].as_array().expect("a list").clone();
    members.into_iter().find(|it| it["name"] == *name).expect("a member")
}

fn start(lab: &Lab, name: &str) {
    lab.start_part_with(name, &["--snapshot-entries", &SNAPSHOT_ENTRIES.to_string()]);
}

/// Writes the same rows `ROUND` times.
fn write_round(lab: &Lab, web: &Web, round: usize) {
    let text = std::fs::read_to_string(lab.folder.path().join(web.file())).expect("the pipeline's file");
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let text = &text;
            scope.spawn(move || {
                let file = format!("again-{client}.yaml");
                for number in 0..ROUND / CLIENTS {
                    let line = format!("# {round} {client} {number} {}\n", "x".repeat(100));
                    let more = line.repeat(DOCUMENT_BYTES / line.len());
                    std::fs::write(lab.folder.path().join(&file), format!("{text}{more}")).expect("a file");
                    lab.ok(&["apply", &file]);
                }
            });
        }
    });
}

/// Bytes of all files, and of those that are a WAL.
fn sizes(folder: &Path) -> (u64, u64) {
    let (mut all, mut wal) = (0, 0);
    for file in std::fs::read_dir(folder).expect("a folder").flatten() {
        // One may be removed meanwhile.
        let Ok(found) = file.metadata() else { continue };
        if found.is_dir() {
            let (more, more_wal) = sizes(&file.path());
            (all, wal) = (all + more, wal + more_wal);
            continue;
        }
        all += found.len();
        wal += if file.path().extension().is_some_and(|it| it == "log") { found.len() } else { 0 };
    }
    (all, wal)
}

#[test]
fn a_coordinator_that_was_away_for_ten_snapshots_returns_whole_and_leads_and_the_disk_stays_small() {
    let lab = Lab::fresh_with(3, 3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    wait_whole(&lab);
    for name in ["c1", "c2", "c3"] {
        lab.kill(name);
        start(&lab, name);
        wait_whole(&lab);
    }
    web.deploy_until(&lab, "v1", "succeeded");
    let leads = leader(&lab);
    let away = ["c1", "c2", "c3"].into_iter().find(|name| *name != leads).expect("three");
    let before = member(&lab, away);
    lab.kill(away);

    let number = |document: &Value, field: &str| document[field].as_u64().expect("a number");
    // On a slow disk several changes are one entry.
    let mut states = (0..CLIENTS).map(|_| {
        write_round(&lab, &web, 0);
        member(&lab, &leads)
    });
    let missed = |there: &Value| number(there, "applied") - number(&before, "applied");
    let there = states.find(|there| missed(there) >= 10 * SNAPSHOT_ENTRIES).expect("it missed enough");
    assert!(number(&there, "first_index") > number(&before, "applied"), "the log is cut: {there:#}");

    start(&lab, away);
    let whole = wait_whole(&lab);
    let log = std::fs::read_to_string(lab.part(away).data_dir.join("log")).expect("a log");
    assert!(log.contains("the leader's snapshot is installed"), "{log}");
    let hash = |name: &str| {
        let members = whole["members"].as_array().expect("a list");
        members.iter().find(|it| it["name"] == *name).map(|it| it["hash"].clone())
    };
    assert!(hash(away).is_some() && hash(away) == hash(&leads), "{whole:#}");

    // It leads, and knows and does everything.
    assert_eq!(lab.json(&["cluster", "transfer", away])["change"], "leads");
    until("it leads", WAIT_MAX, || (leader(&lab) == away).then_some(()));
    let address = lab.part(away).address;
    let runs = lab.json(&["--endpoint", &address, "run", "list"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(1), "{runs:#}");
    web.deploy_until(&lab, "v2", "succeeded");
    let seen: Vec<Value> = coordinators(&lab)
        .iter()
        .map(|address| lab.json(&["--endpoint", address, "history", "web"])["entries"].clone())
        .collect();
    assert!(seen.iter().all(|entries| *entries == seen[0]), "{seen:#?}");

    // The same rows again and again: what is written is more than ever stays on the disk.
    for round in 1..ROUNDS {
        write_round(&lab, &web, round);
        let stores = ["c1", "c2", "c3"].map(|name| sizes(&lab.part(name).data_dir.join("store")));
        println!("round {round}: {:?} MiB, of it WAL", stores.map(|(all, wal)| (all / MIB, wal / MIB)));
        for (all, _) in stores {
            // More than the log and the WAL, which are a part of it.
            assert!(all <= STORE_BYTES_MAX, "{stores:?}");
        }
    }
    // An entry and a row each time.
    let written = 2 * (ROUNDS * ROUND * DOCUMENT_BYTES) as u64;
    assert!(written > 3 * STORE_BYTES_MAX / 2, "{} MiB were written", written / MIB);
}
