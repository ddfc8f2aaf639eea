//! How fast the scheduler gives orders: runs of one stage whose agent does nothing and says that it is done.
//!
//! The agent speaks the real protocol over a real session; only its hosts are missing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use trimaran_client::client::Client;
use trimaran_client::enroll;
use trimaran_e2e::lab::Lab;
use trimaran_model::limits::LEASE_PING;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{AgentDown, AgentUp, Progress};
use trimaran_wire::v1::assignment::{WireAssignment, WireOutcome};
use trimaran_wire::v1::operator::{ArtifactVersion, DeployRequest, EnrollOrder, OperatorBody, SourceFile};

use crate::report::{Report, percentile, time};
use crate::{attaching, commits};

const PIPELINES: usize = 64;
/// Clients of the steady pace, each of which starts one run a second.
const PACED: usize = 100;
const LENGTH: Duration = Duration::from_secs(8);
const AGENT: &str = "noop";

/// When each run's first order arrived, and how many ended.
#[derive(Default)]
struct Seen {
    started: BTreeMap<String, Instant>,
    waiting: BTreeMap<String, oneshot::Sender<Instant>>,
    ended: usize,
}

pub(crate) fn run(report: &mut Report) {
    let lab = Lab::fresh(1);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let seen = Arc::new(Mutex::new(Seen::default()));
    runtime.block_on(async {
        let client = commits::client(&lab);
        prepare(&lab, &client).await;
        let agent = tokio::spawn(serve(lab.folder.path().join(AGENT), address(&lab), Arc::clone(&seen)));
        for clients in [1, PIPELINES] {
            let (rate, times) = deploys(&lab, &seen, clients, None).await;
            let plural = if clients == 1 { "" } else { "s" };
            let what = format!("no-op stages dispatched, {clients} client{plural}");
            report.add(what, format!("{rate:.0} /s"), words(times));
        }
        let (rate, times) = deploys(&lab, &seen, PACED, Some(Duration::from_secs(1))).await;
        report.add("no-op stages dispatched at a steady pace", format!("{rate:.0} /s"), words(times));
        agent.abort();
    });
}

fn words(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let (half, most) = (time(percentile(&times, 50)), time(percentile(&times, 99)));
    format!("start to the agent's order: p50 {half}, p99 {most}")
}

pub(crate) fn address(lab: &Lab) -> SocketAddr {
    lab.part("c1").address.parse().expect("an address")
}

pub(crate) async fn request(client: &Client, body: OperatorBody) -> serde_json::Value {
    let id = uuid::Uuid::now_v7().into_bytes();
    let (_, json) = client.request(Some(id), body).await.expect("the coordinator answers");
    serde_json::from_str(&json).expect("JSON")
}

/// Targets, an agent without hosts of its own, and one enrolled runner that gives the targets a host.
async fn prepare(lab: &Lab, client: &Client) {
    let mut text = String::new();
    for number in 0..PACED {
        text.push_str(&format!(
            "---\ntrimaran: v1\ntarget: noop-{number}\nagent: {AGENT}\nclass: staging\nhosts: {{ select: {{ group: noop }} }}\n"
        ));
    }
    let file = SourceFile { name: "targets.yaml".to_owned(), text: text.into_bytes() };
    request(client, OperatorBody::Apply { files: vec![file] }).await;
    enroll_agent_with_host(client, lab, AGENT, "noop-host", "noop").await;
}

/// Enrolls an agent, and one host of it whose label `group` is this one. Each has a folder of its name in the lab's.
pub(crate) async fn enroll_agent_with_host(client: &Client, lab: &Lab, agent: &str, host: &str, group: &str) {
    let (coordinators, folder) = ([address(lab).to_string()], lab.folder.path());
    let order = EnrollOrder::Agent { name: agent.to_owned() };
    enroll(client, &coordinators, order, "agent", &folder.join(agent)).await;
    let order = runner(host, agent, group);
    enroll(client, &coordinators, order, "runner", &folder.join(host)).await;
}

/// One host whose label `group` is this one.
pub(crate) fn runner(name: &str, agent: &str, group: &str) -> EnrollOrder {
    let labels = BTreeMap::from([("group".to_owned(), group.to_owned())]);
    EnrollOrder::Runner { name: name.to_owned(), agent: agent.to_owned(), labels }
}

/// Enrolls one machine, whose identity is in `folder` then.
pub(crate) async fn enroll(
    client: &Client,
    coordinators: &[String],
    order: EnrollOrder,
    role: &str,
    folder: &Path,
) {
    let token = make_token(client, order).await;
    std::fs::create_dir_all(folder).expect("a folder");
    enroll::enroll(coordinators, &token, role, folder).await.expect("enrolled");
}

pub(crate) async fn make_token(client: &Client, order: EnrollOrder) -> String {
    client.enroll(uuid::Uuid::now_v7().into_bytes(), order).await.expect("a token").token
}

/// An agent that is done as soon as it is asked.
async fn serve(folder: PathBuf, coordinator: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let endpoint = attaching::endpoint(&folder);
    let (mut sender, mut receiver) =
        attaching::attach(&endpoint, coordinator).await.expect("the coordinator takes it");
    let mut ping = tokio::time::interval(LEASE_PING.to_std());
    loop {
        let up = tokio::select! {
            frame = receiver.next() => {
                let Ok(Some(frame)) = frame else { return };
                match AgentDown::from_frame(&frame).expect("a message") {
                    AgentDown::Assign(order) => done(order, &seen),
                    _ => continue,
                }
            }
            _ = ping.tick() => AgentUp::Ping { sent_ms: 0, refused: Default::default() },
        };
        sender.send(&up.to_frame()).await.expect("sent");
    }
}

fn done(order: WireAssignment, seen: &Mutex<Seen>) -> AgentUp {
    let run = format!("{}#{}", order.run.pipeline, order.run.number);
    let mut seen = seen.lock().expect("no thread panics with the lock");
    match seen.waiting.remove(&run) {
        // The client is gone when its time is over.
        Some(waits) => drop(waits.send(Instant::now())),
        None => drop(seen.started.insert(run, Instant::now())),
    }
    seen.ended += 1;
    let (assignment, fence) = (order.id, order.fence);
    let progress = Progress {
        assignment,
        fence,
        done: 1,
        total: 1,
        failed: Vec::new(),
        lost: Vec::new(),
        failure: None,
        instances: Vec::new(),
    };
    AgentUp::Result { assignment, fence, outcome: WireOutcome::Done, progress }
}

/// Starts runs from `clients` clients, each on a pipeline of its own and at its `pace` or as fast as it can;
/// stages a second and the time from the request to the agent's order.
async fn deploys(
    lab: &Lab,
    seen: &Arc<Mutex<Seen>>,
    clients: usize,
    pace: Option<Duration>,
) -> (f64, Vec<Duration>) {
    let before = seen.lock().expect("no thread panics with the lock").ended;
    let begin = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|number| {
            let (client, seen) = (commits::client(lab), Arc::clone(seen));
            tokio::spawn(async move {
                let mut times = Vec::new();
                if let Some(pace) = pace {
                    tokio::time::sleep(pace.mul_f64(number as f64 / clients as f64)).await;
                }
                for version in 0.. {
                    if begin.elapsed() > LENGTH {
                        break;
                    }
                    let next = pace.map(|pace| tokio::time::Instant::now() + pace);
                    let sent = Instant::now();
                    let shown = request(&client, OperatorBody::Deploy(order(clients, number, version))).await;
                    let run = shown["run"].as_str().expect("a name").to_owned();
                    times.push(arrival(&seen, run).await.duration_since(sent));
                    if let Some(next) = next {
                        tokio::time::sleep_until(next).await;
                    }
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("no task panics"));
    }
    let ended = seen.lock().expect("no thread panics with the lock").ended - before;
    (ended as f64 / begin.elapsed().as_secs_f64(), times)
}

/// When the agent had the run's order.
async fn arrival(seen: &Mutex<Seen>, run: String) -> Instant {
    let (waits, arrived) = oneshot::channel();
    {
        let mut seen = seen.lock().expect("no thread panics with the lock");
        if let Some(at) = seen.started.remove(&run) {
            return at;
        }
        seen.waiting.insert(run, waits);
    }
    arrived.await.expect("the agent runs as long as the clients")
}

fn order(clients: usize, number: usize, version: u32) -> DeployRequest {
    order_of(&format!("noop-{clients}-{number}"), &format!("noop-{number}"), version)
}

/// A deploy of a pipeline of one stage on this target.
pub(crate) fn order_of(pipeline: &str, target: &str, version: u32) -> DeployRequest {
    let text = format!(
        "\
trimaran: v1
pipeline: {pipeline}
owner: bench
artifacts:
  bundle: {{ path: \"/srv/noop-{{version}}.tar\" }}
workload:
  host:
    unpack: bundle
    process: {{ command: [bin/noop] }}
    health: {{ http: \":80/\" }}
environments:
  - name: staging
    targets: [{target}]
    strategy: {{ batches: {{ sizes: [100%] }} }}
"
    );
    let artifact = ArtifactVersion { version: format!("v{version}"), sha256: Some([7; 32]) };
    DeployRequest {
        pipeline: None,
        file: Some(SourceFile { name: "noop.yaml".to_owned(), text: text.into_bytes() }),
        artifacts: BTreeMap::from([("bundle".to_owned(), artifact)]),
        manifests: None,
        files: None,
        plan_digest: None,
        overrides: Vec::new(),
        reason: String::new(),
    }
}
