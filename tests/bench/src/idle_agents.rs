//! What 10,000 agents without work cost three coordinators: each is enrolled, has a session of its own and pings for its
//! lease. One of them is a process that is killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use trimaran_client::client::Client;
use trimaran_e2e::lab::{Lab, resident_bytes};
use trimaran_model::limits::LEASE_PING;
use trimaran_test_support::wait::until;
use trimaran_transport::Endpoint;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::AgentUp;
use trimaran_wire::v1::operator::EnrollOrder;

use crate::attaching::{attach, endpoint};
use crate::commits::{self, commit};
use crate::dispatch;
use crate::flink_rest::cpu_seconds;
use crate::report::{Report, time};
use crate::three_coordinators::wait_whole;

const AGENTS: usize = 10_000;
/// Enrolments at once, below the coordinators' own limit.
const ENROLLMENTS: usize = 24;
/// Agents that dial at once.
const DIALS: usize = 64;
/// How long CPU is counted.
const WINDOW: Duration = Duration::from_secs(30);
/// Entries a second in the second window.
const ENTRIES: u64 = 100;
const ATTACH_MAX: Duration = Duration::from_secs(300);
const NOTICE_MAX: Duration = Duration::from_secs(60);
const REDIAL_PAUSE: Duration = Duration::from_millis(500);
/// The agent of the lab, a process of its own.
const KILLED: &str = "lab";

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh_with(3, 1);
    wait_whole(&lab);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let folders = runtime.block_on(enroll_all(&lab));
    let coordinators: Vec<SocketAddr> =
        ["c1", "c2", "c3"].map(|name| lab.part(name).address.parse().expect("an address")).to_vec();
    let before = memory(&lab);
    let attached = Arc::new(AtomicUsize::new(0));
    let dials = Arc::new(tokio::sync::Semaphore::new(DIALS));
    let begin = Instant::now();
    for (number, folder) in folders.into_iter().enumerate() {
        let address = coordinators[number % coordinators.len()];
        runtime.spawn(serve(folder, address, Arc::clone(&attached), Arc::clone(&dials)));
    }
    until("every agent is attached", ATTACH_MAX, || {
        (attached.load(Ordering::Relaxed) == AGENTS).then_some(())
    });
    eprintln!("  {AGENTS} agents attached within {}", time(begin.elapsed()));
    wait_whole(&lab);
    std::thread::sleep(Duration::from_secs(5));
    let memory = memory(&lab).saturating_sub(before);
    let idle = cores(&lab);
    let stop = Arc::new(AtomicBool::new(false));
    let paced = runtime.spawn(write(commits::client(&lab), Arc::clone(&stop)));
    std::thread::sleep(Duration::from_secs(2));
    let busy = cores(&lab);
    stop.store(true, Ordering::Relaxed);
    runtime.block_on(paced).expect("the client writes to its end");
    let lost = AGENTS - attached.load(Ordering::Relaxed);
    let noticed = notice(&lab);
    report.add(
        format!("CPU of three coordinators with {AGENTS} idle agents"),
        format!("{idle:.2} cores"),
        format!(
            "in {} s, bar 1; {busy:.2} cores with {ENTRIES} entries a second; {lost} sessions lost",
            WINDOW.as_secs()
        ),
    );
    report.add(
        format!("memory of three coordinators for each of {AGENTS} idle agents"),
        format!("{:.1} KiB", memory as f64 / 1024.0 / AGENTS as f64),
        "RssAnon of all three, less what they had before; bar 64 KiB",
    );
    report.add(
        format!("a killed agent beside {AGENTS} idle ones, until `agent list` shows it"),
        time(noticed),
        "bar 15 s",
    );
}

/// The folders of all agents.
async fn enroll_all(lab: &Lab) -> Vec<PathBuf> {
    let client = Arc::new(commits::client(lab));
    let endpoints = commits::context(lab).endpoints;
    let root = lab.folder.path().join("agents");
    let tasks: Vec<_> = (0..ENROLLMENTS)
        .map(|task| {
            let (client, endpoints, root) = (Arc::clone(&client), endpoints.clone(), root.clone());
            tokio::spawn(async move {
                let mut folders = Vec::new();
                for number in (task..AGENTS).step_by(ENROLLMENTS) {
                    folders.push(enroll_one(&client, &endpoints, &root, number).await);
                }
                folders
            })
        })
        .collect();
    let mut folders = Vec::new();
    for task in tasks {
        folders.extend(task.await.expect("no task panics"));
    }
    folders
}

async fn enroll_one(client: &Client, endpoints: &[String], root: &Path, number: usize) -> PathBuf {
    let name = format!("idle-{number}");
    let folder = root.join(&name);
    dispatch::enroll(client, endpoints, EnrollOrder::Agent { name }, "agent", &folder).await;
    folder
}

/// One agent: dials until the runtime ends, and pings.
async fn serve(
    folder: PathBuf,
    coordinator: SocketAddr,
    attached: Arc<AtomicUsize>,
    dials: Arc<tokio::sync::Semaphore>,
) {
    let endpoint = endpoint(&folder);
    loop {
        session(&endpoint, coordinator, &attached, &dials).await;
        tokio::time::sleep(REDIAL_PAUSE).await;
    }
}

/// One session, until it ends.
async fn session(
    endpoint: &Endpoint,
    coordinator: SocketAddr,
    attached: &AtomicUsize,
    dials: &tokio::sync::Semaphore,
) {
    let dialing = dials.acquire().await.expect("it is never closed");
    let Some((mut sender, mut receiver)) = attach(endpoint, coordinator).await else { return };
    drop(dialing);
    attached.fetch_add(1, Ordering::Relaxed);
    let mut ping = tokio::time::interval(LEASE_PING.to_std());
    loop {
        tokio::select! {
            frame = receiver.next() => {
                if !matches!(frame, Ok(Some(_))) {
                    break;
                }
            }
            _ = ping.tick() => {
                let up = AgentUp::Ping { sent_ms: 0, refused: Default::default() };
                if sender.send(&up.to_frame()).await.is_err() {
                    break;
                }
            }
        }
    }
    attached.fetch_sub(1, Ordering::Relaxed);
}

/// Commits at a steady pace until it is asked to stop.
async fn write(client: Client, stop: Arc<AtomicBool>) {
    let mut pace = tokio::time::interval(Duration::from_millis(1000 / ENTRIES));
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        pace.tick().await;
        commit(&client, 0, number).await;
    }
}

fn coordinators(lab: &Lab) -> Vec<u32> {
    lab.parts()
        .into_iter()
        .filter(|part| part.role == "coordinator")
        .map(|part| part.pid.expect("it runs"))
        .collect()
}

fn memory(lab: &Lab) -> u64 {
    coordinators(lab).into_iter().map(resident_bytes).sum()
}

/// The cores that the coordinators use, on the average of a window.
fn cores(lab: &Lab) -> f64 {
    let pids = coordinators(lab);
    let used = || pids.iter().map(|pid| cpu_seconds(*pid)).sum::<f64>();
    let (begin, before) = (Instant::now(), used());
    std::thread::sleep(WINDOW);
    (used() - before) / begin.elapsed().as_secs_f64()
}

/// From the end of an agent's process to the list that shows it.
fn notice(lab: &Lab) -> Duration {
    let state = || {
        let list = lab.json(&["agent", "list"]);
        let agents = list["agents"].as_array().expect("a list");
        let found = agents.iter().find(|it| it["name"] == KILLED).expect("it is enrolled");
        found["state"].as_str().expect("a state").to_owned()
    };
    assert_eq!(state(), "connected");
    let begin = Instant::now();
    lab.kill(KILLED);
    until("the list shows that it is gone", NOTICE_MAX, || (state() != "connected").then_some(()));
    begin.elapsed()
}
