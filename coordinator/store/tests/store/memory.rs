//! What a long history costs a member: staging it, switching to it and starting on it hold the rows of the state and no others.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;

use trimaran_replica::InstallJob;
use trimaran_replica::staging::StagingJob;
use trimaran_store::{Options, ReadError, Store, Writer, WriterEvent};
use trimaran_wire::raft::{ConfState, HardState, SnapshotMeta};

use crate::init;

/// Tables of the state are below.
const HOT_BELOW: &[u8] = &[32];
const HOT_ROWS: u32 = 2_000;
const COLD_CHUNKS: u32 = 1_000;
const CHUNK_ROWS: u32 = 250;
const VALUE_BYTES: usize = 1_000;
/// What all rows have: far more than the bounds.
const HISTORY_MIB: u64 = 238;
/// With the program itself, memtables and cached blocks.
const PEAK_MIB_MAX: u64 = 100;

const CHILD: &str = "TRIMARAN_STORE_CHILD";
const STEP: &str = "TRIMARAN_STORE_STEP";

/// The same test is parent and child; each child says how much memory it had at most.
#[test]
fn a_history_is_staged_installed_and_started_on_in_little_memory() {
    if let Ok(dir) = std::env::var(CHILD) {
        match std::env::var(STEP).unwrap().as_str() {
            "install" => install(Path::new(&dir)),
            _ => start(Path::new(&dir)),
        }
        println!("peak {}.", peak_mib());
        return;
    }
    assert_eq!((u64::from(COLD_CHUNKS * CHUNK_ROWS) * VALUE_BYTES as u64) >> 20, HISTORY_MIB);
    let dir = tempfile::tempdir().unwrap();
    init(dir.path());
    for step in ["install", "start"] {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "memory::a_history_is_staged_installed_and_started_on_in_little_memory",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, dir.path())
            .env(STEP, step)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success(), "{step}: {said}{}", String::from_utf8_lossy(&child.stderr));
        let peak = said.split_once("peak ").and_then(|(_, rest)| rest.split_once('.')).expect("it says so").0;
        let peak: u64 = peak.parse().unwrap();
        println!("{step}: {peak} MiB");
        assert!(peak < PEAK_MIB_MAX, "{step} with {HISTORY_MIB} MiB of history took {peak} MiB");
    }
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

/// A chunk of rows whose values don't get smaller on the disk.
fn chunk(table: u8, number: u32) -> StagingJob {
    let row = |row: u32| {
        let mut state = (u64::from(number) << 32) | u64::from(row) | (1 << 63);
        let words = (0..VALUE_BYTES / 8).flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        ([&[table], number.to_be_bytes().as_slice(), &row.to_be_bytes()].concat(), words.collect())
    };
    StagingJob::Rows((0..CHUNK_ROWS).map(row).collect())
}

fn install(dir: &Path) {
    let (store, _) = Store::open(dir, &Options::default()).unwrap();
    let hot = (0..HOT_ROWS / CHUNK_ROWS).map(|number| chunk(1, number));
    let cold = (0..COLD_CHUNKS).map(|number| chunk(40, number));
    let jobs = hot.chain(cold).chain([StagingJob::Sync]).map(Ok::<_, ReadError>);
    let staged = store.stage(None, jobs).unwrap();
    let (events, reports) = channel();
    let writer = Writer::spawn(store.clone(), 8, move |event| drop(events.send(event))).unwrap();
    let conf_state = ConfState { voters: vec![1], ..ConfState::default() };
    let meta = SnapshotMeta { index: 9, term: 1, conf_state };
    let hard_state = HardState { term: 1, vote: 0, commit: 9 };
    let job = InstallJob { number: 3, meta, manifest: Default::default(), hard_state };
    writer.install(job, staged, HOT_BELOW).unwrap();
    let WriterEvent::Installed { number: 3, hot } = reports.recv().unwrap() else {
        panic!("it is installed")
    };
    assert_eq!(hot.len(), HOT_ROWS as usize, "the rows of the state alone");
    drop(writer);
}

fn start(dir: &Path) {
    let (store, loaded) = Store::open(dir, &Options::default()).unwrap();
    assert_eq!(loaded.applied.index, 9);
    assert_eq!(store.load_rows_below(HOT_BELOW).map(Result::unwrap).count(), HOT_ROWS as usize);
    assert!(store.last_row().unwrap().is_some_and(|(key, _)| key[0] == 40), "the history is there");
}
