//! Many runners in one process, each with the certificate of an enrolled host and a session of its own: they take orders and
//! report as a runner does whose services do at once what they are asked.
//!
//! `trimaran-simulated-runners AGENT DATA [ping]`: the agent's address, and a directory with the data directory of each
//! runner. Prints `ready` when all have a session, and ends with its input. With `ping` each runner sends small messages all
//! the time; for each line of its input it prints for how many microseconds the agent left one unacknowledged at most since
//! the line before, and how late it inspected itself.
#![allow(clippy::disallowed_methods, reason = "runners read clocks and sleep")]

use std::collections::{BTreeMap, VecDeque};
use std::io::BufRead as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use trimaran_model::time::WallTime;
use trimaran_transport::files::{self, IdentityFiles};
use trimaran_transport::{
    Alpn, CertificateStore, Endpoint, EndpointConfig, EndpointLimits, FrameSender, Session, Trust, random,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::assignment::{WireHostAction, WireHostGoal, WireHostReport};
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::runner::{RunnerDown, RunnerUp};

/// Sockets; those of one dial one after the other.
const SOCKETS: usize = 8;
const SESSIONS_PER_SOCKET: usize = 16_384;
const REDIAL: Duration = Duration::from_millis(200);
/// A small message is sent so often, and its acknowledgement inspected for.
const PING: Duration = Duration::from_millis(10);
const INSPECTION: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (agent, data, pings) = match arguments.as_slice() {
        [agent, data] => (agent, data, false),
        [agent, data, ping] if ping == "ping" => (agent, data, true),
        _ => return usage(),
    };
    let Ok(agent) = agent.parse() else { return usage() };
    trimaran_transport::install_crypto_provider();
    let shared = Arc::new(Shared { agent, pings, ..Shared::default() });
    let runners = runners(Path::new(data));
    let count = runners.len();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let mut sockets: Vec<VecDeque<Runner>> = (0..SOCKETS.min(count)).map(|_| VecDeque::new()).collect();
    for (number, runner) in runners.into_iter().enumerate() {
        let socket = number % sockets.len();
        sockets[socket].push_back(runner);
    }
    for runners in sockets {
        runtime.spawn(serve_socket(runners, shared.clone()));
    }
    while shared.sessions.load(Ordering::Relaxed) < count {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("ready");
    for _ in std::io::stdin().lock().lines().map_while(Result::ok) {
        let take = |it: &AtomicU64| it.swap(0, Ordering::Relaxed);
        println!("{} {}", take(&shared.unacknowledged), take(&shared.late));
    }
    // Its sessions end with the process.
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: trimaran-simulated-runners AGENT DATA [ping]");
    ExitCode::from(2)
}

struct Shared {
    agent: SocketAddr,
    pings: bool,
    sessions: AtomicUsize,
    /// Microseconds, the largest since they were last taken.
    unacknowledged: AtomicU64,
    late: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            agent: SocketAddr::from(([127, 0, 0, 1], 0)),
            pings: false,
            sessions: AtomicUsize::new(0),
            unacknowledged: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }
}

struct Runner {
    files: IdentityFiles,
    incarnation: u64,
    reports: BTreeMap<(String, String), WireHostReport>,
}

fn runners(data: &Path) -> Vec<Runner> {
    let folders = std::fs::read_dir(data).expect("the directory of all runners");
    let mut folders: Vec<_> = folders.map(|it| it.expect("readable").path()).collect();
    folders.sort();
    let one = |folder: &std::path::PathBuf| Runner {
        files: files::load_identity(folder).expect("readable").expect("enrolled"),
        incarnation: random::next_u64() | 1,
        reports: BTreeMap::new(),
    };
    folders.iter().map(one).collect()
}

fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    WallTime(i64::try_from(since.as_millis()).expect("before the year 292 million"))
}

/// Dials for some runners one after the other, each with its own certificate, and again when a session ended.
async fn serve_socket(mut waiting: VecDeque<Runner>, shared: Arc<Shared>) {
    let files = &waiting.front().expect("a socket has runners").files;
    let store = CertificateStore::new(files).expect("an identity");
    let config = EndpointConfig {
        alpns: Vec::new(),
        trust: Some(Trust::from_pem(&files.ca).expect("a root")),
        store: store.clone(),
        clock: Arc::new(wall),
        revoked: Arc::new(|_| false),
        reset_key: None,
        limits: EndpointLimits { sessions_max: SESSIONS_PER_SOCKET, ..EndpointLimits::SERVER },
    };
    let endpoint = Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).expect("a socket");
    let (ended, mut back) = mpsc::unbounded_channel();
    loop {
        let Some(mut runner) = waiting.pop_front() else {
            waiting.push_back(back.recv().await.expect("this task has a sender"));
            continue;
        };
        store.replace(&runner.files).expect("an identity");
        let Ok(session) = endpoint.connect(shared.agent, Alpn::Runner).await else {
            tokio::time::sleep(REDIAL).await;
            waiting.push_back(runner);
            continue;
        };
        let (ended, shared) = (ended.clone(), shared.clone());
        tokio::spawn(async move {
            shared.sessions.fetch_add(1, Ordering::Relaxed);
            talk(&session, &mut runner, &shared).await;
            shared.sessions.fetch_sub(1, Ordering::Relaxed);
            tokio::time::sleep(REDIAL).await;
            // The socket's task ends with the process.
            drop(ended.send(runner));
        });
    }
}

/// Talks until the session is over.
async fn talk(session: &Session, runner: &mut Runner, shared: &Shared) {
    let Ok((mut sender, mut receiver)) = session.open_stream().await else { return };
    let hello = RunnerUp::Hello {
        incarnation: runner.incarnation,
        address: "127.0.0.1".to_owned(),
        reports: runner.reports.values().cloned().collect(),
        facts: BTreeMap::from([("os".to_owned(), "linux".to_owned())]),
    };
    if sender.send(&hello.to_frame()).await.is_err() {
        return;
    }
    if shared.pings {
        return ping(session, &mut sender, shared).await;
    }
    while let Ok(Some(frame)) = receiver.next().await {
        let Ok(RunnerDown::Goal { sequence, goal }) = RunnerDown::from_frame(&frame) else { continue };
        let answer = RunnerUp::Answer { sequence, refused: None };
        let reports = runner.obey(goal).into_iter().map(RunnerUp::Report);
        for message in [answer].into_iter().chain(reports) {
            if sender.send(&message.to_frame()).await.is_err() {
                return;
            }
        }
    }
}

/// Answers to an order that there was not: the agent acknowledges and ignores them.
async fn ping(session: &Session, sender: &mut FrameSender, shared: &Shared) {
    let message = RunnerUp::Answer { sequence: u64::MAX, refused: None }.to_frame();
    let mut sent = Instant::now();
    let mut inspected = Instant::now();
    while session.close_reason().is_none() {
        tokio::time::sleep(INSPECTION).await;
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        shared.late.fetch_max(micros(inspected.elapsed().saturating_sub(2 * INSPECTION)), Ordering::Relaxed);
        inspected = Instant::now();
        shared.unacknowledged.fetch_max(micros(session.silent_for()), Ordering::Relaxed);
        if sent.elapsed() >= PING {
            sent = Instant::now();
            if sender.send(&message).await.is_err() {
                return;
            }
        }
    }
}

impl Runner {
    /// What a host reports of an order whose steps end at once.
    fn obey(&mut self, goal: WireHostGoal) -> Vec<WireHostReport> {
        let WireInstallation { pipeline, target } = &goal.installation;
        let key = (pipeline.clone(), target.clone());
        let ran = self.reports.get(&key).and_then(|report| report.current);
        let report = |state: &str, current, disruptive| WireHostReport {
            installation: goal.installation.clone(),
            fence: goal.fence,
            assignment: goal.assignment,
            disruptive,
            state: state.to_owned(),
            current,
            prepared: None,
            code: None,
            message: String::new(),
            restarting: false,
        };
        let reports = match &goal.action {
            WireHostAction::Prepare { digest, .. } => {
                let state = if ran.is_some() { "healthy" } else { "prepared" };
                let ready = WireHostReport { prepared: Some(*digest), ..report(state, ran, false) };
                vec![report("preparing", ran, false), ready]
            }
            WireHostAction::Apply { digest, .. } | WireHostAction::Restore { digest, .. } => {
                let new = Some(*digest);
                let steps = [("updating", ran), ("updating", new), ("healthy", new)];
                steps.map(|(state, current)| report(state, current, true)).into()
            }
            WireHostAction::Stop { .. } => vec![report("stopped", ran, true)],
            WireHostAction::Verify | WireHostAction::Restart => vec![report("healthy", ran, true)],
        };
        self.reports.extend(reports.last().map(|last| (key, last.clone())));
        reports
    }
}
