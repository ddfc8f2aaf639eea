//! A runner's process is killed with SIGKILL at each persist and call while an agent sends it goals over a real
//! session, and started again. Certificates are made here: no coordinator takes part.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trimaran_model::assignment::{HostAction, HostGoal, HostOrder, HostReport, HostState};
use trimaran_model::id::{Digest, Fence, Identity};
use trimaran_model::limits::LEAF_TTL;
use trimaran_model::time::WallTime;
use trimaran_transport::authority::{Authority, Issuer};
use trimaran_transport::enroll::{Csr, make_key_and_csr};
use trimaran_transport::files::{IdentityFiles, save_identity};
use trimaran_transport::{Alpn, CertificateStore, Endpoint, EndpointConfig, EndpointLimits, Session, Trust};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::runner::{RunnerDown, RunnerUp};

use crate::host::{goal, order};
use crate::kill::kill_everywhere;
use crate::lab::{Lab, agent, run};

const LIMIT: Duration = Duration::from_secs(60);

/// The agent's side: an endpoint that runners reach, and the goals that it sends.
pub(crate) struct Fleet {
    authority: Authority,
    issuer: Issuer,
    address: String,
    pub(crate) endpoint: Endpoint,
    /// The agent's public key.
    pub(crate) key: Digest,
    goals: Vec<HostGoal>,
}

pub(crate) fn now() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    WallTime(i64::try_from(since.as_millis()).expect("before the year 292 million"))
}

fn files(authority: &Authority, issuer: &Issuer, identity: &Identity) -> IdentityFiles {
    let (key, csr) = make_key_and_csr("any").expect("a key");
    let csr = Csr::parse(&csr).expect("a request");
    let issued = issuer.issue(identity, &csr, now(), LEAF_TTL).expect("a leaf");
    IdentityFiles { cert: issued.pem(), key, ca: authority.certificate_pem() }
}

/// An agent `lab` that listens for runners.
fn agent_endpoint(authority: &Authority, issuer: &Issuer, address: &str) -> (Endpoint, Digest) {
    let own = files(authority, issuer, &Identity::Agent("lab".parse().expect("a name")));
    let store = CertificateStore::new(&own).expect("an identity");
    let key = store.info().expect("a certificate").spki;
    let config = EndpointConfig {
        alpns: vec![Alpn::Runner],
        trust: Some(Trust::from_pem(&own.ca).expect("the root")),
        store,
        clock: Arc::new(now),
        revoked: Arc::new(|_| false),
        reset_key: None,
        limits: EndpointLimits::SERVER,
    };
    let local = SocketAddr::new(address.parse().expect("an address"), 0);
    (Endpoint::bind(local, config).expect("a free port"), key)
}

impl Fleet {
    /// Makes an authority, an agent that listens, and the identity of the lab's host.
    pub(crate) fn new(lab: &Lab, goals: Vec<HostGoal>) -> Self {
        trimaran_transport::install_crypto_provider();
        let authority = Authority::new_root("lab", now()).expect("a root");
        let issuer = authority.new_issuer(&"c1".parse().expect("a name"), 0, now()).expect("an issuer");
        std::fs::create_dir_all(lab.data()).expect("a directory");
        let host = Identity::Runner("host-1".parse().expect("a name"));
        save_identity(&lab.data(), &files(&authority, &issuer, &host)).expect("an identity is saved");
        let (endpoint, key) = agent_endpoint(&authority, &issuer, &lab.address);
        Self { authority, issuer, address: lab.address.clone(), endpoint, key, goals }
    }

    /// Another coordinator signs from now on. The keys of the one before and of this one.
    pub(crate) fn replace_issuer(&mut self) -> [Digest; 2] {
        let next = self.authority.new_issuer(&"c2".parse().expect("a name"), 0, now()).expect("an issuer");
        let before = std::mem::replace(&mut self.issuer, next);
        [before.key_digest(), self.issuer.key_digest()]
    }

    /// Another process is enrolled as the same agent, with a key of its own.
    pub(crate) fn succeed(&mut self) {
        (self.endpoint, self.key) = agent_endpoint(&self.authority, &self.issuer, &self.address);
    }

    fn address(&self) -> SocketAddr {
        self.endpoint.local_address().expect("bound")
    }

    /// Serves one session after the other until the last goal has come to an end.
    async fn serve(&self) -> HostReport {
        let next = || async { self.endpoint.accept().await.expect("the endpoint is open") };
        let mut session = next().await;
        loop {
            session = tokio::select! {
                report = self.talk(&session) => match report {
                    Some(report) => return report,
                    None => next().await,
                },
                // A process that was killed does not say goodbye: its next process ends the session.
                later = next() => later,
            };
        }
    }

    /// Sends each goal when it is next; `None` when the session ends.
    async fn talk(&self, session: &Session) -> Option<HostReport> {
        let (mut sender, mut receiver) = session.accept_stream().await.ok()?;
        let mut given = None;
        let mut sequence = 0;
        loop {
            let frame = receiver.next().await.ok()??;
            let report = match RunnerUp::from_frame(&frame).expect("the runner speaks this version") {
                RunnerUp::Hello { reports, .. } => {
                    let welcome = RunnerDown::Welcome {
                        labels: Default::default(),
                        wall_ms: Some(now().0),
                        epoch: 0,
                        incarnation: 0,
                    };
                    sender.send(&welcome.to_frame()).await.ok()?;
                    reports.into_iter().next()
                }
                RunnerUp::Report(report) => Some(report),
                RunnerUp::Answer { refused, .. } => {
                    assert_eq!(refused, None, "each goal is taken");
                    continue;
                }
            };
            let report = report.map(|report| HostReport::try_from(report).expect("a report"));
            let place = report.as_ref().map_or(Some(0), |report| self.next_after(report));
            match (place.map(|place| (place, self.goals.get(place))), report) {
                (Some((_, None)), Some(report)) => return Some(report),
                (Some((place, Some(goal))), _) if given != Some(place) => {
                    given = Some(place);
                    sequence += 1;
                    let message = RunnerDown::Goal { sequence, goal: goal.into() };
                    sender.send(&message.to_frame()).await.ok()?;
                }
                _ => {}
            }
        }
    }

    /// The goal that is next when the host reports this; `None` while it works.
    fn next_after(&self, report: &HostReport) -> Option<usize> {
        let identity = self
            .goals
            .iter()
            .rposition(|goal| goal.fence == report.fence && goal.action.is_disruptive() == report.disruptive);
        let place = identity.expect("it reports its identity");
        let prepared = matches!(&self.goals[place].action, HostAction::Prepare(order)
            if report.prepared == Some(order.digest));
        let ended = match report.state {
            HostState::Preparing | HostState::Updating | HostState::Empty => false,
            // A service that was killed with its watcher is healthy again a moment later.
            HostState::Degraded => false,
            _ => !matches!(self.goals[place].action, HostAction::Prepare(_)) || prepared,
        };
        ended.then_some(place + 1)
    }
}

/// The real process in its role.
pub(crate) fn runner(lab: &Lab, agent_at: SocketAddr, failpoint: Option<u32>) -> Child {
    let mut command = Command::new(agent());
    command.args(["run", "--role", "runner", "--name", "host-1", "--data-dir"]).arg(lab.data());
    command.args(["--endpoint", &agent_at.to_string(), "--address", &lab.address]);
    if let Some(n) = failpoint {
        command.env("TRIMARAN_FAILPOINT", n.to_string());
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the runner starts")
}

/// v1, then v2 prepared and applied, with a kill at failpoint `n`. False when all ended before the kill.
fn play(v2: &str, state: HostState, survivor: &str, n: u32) -> bool {
    let lab = Lab::new();
    let apply = |order: &HostOrder| HostAction::Apply(order.clone());
    let (first, second) = (order(&lab, "web", "v1", "good"), order(&lab, "web", "v2", v2));
    let goals = vec![
        goal("web", 1, apply(&first)),
        goal("web", 2, HostAction::Prepare(second.clone())),
        goal("web", 2, apply(&second)),
    ];
    let mut killed = false;
    run(async {
        let fleet = Fleet::new(&lab, goals);
        let mut process = runner(&lab, fleet.address(), Some(n));
        let mut served = std::pin::pin!(fleet.serve());
        let deadline = Instant::now() + LIMIT;
        let report = loop {
            // The process is checked again and again: its end is no event of the session alone.
            match tokio::time::timeout(Duration::from_millis(20), &mut served).await {
                Ok(report) => break report,
                Err(_) if process.try_wait().expect("a child").is_some() => {
                    assert!(!killed, "kill {n}: it ended a second time");
                    killed = true;
                    process = runner(&lab, fleet.address(), None);
                }
                Err(_) => assert!(Instant::now() < deadline, "kill {n}: not at an end within {LIMIT:?}"),
            }
        };
        assert_eq!((report.fence, report.state), (Fence(2), state), "kill {n}: {}", report.message);
        // What follows the last report is tidied up before the process is asked to end.
        crate::lab::until("nothing temporary is left", || lab.leftovers().is_empty().then_some(()));
        let asked = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
        assert!(asked.expect("kill runs").success());
        killed |= !process.wait().expect("a child").success();
    });
    lab.check(survivor, &format!("kill {n}"));
    if state == HostState::Healthy {
        let starts = lab.starts();
        assert_eq!((starts["v1"], starts["v2"]), (1, 1), "kill {n}: each was started once");
    }
    killed
}

#[test]
fn a_runner_brings_a_good_release_whenever_it_is_killed() {
    kill_everywhere(|n| play("good", HostState::Healthy, "v2", n));
}

#[test]
fn a_runner_goes_back_from_a_bad_release_whenever_it_is_killed() {
    kill_everywhere(|n| play("exit", HostState::Reverted, "v1", n));
}

#[test]
fn services_start_again_at_boot_before_any_name_is_resolved() {
    let lab = Lab::new();
    run(async { drop(Fleet::new(&lab, Vec::new())) });
    lab.apply(&lab.spec("v1", "good"), 0);
    assert_eq!(lab.run(&["stop-all"]).status.code(), Some(0));
    let mut command = Command::new(agent());
    command.args(["run", "--role", "runner", "--name", "host-1", "--data-dir"]).arg(lab.data());
    command.args(["--endpoint", "no-such-agent.invalid:7800"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = command.spawn().expect("the runner starts");
    crate::lab::until("v1 runs again", || (lab.alive() == ["v1"]).then_some(()));
    assert!(process.try_wait().expect("a child").is_none(), "the runner waits for its agent");
    let asked = Command::new("kill").args(["-TERM", &process.id().to_string()]).status();
    assert!(asked.expect("kill runs").success());
    assert!(process.wait().expect("a child").success());
    lab.check("v1", "after the boot");
}
