//! What a long history costs: a store of a million finished runs, its start, its memory, and the first lines of its
//! lists.
//!
//! The history is written as rows, as the engine retires them: clones of a run that was really played.

use std::time::{Duration, Instant};

use trimaran_e2e::lab::{Lab, Part};
use trimaran_e2e::web::{Shape, Web};
use trimaran_engine::rows::cold::Instances;
use trimaran_engine::rows::{
    cold_key, from_bytes, instances_key, run_key, stage_key, stages_prefix, tables, to_bytes,
};
use trimaran_engine::state::pipeline::ReleaseEntry;
use trimaran_engine::state::run::Run;
use trimaran_engine::state::stage::Stage;
use trimaran_model::id::{Digest, RunId};
use trimaran_replica::{RowBatch, WriteJob};
use trimaran_store::{Options, ReadView, Store};

use crate::report::{Report, percentile, time};

const RUNS: u64 = 1_000_000;
/// Numbers of the written runs begin here, above those that were played.
const FIRST: u64 = 1000;
/// Runs of one write.
const BATCH: u64 = 1000;
const ROUNDS: usize = 11;
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    web.deploy_until(&lab, "v2", "succeeded");
    let coordinator = lab.parts().into_iter().find(|part| part.role == "coordinator").expect("one");
    let empty = measure(&lab, &coordinator, |_| {});
    let full = measure(&lab, &coordinator, fill);
    report.add(
        format!("start with {RUNS} finished runs: from the process to the first answer"),
        time(full.start),
        format!("{} with 2 runs; bar 5 s", time(empty.start)),
    );
    report.add(
        format!("peak memory of a coordinator that starts with {RUNS} finished runs"),
        format!("{:.0} MiB", full.peak_mib),
        format!("{:.0} MiB with 2 runs; bar 200 MiB", empty.peak_mib),
    );
    let release =
        lab.json(&["history", "web"])["entries"][0]["release"].as_str().expect("a digest").to_owned();
    let back = ["rollback", "web", "--env", "prod", "--to", &release[..12], "--dry-run"];
    for (name, arguments) in
        [("history web", &["history", "web"][..]), ("run list", &["run", "list"]), ("rollback --to", &back)]
    {
        let mut times: Vec<Duration> = (0..ROUNDS).map(|_| once(&lab, arguments)).collect();
        times.sort_unstable();
        report.add(
            format!("`{name}` over {RUNS} finished runs, the whole command"),
            time(percentile(&times, 50)),
            format!("slowest of {ROUNDS} {}; bar 100 ms", time(times[ROUNDS - 1])),
        );
    }
}

struct Started {
    start: Duration,
    peak_mib: f64,
}

/// Ends the coordinator, changes its store, and starts it again.
fn measure(lab: &Lab, coordinator: &Part, change: impl FnOnce(&Store)) -> Started {
    lab.kill(&coordinator.name);
    {
        let (store, _) =
            Store::open(&coordinator.data_dir.join("store"), &Options::default()).expect("it opens");
        change(&store);
    }
    let begin = Instant::now();
    lab.start_part(&coordinator.name);
    while !lab.run(&["run", "list", "--limit", "1"]).status.success() {
        assert!(begin.elapsed() < LIMIT, "the coordinator does not start");
    }
    let start = begin.elapsed();
    let pid = lab.part(&coordinator.name).pid.expect("it runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    Started { start, peak_mib: kib / 1024.0 }
}

fn once(lab: &Lab, arguments: &[&str]) -> Duration {
    let begin = Instant::now();
    lab.ok(arguments);
    begin.elapsed()
}

/// A finished run with all of its rows.
struct Template {
    run: Run,
    stages: Vec<(Stage, Instances)>,
    release: ReleaseEntry,
}

fn fill(store: &Store) {
    let template = template(&store.read_view());
    for first in (0..RUNS).step_by(usize::try_from(BATCH).expect("small")) {
        let mut rows = RowBatch::default();
        (first..first + BATCH).for_each(|number| add(&mut rows, &template, FIRST + number));
        store.write(&[WriteJob { number: first, rows, ..WriteJob::default() }]).expect("written");
    }
    store.sync().expect("synced");
}

fn template(view: &ReadView<'_>) -> Template {
    let row = |key: &[u8]| view.get(key).expect("readable");
    let id = RunId { pipeline: "web".parse().expect("a name"), number: 1 };
    let run: Run =
        from_bytes(&row(&cold_key(tables::RUN, &run_key(&id))).expect("it was played")).expect("a run");
    let stages = view.scan(&stages_prefix(tables::STAGE, &id)).map(|found| {
        let stage: Stage = from_bytes(&found.expect("readable").1).expect("a stage");
        let instances = row(&instances_key(&id, stage.index));
        (stage, instances.map(|bytes| from_bytes(&bytes).expect("instances")).unwrap_or_default())
    });
    let stages: Vec<(Stage, Instances)> = stages.collect();
    let digest = stages.iter().find_map(|(stage, _)| stage.deploy()).expect("a deploy").release;
    let release = row(&cold_key(tables::RELEASE, &digest.0)).expect("its release");
    Template { run, stages, release: from_bytes(&release).expect("a release") }
}

fn add(rows: &mut RowBatch, template: &Template, number: u64) {
    let id = RunId { number, ..template.run.id.clone() };
    let run = Run { id: id.clone(), sequence: number, ..template.run.clone() };
    rows.put(cold_key(tables::OLD_RUN, &run_key(&id)), to_bytes(&run));
    for (stage, instances) in &template.stages {
        let stage = Stage { run: id.clone(), ..stage.clone() };
        rows.put(cold_key(tables::OLD_STAGE, &stage_key(&id, stage.index)), to_bytes(&stage));
        rows.put(instances_key(&id, stage.index), to_bytes(instances));
    }
    let mut digest = Digest(template.release.digest.0);
    digest.0[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let release = ReleaseEntry { digest, release: template.release.release.clone() };
    rows.put(cold_key(tables::OLD_RELEASE, &digest.0), to_bytes(&release));
}
