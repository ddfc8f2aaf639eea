//! A runner whose program is an attacker's: with the identity of an enrolled host it says all it can to the host's agent, as
//! fast as it can, and prints how much that was.
//!
//! `trimaran-hostile-runner AGENT DATA SECONDS`: the agent's address and the host's data directory, whose own runner does not
//! run.
#![allow(clippy::disallowed_methods, reason = "an attacker reads clocks and sleeps")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trimaran_model::time::WallTime;
use trimaran_transport::files;
use trimaran_transport::{
    Alpn, CertificateStore, Endpoint, EndpointConfig, EndpointLimits, Session, Trust, random,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::assignment::{WireFailure, WireHostReport};
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::runner::RunnerUp;

/// Reports of a hello are fewer: they fit into one frame.
const HELLO_REPORTS: u64 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [agent, data, seconds] = arguments.as_slice() else { return usage() };
    let (Ok(agent), Ok(seconds)) = (agent.parse(), seconds.parse()) else { return usage() };
    trimaran_transport::install_crypto_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let until = Instant::now() + Duration::from_secs(seconds);
    let (messages, sessions) = runtime.block_on(Attack { agent, data: data.into(), until }.run());
    println!("{messages} {sessions}");
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("usage: trimaran-hostile-runner AGENT DATA SECONDS");
    ExitCode::from(2)
}

struct Attack {
    agent: SocketAddr,
    data: PathBuf,
    until: Instant,
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    WallTime(i64::try_from(since.as_millis()).expect("before the year 292 million"))
}

impl Attack {
    fn endpoint(&self) -> Endpoint {
        let files = files::load_identity(&self.data).expect("readable").expect("enrolled");
        let config = EndpointConfig {
            alpns: Vec::new(),
            trust: Some(Trust::from_pem(&files.ca).expect("a root")),
            store: CertificateStore::new(&files).expect("an identity"),
            clock: Arc::new(now),
            revoked: Arc::new(|_| false),
            reset_key: None,
            limits: EndpointLimits::CLIENT,
        };
        Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).expect("a socket")
    }

    /// The number of messages and of sessions.
    async fn run(self) -> (u64, u64) {
        let endpoint = self.endpoint();
        let (mut messages, mut sessions) = (0, 0);
        while Instant::now() < self.until {
            match endpoint.connect(self.agent, Alpn::Runner).await {
                Ok(session) => {
                    sessions += 1;
                    messages += self.talk(&session, 1_000_000 + sessions).await;
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        (messages, sessions)
    }

    /// Talks until the session or the time is over.
    async fn talk(&self, session: &Session, incarnation: u64) -> u64 {
        let Ok((mut sender, _receiver)) = session.open_stream().await else { return 0 };
        let hello = RunnerUp::Hello {
            incarnation,
            address: "127.0.0.1".to_owned(),
            reports: (0..random::next_u64() % HELLO_REPORTS).map(|_| report()).collect(),
            facts: BTreeMap::from([("zone".to_owned(), "nowhere".to_owned())]),
        };
        let mut messages = 0;
        let mut alive = sender.send(&hello.to_frame()).await.is_ok();
        while alive && Instant::now() < self.until {
            // A message that the agent does not read ends with the time.
            let message = message().to_frame();
            let done = tokio::time::timeout_at(self.until.into(), sender.send(&message));
            alive = matches!(done.await, Ok(Ok(())));
            messages += u64::from(alive);
        }
        messages
    }
}

/// A report, now and then an answer to an order that there was not.
fn message() -> RunnerUp {
    let dice = random::next_u64();
    if !dice.is_multiple_of(8) {
        return RunnerUp::Report(report());
    }
    let refused = WireFailure {
        code: "host_internal".to_owned(),
        message: "x".repeat(2000),
        instance: Some("host-2".to_owned()),
    };
    RunnerUp::Answer { sequence: dice % 1024, refused: dice.is_multiple_of(16).then_some(refused) }
}

/// A bad report of the service on its targets, or of one that there is not: any fence, release, state and step.
fn report() -> WireHostReport {
    let dice = random::next_u64();
    let pipeline = if dice.is_multiple_of(4) { "web".to_owned() } else { format!("app-{}", dice >> 16) };
    let target = if dice.is_multiple_of(3) { "lab-staging" } else { "lab-prod" };
    let states = ["degraded", "healthy", "updating", "prepared", "reverted", "refused", "broken", "stopped"];
    let state = states[usize::try_from(dice >> 32).unwrap_or(0) % states.len()];
    WireHostReport {
        installation: WireInstallation { pipeline, target: target.to_owned() },
        fence: if dice.is_multiple_of(5) { u64::MAX } else { dice },
        assignment: dice,
        disruptive: dice.is_multiple_of(2),
        state: state.to_owned(),
        current: Some(random::bytes()),
        prepared: dice.is_multiple_of(7).then(random::bytes),
        code: Some("process_exited".to_owned()),
        message: "x".repeat(2000),
        restarting: dice.is_multiple_of(11),
    }
}
