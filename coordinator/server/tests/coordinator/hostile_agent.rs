//! An enrolled agent that turned hostile: every field of every message filled to the frame's limit. It reaches
//! nothing but the counters of what was refused.

use serde_json::Value;
use trimaran_model::error_code;
use trimaran_model::limits::AGENT_FRAME_BYTES_MAX;
use trimaran_wire::v1::agent::{
    AgentDown, AgentUp, AgentVerdict, HeldAssignment, HostCounts, HostFinding, KnownCluster, Progress,
    RefusedAssignment, RefusedCounts, RunnerState,
};
use trimaran_wire::v1::assignment::{WireAssignment, WireCommit, WireFailure, WireInstance, WireOutcome};
use trimaran_wire::v1::common::{WireInstallation, WireRun};
use trimaran_wire::v1::operator::{OperatorBody, SourceFile};

use crate::agents::{Played, cluster, until};
use crate::world::{FILES, World, ask, change};

/// How many messages are sent; 10,000 with `TRIMARAN_FULL`.
const MESSAGES: usize = 1_200;
const MESSAGES_FULL: usize = 10_000;
/// What the resident memory of the coordinator may grow by from the moment before the first message.
const GROWTH_BYTES_MAX: usize = 16 << 20;
/// From the start of the process to the first session of an agent.
const RESTART_MAX: std::time::Duration = std::time::Duration::from_secs(5);
/// Before a change is made again that was one too many in its second.
const QUOTA_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
/// Changes of a user ahead of it, with `TRIMARAN_FULL`: as many as the log keeps entries before it is cut. Each attachment of
/// 10,000 sessions is an entry too, so the log in memory and the buffers of the store would otherwise grow to the sizes that
/// they are bounded by (`SNAPSHOT_ENTRIES`, `Options::write_buffer_bytes`) while the agent is measured.
const CHANGES_FULL: usize = 10_000;

/// Text that fills a frame whose other fields are short.
fn long() -> String {
    "x".repeat(AGENT_FRAME_BYTES_MAX - 4096)
}

/// As many as fill a frame when each has so many bytes.
fn many<T: Clone>(it: T, bytes: usize) -> Vec<T> {
    vec![it; (AGENT_FRAME_BYTES_MAX - 4096) / bytes]
}

fn progress(order: &WireAssignment) -> Progress {
    Progress {
        assignment: order.id,
        fence: order.fence,
        done: 0,
        total: 1,
        failed: Vec::new(),
        lost: Vec::new(),
        failure: None,
        instances: Vec::new(),
    }
}

/// A verdict that is as it should be.
fn degraded(order: &WireAssignment) -> AgentVerdict {
    AgentVerdict {
        installation: order.installation.clone(),
        fence: order.fence,
        verdict: "degraded".to_owned(),
        failure: None,
        down: 0,
        hosts: None,
        blind_since_ms: None,
    }
}

fn instance(name: String, status: String, code: Option<String>) -> WireInstance {
    WireInstance {
        name,
        status,
        release: None,
        code,
        message: String::new(),
        began_from: None,
        steps: Vec::new(),
    }
}

/// Each field of each message, one at a time.
fn refused(order: &WireAssignment) -> Vec<AgentUp> {
    let it = || progress(order);
    let failure =
        |code: String, instance: Option<String>| WireFailure { code, message: String::new(), instance };
    let result = |outcome: WireOutcome| AgentUp::Result {
        assignment: order.id,
        fence: order.fence,
        outcome,
        progress: it(),
    };
    let host = || "host-1".to_owned();
    let known = || "probe_failed".to_owned();
    let installation = || order.installation.clone();
    let with = |failed: Vec<String>, failure: Option<WireFailure>, instances: Vec<WireInstance>| Progress {
        failed,
        failure,
        instances,
        ..it()
    };
    let mut all = Vec::new();
    for progress in [
        with(vec![long()], None, vec![]),
        with(many(host(), 8), None, vec![]),
        with(vec![], Some(failure(long(), None)), vec![]),
        with(vec![], Some(failure(known(), Some(long()))), vec![]),
        with(vec![], None, vec![instance(long(), "healthy".to_owned(), None)]),
        with(vec![], None, vec![instance(host(), long(), None)]),
        with(vec![], None, vec![instance(host(), "healthy".to_owned(), Some(long()))]),
        with(vec![], None, many(instance(host(), "healthy".to_owned(), None), 32)),
        Progress { lost: vec![long()], ..it() },
        Progress { lost: many(host(), 8), ..it() },
        Progress { done: u32::MAX, total: u32::MAX, ..it() },
    ] {
        all.push(AgentUp::Progress(progress.clone()));
        all.push(AgentUp::ProgressChanges(progress.clone()));
        let commit = WireCommit { assignment: progress.assignment, n: 1, body: Vec::new() };
        all.push(AgentUp::Commit { commit, progress: progress.clone() });
        let (assignment, fence) = (order.id, order.fence);
        all.push(AgentUp::Result { assignment, fence, outcome: WireOutcome::Done, progress });
    }
    let commit = WireCommit { assignment: order.id, n: 1, body: vec![7; AGENT_FRAME_BYTES_MAX - 4096] };
    all.push(AgentUp::Commit { commit, progress: it() });
    let refusal = |code: String, pipeline: String| RefusedAssignment {
        assignment: order.id,
        fence: order.fence,
        installation: WireInstallation { pipeline, target: "lab-staging".to_owned() },
        code,
        message: String::new(),
    };
    all.push(AgentUp::Refused(refusal(long(), "web".to_owned())));
    all.push(AgentUp::Refused(refusal(known(), long())));
    all.push(result(WireOutcome::Failed(failure(long(), None))));
    all.push(result(WireOutcome::Fault(failure(known(), Some(long())))));
    let verdict = degraded(order);
    all.push(AgentUp::Verdicts(vec![AgentVerdict { verdict: long(), ..verdict.clone() }]));
    all.push(AgentUp::Verdicts(vec![AgentVerdict { down: u32::MAX, ..verdict.clone() }]));
    let foreign = WireInstallation { pipeline: long(), target: "lab-staging".to_owned() };
    all.push(AgentUp::Verdicts(vec![AgentVerdict { installation: foreign, ..verdict.clone() }]));
    all.extend(refused_counts(order));
    all.push(AgentUp::Verdicts(many(verdict, 48)));
    let held = HeldAssignment {
        assignment: 1,
        fence: 1,
        installation: installation(),
        run: WireRun { pipeline: "web".to_owned(), number: 1 },
    };
    let run = WireRun { pipeline: long(), number: 1 };
    all.push(AgentUp::Unknown(vec![HeldAssignment { run, ..held.clone() }]));
    all.push(AgentUp::Unknown(many(held.clone(), 32)));
    let state = RunnerState {
        name: host(),
        connected: true,
        incarnation: 1,
        address: "127.0.0.1:1".to_owned(),
        last_seen_ms: i64::MAX,
        facts: Default::default(),
    };
    all.push(AgentUp::Runners(vec![RunnerState { name: long(), ..state.clone() }]));
    all.push(AgentUp::Runners(vec![RunnerState { address: long(), ..state.clone() }]));
    let many_facts = (0..10_000).map(|number| (format!("fact-{number}"), "x".to_owned())).collect();
    for facts in [[(long(), host())].into(), [("os".to_owned(), long())].into(), many_facts] {
        all.push(AgentUp::Runners(vec![RunnerState { facts, ..state.clone() }]));
    }
    all.push(AgentUp::Runners(many(state, 40)));
    let hello = |held, platforms| AgentUp::Hello {
        incarnation: 7,
        known: KnownCluster::default(),
        held,
        listen: None,
        platforms,
    };
    all.push(hello(many(held, 32), Vec::new()));
    all.push(hello(Vec::new(), vec![long()]));
    all.push(hello(Vec::new(), many("hosts".to_owned(), 6)));
    all
}

/// The numbers of hosts beside a verdict.
fn refused_counts(order: &WireAssignment) -> Vec<AgentUp> {
    let finding =
        |host: String, code: String| HostFinding { host, code, message: String::new(), since_ms: 0 };
    let (host, known) = (|| "host-1".to_owned(), || "probe_failed".to_owned());
    let crash = WireFailure { code: long(), message: String::new(), instance: None };
    let counts = [
        HostCounts { members: u32::MAX, ..HostCounts::default() },
        HostCounts { crash: Some(crash), ..HostCounts::default() },
        HostCounts { findings: vec![finding(long(), known())], ..HostCounts::default() },
        HostCounts { findings: vec![finding(host(), long())], ..HostCounts::default() },
        HostCounts { findings: many(finding(host(), known()), 32), ..HostCounts::default() },
    ];
    let verdict = |hosts| AgentUp::Verdicts(vec![AgentVerdict { hosts: Some(hosts), ..degraded(order) }]);
    counts.into_iter().map(verdict).collect()
}

/// What is well formed and concerns nothing of this agent, with texts that fill the frame.
fn ignored(order: &WireAssignment) -> Vec<AgentUp> {
    let failure = WireFailure { code: "probe_failed".to_owned(), message: long(), instance: None };
    let (assignment, fence) = (u64::MAX, u64::MAX);
    let short = Progress { assignment, fence, ..progress(order) };
    let progress = Progress { failure: Some(failure.clone()), ..short.clone() };
    let outcome = WireOutcome::Failed(failure.clone());
    let verdict = AgentVerdict {
        installation: WireInstallation { pipeline: "other".to_owned(), target: "other".to_owned() },
        fence,
        verdict: "degraded".to_owned(),
        failure: Some(failure),
        down: 1,
        hosts: None,
        blind_since_ms: None,
    };
    vec![
        AgentUp::Progress(progress.clone()),
        AgentUp::ProgressChanges(progress.clone()),
        AgentUp::Commit {
            commit: WireCommit { assignment, n: 1, body: Vec::new() },
            progress: progress.clone(),
        },
        AgentUp::Result { assignment, fence, outcome, progress: short },
        AgentUp::Verdicts(vec![verdict]),
    ]
}

/// Everything that a user may read of runs and installations, without the revision.
async fn everything(world: &World) -> Vec<Value> {
    let client = world.client("admin");
    let mut all = Vec::new();
    for body in [
        OperatorBody::RunShow { run: "web#1".to_owned() },
        OperatorBody::Why { run: "web#1".to_owned(), stage: None },
        OperatorBody::Status { pipeline: None },
        OperatorBody::TargetList { name: None },
        OperatorBody::AuditList { since_seq: 0, limit: 100 },
    ] {
        let mut document = ask(&client, None, body).await.expect("a document");
        if let Some(fields) = document.as_object_mut() {
            fields.remove("revision");
        }
        all.push(document);
    }
    all
}

/// Resident memory of the coordinator in bytes.
fn memory(world: &World) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", world.pid())).expect("it runs");
    let pages: usize = statm.split(' ').nth(1).expect("a number").parse().expect("a number");
    pages * 4096
}

/// A session for each message, which ends it.
async fn each_refused(world: &World, messages: &[AgentUp]) {
    for message in messages {
        let mut lab = Played::attach(world).await;
        lab.say(message.clone()).await;
        lab.expect_end().await;
    }
}

/// One round: a session for each message that is refused, four at a time, and one for all that concern nothing.
async fn attack(world: &World, order: &WireAssignment) -> usize {
    let refused = refused(order);
    let quarter = |number: usize| {
        let all = refused.len();
        each_refused(world, &refused[all * number / 4..all * (number + 1) / 4])
    };
    tokio::join!(quarter(0), quarter(1), quarter(2), quarter(3));
    let mut lab = Played::attach(world).await;
    for message in ignored(order) {
        lab.say(message).await;
    }
    // Behind all of them: they were read.
    lab.say(AgentUp::Ping { sent_ms: 9, refused: RefusedCounts::default() }).await;
    lab.expect_message(|message| matches!(message, AgentDown::Pong { sent_ms: 9, .. }).then_some(())).await;
    refused.len()
}

/// So many changes of a user, some at once.
async fn ordinary_work(world: &World, changes: usize) {
    let lane = async || {
        let client = world.client("admin");
        for _ in 0..changes / 4 {
            let files = vec![SourceFile { name: "all.yaml".to_owned(), text: FILES.as_bytes().to_vec() }];
            let body = OperatorBody::Apply { files };
            // A fast machine makes more changes in a second than one identity may.
            while let Err(refusal) = ask(&client, change(), body.clone()).await {
                assert_eq!(refusal.code, error_code::QUOTA.0, "{refusal:?}");
                tokio::time::sleep(QUOTA_PAUSE).await;
            }
        }
    };
    tokio::join!(lane(), lane(), lane(), lane());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_fills_every_field_changes_nothing_but_its_refusals() {
    let mut world = cluster().await;
    world.apply().await;
    let full = std::env::var_os("TRIMARAN_FULL").is_some();
    ordinary_work(&world, if full { CHANGES_FULL } else { 0 }).await;
    ask(&world.client("admin"), change(), crate::deploy("1")).await.expect("a run");
    let (run, stage, option, digest) = ("web#1".to_owned(), None, None, None);
    let approve = OperatorBody::Approve { run, stage, option, digest, comment: String::new() };
    ask(&world.client("admin"), change(), approve).await.expect("approved");
    let mut lab = Played::attach(&world).await;
    let order = |message: &AgentDown| match message {
        AgentDown::Assign(order) => Some(order.clone()),
        _ => None,
    };
    let order = lab.expect_message(order).await;
    let before = everything(&world).await;
    let frames = |status: &Value| status["members"][0]["refused"]["frames"].as_u64().unwrap_or(0);
    drop(lab);

    let (before_all, mut peak, mut sent) = (memory(&world), 0, 0);
    let began = std::time::Instant::now();
    while sent < if full { MESSAGES_FULL } else { MESSAGES } {
        sent += attack(&world, &order).await;
        peak = peak.max(memory(&world));
    }
    let (kib, took) = (|bytes: usize| bytes >> 10, began.elapsed());
    eprintln!("{sent} messages in {took:.1?}: {} KiB before, at most {} KiB", kib(before_all), kib(peak));
    let grown = peak.saturating_sub(before_all);
    assert!(grown <= GROWTH_BYTES_MAX, "{grown} bytes more in {sent} messages");
    let counted = |status: &Value| frames(status) >= sent as u64;
    until(&world, OperatorBody::ClusterStatus, "every refused frame is counted", counted).await;

    let last = Played::attach(&world).await;
    assert_eq!(everything(&world).await, before);
    drop(last);
    let start = std::time::Instant::now();
    world.restart();
    // Answers only when the store was read and is whole.
    let connected = Played::attach(&world).await;
    assert!(start.elapsed() <= RESTART_MAX, "a start took {:?}", start.elapsed());
    assert_eq!(everything(&world).await, before, "nor after a restart");
    drop(connected);
    world.kill();
    let checked = world.command("check", &[]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
