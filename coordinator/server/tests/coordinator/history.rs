//! A long history: what it costs a start, and what lists read of it.

use trimaran_engine::rows::{cold_key, from_bytes, run_key, stage_key, stages_prefix, tables, to_bytes};
use trimaran_engine::state::run::Run;
use trimaran_engine::state::stage::Stage;
use trimaran_model::id::RunId;
use trimaran_replica::{RowBatch, WriteJob};
use trimaran_store::{Options, Store};
use trimaran_wire::v1::operator::OperatorBody;

use crate::world::{World, ask, change};

const RUNS: u64 = 60_000;
/// Of the comment of each run, so that the rows are 60 MiB and more.
const COMMENT_BYTES: usize = 1000;
/// What a history may add to the memory of a start: caches, and the table that is written first.
const ADDED_MIB_MAX: u64 = 48;

/// The coordinator's largest memory so far, in MiB.
fn peak_mib(world: &World) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.pid())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// Clones of a finished run, as the engine retires them.
fn fill(store: &Store) {
    let view = store.read_view();
    let id = RunId { pipeline: "web".parse().expect("a name"), number: 1 };
    let bytes = view.get(&cold_key(tables::RUN, &run_key(&id))).expect("readable").expect("a run");
    let run: Run = from_bytes(&bytes).expect("a run");
    let stages = view.scan(&stages_prefix(tables::STAGE, &id));
    let stages: Vec<Stage> =
        stages.map(|row| from_bytes(&row.expect("readable").1).expect("a stage")).collect();
    for first in (1000..1000 + RUNS).step_by(1000) {
        let mut rows = RowBatch::default();
        for number in first..first + 1000 {
            let id = RunId { number, ..id.clone() };
            let words: String = (0..COMMENT_BYTES as u64 / 16)
                .map(|part| format!("{:016x}", trimaran_model::hash::splitmix(number * 1000 + part)))
                .collect();
            let run = Run { id: id.clone(), sequence: number, comment: words, ..run.clone() };
            rows.put(cold_key(tables::OLD_RUN, &run_key(&id)), to_bytes(&run));
            for stage in &stages {
                let stage = Stage { run: id.clone(), ..stage.clone() };
                rows.put(cold_key(tables::OLD_STAGE, &stage_key(&id, stage.index)), to_bytes(&stage));
            }
        }
        store.write(&[WriteJob { number: first, rows, ..WriteJob::default() }]).expect("written");
    }
    store.sync().expect("synced");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_needs_memory_for_the_state_and_not_for_its_history() {
    let mut world = World::start().await;
    world.apply().await;
    let client = world.client("admin");
    ask(&client, change(), crate::deploy("1")).await.expect("a run");
    ask(&client, change(), OperatorBody::Cancel { run: "web#1".to_owned() }).await.expect("canceled");
    world.kill();
    world.run(&[]);
    let list = || OperatorBody::RunList { pipeline: None, limit: 3 };
    ask(&world.client("admin"), None, list()).await.expect("a list");
    let without = peak_mib(&world);

    world.kill();
    {
        let (store, _) = Store::open(&world.data().join("store"), &Options::default()).expect("it opens");
        fill(&store);
    }
    world.run(&[]);
    let shown = ask(&world.client("admin"), None, list()).await.expect("a list");
    let with = peak_mib(&world);
    assert!(with <= without + ADDED_MIB_MAX, "{without} MiB with one run, {with} MiB with {RUNS}");
    let newest = 1000 + RUNS - 1;
    let names: Vec<String> = (newest - 2..=newest).rev().map(|number| format!("web#{number}")).collect();
    let runs = shown["runs"].as_array().expect("runs");
    assert_eq!(runs.iter().map(|run| run["run"].as_str().expect("a name")).collect::<Vec<_>>(), names);
}
