//! An agent with thousands of live orders: what those of another target take beside them, when all are attached again after
//! the session broke off, and what becomes of orders that it refuses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::watch;
use trimaran_client::client::Client;
use trimaran_e2e::lab::Lab;
use trimaran_model::limits::AGENT_ASSIGNMENTS_MAX;
use trimaran_wire::v1::operator::{ArtifactVersion, DeployRequest, OperatorBody, SourceFile};

use crate::report::{Report, percentile, time};
use crate::third_agent::{self, QUICK, Seen, Shared};
use crate::{commits, dispatch};

const AGENT: &str = "third";
const TARGETS: usize = 64;
/// Runs, each with a stage on every target: 4,032 live orders.
const RUNS: usize = 63;
/// Deploys beside them, and the number of their pipeline.
const QUICK_TIMES: u8 = 40;
const QUICK_NUMBER: usize = 1000;
const WAIT_MAX: Duration = Duration::from_secs(120);

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = commits::client(&lab);
        prepare(&lab, &client).await;
        let (answer, answers) = watch::channel(false);
        let (cut, cuts) = watch::channel(0);
        let (seen_by, mut seen) = watch::channel(Seen::default());
        let shared = Shared::new(answers);
        let folder = lab.folder.path().join(AGENT);
        let agent =
            tokio::spawn(third_agent::serve(folder, dispatch::address(&lab), shared.clone(), cuts, seen_by));
        quick(&client).await;
        shared.take_handled();
        let alone = quick(&client).await;
        let alone_in_agent = shared.take_handled();
        let before = seen.borrow().orders;
        let mut runs = Vec::new();
        for number in 0..RUNS {
            runs.push(deploy(&client, number, 1, &targets()).await);
        }
        let live = RUNS * TARGETS;
        until(&mut seen, |seen| seen.orders >= before + live).await;
        wait("every order's call is made", || shared.made() == live).await;
        let beside = quick(&client).await;
        let beside_in_agent = shared.take_handled();
        let what = format!("while {live} calls of the same agent hang on {TARGETS} other targets");
        add_ratio(
            report,
            format!("an order in the agent, with its call, {what}"),
            &alone_in_agent,
            &beside_in_agent,
            "bar 1.2",
        );
        add_ratio(
            report,
            format!("a deploy of one call {what}"),
            &alone,
            &beside,
            "with all that the coordinator does",
        );

        cut.send_modify(|count| *count += 1);
        let back = until(&mut seen, |seen| seen.sessions == 2 && seen.orders >= live && seen.lease.is_some());
        let back = back.await;
        let dialed = back.dialed.expect("it dialed");
        let last = back.last_order.max(back.lease).expect("both came");
        let (made, repeated) = (shared.made(), shared.repeated());
        report.add(
            format!("{live} live orders attached again after a session that broke off"),
            time(last - dialed),
            format!("bar 5 s; {repeated} repeated, {} lost", live - made.min(live)),
        );

        refused(report, &client, &mut seen).await;

        answer.send_replace(true);
        let all = AGENT_ASSIGNMENTS_MAX;
        until(&mut seen, |seen| seen.ended >= all + 3 * usize::from(QUICK_TIMES)).await;
        for run in &runs {
            finished(&client, run, Duration::from_millis(50)).await;
        }
        agent.abort();
    });
}

fn add_ratio(report: &mut Report, measure: String, alone: &[Duration], beside: &[Duration], note: &str) {
    let (count, alone, beside) = (beside.len(), percentile(alone, 50), percentile(beside, 50));
    let ratio = beside.as_secs_f64() / alone.as_secs_f64();
    let text = format!("p50 of {count}; {ratio:.2} x the {} without them; {note}", time(alone));
    report.add(measure, time(beside), text);
}

/// The sorted times from a deploy to the end of its run, whose only call is answered at once.
async fn quick(client: &Client) -> Vec<Duration> {
    let mut times = Vec::new();
    for version in 1..=QUICK_TIMES {
        let began = Instant::now();
        let run = deploy(client, QUICK_NUMBER, version, &[QUICK.to_owned()]).await;
        finished(client, &run, Duration::from_millis(3)).await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    times
}

/// One run more than the agent holds.
async fn refused(report: &mut Report, client: &Client, seen: &mut watch::Receiver<Seen>) {
    let over = (RUNS + 2) * TARGETS - AGENT_ASSIGNMENTS_MAX;
    deploy(client, RUNS, 1, &targets()).await;
    let began = Instant::now();
    let run = deploy(client, RUNS + 1, 1, &targets()).await;
    until(seen, |seen| seen.refused >= over).await;
    let at_agent = began.elapsed();
    let why = OperatorBody::Why { run, stage: None };
    let shown = loop {
        let shown = read(client, why.clone()).await;
        if count_of(&shown, "order_refused") >= over {
            break began.elapsed();
        }
        assert!(began.elapsed() < WAIT_MAX, "each refused order is in `why`: {shown:#}");
    };
    let alarmed = loop {
        let status = read(client, OperatorBody::ClusterStatus).await;
        if count_of(&status["alarms"], "order_refused") > 0 {
            break began.elapsed();
        }
        assert!(began.elapsed() < WAIT_MAX, "a refused order is an alarm: {status:#}");
    };
    report.add(
        format!("{over} refused orders, from the deploy until each is in `why` and there is an alarm"),
        time(shown.max(alarmed)),
        format!("bar 2 s; the agent had refused the last one after {}", time(at_agent)),
    );
}

/// How often a code is a value of a document.
fn count_of(document: &Value, code: &str) -> usize {
    match document {
        Value::String(text) => usize::from(text == code),
        Value::Array(list) => list.iter().map(|it| count_of(it, code)).sum(),
        Value::Object(fields) => fields.values().map(|it| count_of(it, code)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

async fn until(seen: &mut watch::Receiver<Seen>, holds: impl Fn(&Seen) -> bool) -> Seen {
    let waiting = seen.wait_for(|seen| holds(seen));
    let found = tokio::time::timeout(WAIT_MAX, waiting).await.expect("it holds soon");
    *found.expect("the agent runs")
}

async fn wait(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < WAIT_MAX, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn read(client: &Client, body: OperatorBody) -> Value {
    let (_, json) = client.request(None, body).await.expect("the coordinator answers");
    serde_json::from_str(&json).expect("JSON")
}

async fn finished(client: &Client, run: &str, pause: Duration) {
    let began = Instant::now();
    loop {
        let shown = read(client, OperatorBody::RunShow { run: run.to_owned() }).await;
        match shown["status"].as_str() {
            Some("succeeded") => return,
            Some("blocked" | "queued" | "running" | "pending" | "waiting") => {}
            other => panic!("{run} ended as {other:?}"),
        }
        assert!(began.elapsed() < WAIT_MAX, "{run} ends: {shown:#}");
        tokio::time::sleep(pause).await;
    }
}

fn targets() -> Vec<String> {
    (0..TARGETS).map(|target| format!("third-{target}")).collect()
}

/// Targets that take all orders at once, and an agent with one host for all of them.
async fn prepare(lab: &Lab, client: &Client) {
    let mut text = String::new();
    for name in targets().into_iter().chain([QUICK.to_owned()]) {
        text.push_str(&format!(
            "---\ntrimaran: v1\ntarget: {name}\nagent: {AGENT}\nclass: staging\nparallel: 256\n\
             hosts: {{ select: {{ group: third }} }}\n"
        ));
    }
    let file = SourceFile { name: "targets.yaml".to_owned(), text: text.into_bytes() };
    dispatch::request(client, OperatorBody::Apply { files: vec![file] }).await;
    dispatch::enroll_agent_with_host(client, lab, AGENT, "third-host", "third").await;
}

/// Starts a run of a pipeline of its own with a stage on each of these targets.
async fn deploy(client: &Client, number: usize, version: u8, targets: &[String]) -> String {
    let text = format!(
        "trimaran: v1\npipeline: third-{number}\nowner: bench\nartifacts:\n  bundle: {{ path: \"/third-{{version}}\" }}\n\
         workload:\n  host:\n    unpack: bundle\n    process: {{ command: [bin/third] }}\n    health: {{ http: \":80/\" }}\n\
         environments:\n- name: all\n  targets: [{}]\n  strategy: {{ batches: {{ sizes: [\"100%\"] }} }}\n",
        targets.join(", ")
    );
    let artifact = ArtifactVersion { version: format!("v{version}"), sha256: Some([version; 32]) };
    let request = DeployRequest {
        pipeline: None,
        file: Some(SourceFile { name: "third.yaml".to_owned(), text: text.into_bytes() }),
        artifacts: BTreeMap::from([("bundle".to_owned(), artifact)]),
        manifests: None,
        files: None,
        plan_digest: None,
        overrides: Vec::new(),
        reason: String::new(),
    };
    let shown = dispatch::request(client, OperatorBody::Deploy(request)).await;
    shown["run"].as_str().expect("a name").to_owned()
}
