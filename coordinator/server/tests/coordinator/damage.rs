//! A stored row that is not what was written: an error that names it, never an absence.

use std::time::Instant;

use trimaran_model::error_code;
use trimaran_replica::{RowBatch, WriteJob};
use trimaran_store::{Options, Store};
use trimaran_wire::v1::operator::OperatorBody;
use trimaran_wire::v1::row::table;

use crate::world::{WAIT_MAX, World, ask, change};

type Row = (Vec<u8>, Vec<u8>);

fn store(world: &World) -> Store {
    Store::open(&world.data().join("store"), &Options::default()).expect("it opens").0
}

/// Writes rows behind the back of everything, as a disk does.
fn write(world: &World, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
    let job = WriteJob { number: 1, rows: RowBatch { changes }, sync: true, ..WriteJob::default() };
    store(world).write(&[job]).expect("written");
}

/// Cold tables are numbered from the audit log's on.
fn is_cold(row: &Row) -> bool {
    row.0[0] >= table::AUDIT
}

/// A cluster that was used, and ended; with its rows.
async fn used() -> (World, Vec<Row>) {
    let mut world = World::start().await;
    world.apply().await;
    let client = world.client("admin");
    ask(&client, change(), crate::deploy("1")).await.expect("a run");
    ask(&client, change(), OperatorBody::Cancel { run: "web#1".to_owned() }).await.expect("canceled");
    ask(&client, change(), crate::deploy("2")).await.expect("another run");
    world.kill();
    let rows = store(&world).load_rows().collect::<Result<_, _>>().expect("whole");
    (world, rows)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_damaged_row_is_named_by_a_check_and_one_of_the_state_stops_the_start() {
    let (world, rows) = used().await;
    let check = || {
        let checked = world.command("check", &[]);
        (checked.status.success(), String::from_utf8_lossy(&checked.stderr).into_owned())
    };
    assert!(check().0, "{}", check().1);
    for row @ (key, value) in &rows {
        let mut broken = value.clone();
        let last = broken.len() - 1;
        broken[last] ^= 1;
        write(&world, vec![(key.clone(), Some(broken))]);
        let (ok, said) = check();
        let name = format!("row `{}` of table {}", key[1..].escape_ascii(), key[0]);
        assert!(!ok && said.contains(&name), "{name}: {said}");
        assert!(said.contains(&error_code::STORE_DAMAGED.to_string()), "{said}");

        // One of the state that is gone is found by the hash that was stored with the rows.
        if !is_cold(row) {
            write(&world, vec![(key.clone(), None)]);
            let (ok, said) = check();
            assert!(!ok && said.contains("hash"), "{name} is gone: {said}");
        }
        write(&world, vec![(key.clone(), Some(value.clone()))]);
    }
    assert!(check().0, "{}", check().1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_that_only_queries_read_is_refused_by_its_name_and_ends_the_process() {
    let (mut world, rows) = used().await;
    let (key, value) = rows.iter().find(|row| row.0[0] == table::AUDIT).expect("an audit record").clone();
    write(&world, vec![(key.clone(), Some(value[..value.len() - 1].to_vec()))]);
    world.run(&[]);
    let audit = OperatorBody::AuditList { since_seq: 0, limit: 100 };
    let refused = ask(&world.client("admin"), None, audit).await.expect_err("a record is damaged");
    assert_eq!(refused.code, error_code::STORE_DAMAGED.0, "{refused:?}");
    let name = format!("row `{}` of table {}", key[1..].escape_ascii(), key[0]);
    assert!(refused.message.contains(&name), "{refused:?}");
    let end = Instant::now() + WAIT_MAX;
    while !world.has_ended() {
        assert!(Instant::now() < end, "the process goes on with a damaged store");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let log = std::fs::read_to_string(world.folder.path().join("log")).expect("a log");
    assert!(log.contains(&format!("error[{}]", error_code::STORE_DAMAGED)) && log.contains(&name), "{log}");
}

/// The table files of a store, the oldest first.
fn table_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path());
    let mut found: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "sst")).collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_check_finds_a_flipped_byte_in_every_table_file_and_names_the_file() {
    let (world, rows) = used().await;
    // What is in memory goes to table files with the next start.
    drop(store(&world));
    let folder = world.data().join("store");
    let check = |more: &[&str]| {
        let checked = world.command("check", more);
        let said = [checked.stdout, checked.stderr].concat();
        (checked.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (ok, said) = check(&["--full"]);
    assert!(ok && said.contains(&format!("{} rows", rows.len())), "{said}");
    let files = table_files(&folder);
    assert!(files.len() >= 3, "log, rows and meta: {files:?}");
    for file in files {
        let good = std::fs::read(&file).expect("a table file");
        let mut flipped = good.clone();
        flipped[9] ^= 0x10;
        std::fs::write(&file, flipped).expect("written");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let (ok, said) = check(&["--full"]);
        assert!(!ok && said.contains(&name) && said.contains("TR4202"), "{name}: {said}");
        std::fs::write(&file, good).expect("written");
    }
    assert!(check(&["--full"]).0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_check_finds_every_row_that_only_queries_read() {
    let (world, rows) = used().await;
    let full = || {
        let checked = world.command("check", &["--full"]);
        (checked.status.success(), String::from_utf8_lossy(&checked.stderr).into_owned())
    };
    for (key, value) in rows.iter().filter(|row| is_cold(row)) {
        let mut broken = value.clone();
        let last = broken.len() - 1;
        broken[last] ^= 1;
        write(&world, vec![(key.clone(), Some(broken))]);
        let (ok, said) = full();
        let name = format!("row `{}` of table {}", key[1..].escape_ascii(), key[0]);
        assert!(!ok && said.contains(&name), "{name}: {said}");
        write(&world, vec![(key.clone(), Some(value.clone()))]);
    }
    let audit = |row: &&Row| row.0[0] == table::AUDIT;
    let (key, value) = rows.iter().rfind(audit).expect("an audit record").clone();
    write(&world, vec![(key.clone(), None)]);
    let (ok, said) = full();
    assert!(!ok && said.contains("the last audit record is"), "{said}");
    write(&world, vec![(key, Some(value))]);
    let (key, value) = rows.iter().find(audit).expect("an audit record").clone();
    write(&world, vec![(key.clone(), None)]);
    let (ok, said) = full();
    assert!(!ok && said.contains("the chain of audit records breaks at 2"), "{said}");
    write(&world, vec![(key, Some(value))]);
    assert!(full().0, "{}", full().1);
}
