//! What a long history costs: a store of a million finished runs, its start, its memory, and the first lines of its
//! lists.
//!
//! The history is written as rows, as the engine retires them: clones of a run that was really played.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use trimaran_client::client::Client;
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
use trimaran_model::limits::LEASE;
use trimaran_replica::{RowBatch, WriteJob};
use trimaran_store::{Options, ReadView, Store};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{AgentDown, AgentUp};
use trimaran_wire::v1::operator::{OperatorBody, SourceFile};

use crate::report::{Report, percentile, time};
use crate::{attaching, commits, dispatch};

const RUNS: u64 = 1_000_000;
/// Numbers of the written runs begin here, above those that were played.
const FIRST: u64 = 1000;
/// Runs of one write.
const BATCH: u64 = 1000;
const ROUNDS: usize = 11;
const LIMIT: Duration = Duration::from_secs(60);
const VIEWERS: usize = 4;
/// Runs of one list.
const LISTED: u32 = 1000;
/// Deploys without viewers, and as many with them: a minute each.
const DEPLOYS: usize = 300;
const DEPLOY_PACE: Duration = Duration::from_millis(200);
const PING_PAUSE: Duration = Duration::from_millis(100);
/// The agent that pings, and its target.
const AGENT: &str = "viewed";
const HOST: &str = "viewed-host";

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
    view(report, &lab);
}

/// What viewers cost that go over all runs again and again.
fn view(report: &mut Report, lab: &Lab) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let client = commits::client(lab);
        prepare(lab, &client).await;
        let pings = Arc::new(Mutex::new(Vec::new()));
        let folder = lab.folder.path().join(AGENT);
        let agent = tokio::spawn(ping(folder, dispatch::address(lab), Arc::clone(&pings)));
        let take = || std::mem::take(&mut *pings.lock().expect("no panic while the lock is held"));
        let alone = deploys(&client, 0).await;
        take();
        let stop = Arc::new(AtomicBool::new(false));
        let viewers: Vec<_> =
            (0..VIEWERS).map(|_| tokio::spawn(loop_over(commits::client(lab), Arc::clone(&stop)))).collect();
        let beside = deploys(&client, DEPLOYS).await;
        stop.store(true, Ordering::Relaxed);
        let mut lists = 0;
        for viewer in viewers {
            lists += viewer.await.expect("no task panics");
        }
        let times = take();
        let longest = times.iter().max().copied().expect("it pings");
        report.add(
            format!("a deploy beside {VIEWERS} viewers that loop over {RUNS} finished runs"),
            time(percentile(&beside, 99)),
            format!(
                "p99 of {DEPLOYS}; {:.2} x the {} without them, bar 2; {lists} lists of {LISTED} runs",
                percentile(&beside, 99).as_secs_f64() / percentile(&alone, 99).as_secs_f64(),
                time(percentile(&alone, 99)),
            ),
        );
        report.add(
            "an agent's ping beside these viewers, until its answer".to_owned(),
            time(longest),
            format!(
                "longest of {}; the lease ends after {LEASE}; sessions lost: {}",
                times.len(),
                u8::from(agent.is_finished())
            ),
        );
        agent.abort();
    });
}

/// A target whose agent does nothing, so that what is deployed there waits, and whose only host never comes.
async fn prepare(lab: &Lab, client: &Client) {
    let text = format!(
        "trimaran: v1\ntarget: {AGENT}\nagent: {AGENT}\nclass: staging\nhosts: {{ select: {{ group: {AGENT} }} }}\n"
    );
    let file = SourceFile { name: "target.yaml".to_owned(), text: text.into_bytes() };
    dispatch::request(client, OperatorBody::Apply { files: vec![file] }).await;
    dispatch::enroll_agent_with_host(client, lab, AGENT, HOST, AGENT).await;
}

/// Deploys at a steady pace; how long each took until it was accepted, sorted.
async fn deploys(client: &Client, first: usize) -> Vec<Duration> {
    let mut pace = tokio::time::interval(DEPLOY_PACE);
    let mut times = Vec::new();
    for number in first..first + DEPLOYS {
        pace.tick().await;
        let order = dispatch::order_of(&format!("viewed-{number}"), AGENT, 1);
        let begin = Instant::now();
        dispatch::request(client, OperatorBody::Deploy(order)).await;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    times
}

/// Lists until it is asked to stop; how many lists.
async fn loop_over(client: Client, stop: Arc<AtomicBool>) -> usize {
    let mut lists = 0;
    while !stop.load(Ordering::Relaxed) {
        let environment = (lists % 2 == 0).then(|| "prod".to_owned());
        for body in [
            OperatorBody::RunList { pipeline: None, limit: LISTED },
            OperatorBody::History { pipeline: "web".to_owned(), environment, limit: LISTED },
        ] {
            client.request(None, body).await.expect("it is listed");
            lists += 1;
        }
    }
    lists
}

/// An agent that pings, and how long each answer took. Ends when its session does.
async fn ping(folder: PathBuf, coordinator: SocketAddr, times: Arc<Mutex<Vec<Duration>>>) {
    let endpoint = attaching::endpoint(&folder);
    let attached = attaching::attach(&endpoint, coordinator).await;
    let (mut sender, mut receiver) = attached.expect("the agent is attached");
    loop {
        let begin = Instant::now();
        let up = AgentUp::Ping { sent_ms: 0, refused: Default::default() };
        if sender.send(&up.to_frame()).await.is_err() {
            return;
        }
        loop {
            let Ok(Some(frame)) = receiver.next().await else { return };
            if let Ok(AgentDown::Pong { .. }) = AgentDown::from_frame(&frame) {
                break;
            }
        }
        times.lock().expect("no panic while the lock is held").push(begin.elapsed());
        tokio::time::sleep(PING_PAUSE).await;
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
