//! A runner whose program is an attacker's: what it invents moves nothing but its own session.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trimaran_e2e::lab::{Lab, resident_bytes};
use trimaran_e2e::web::{Shape, Web};
use trimaran_model::time::WallTime;
use trimaran_test_support::wait::until;
use trimaran_transport::files;
use trimaran_transport::{Alpn, CertificateStore, Endpoint, EndpointConfig, EndpointLimits, Trust, random};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::assignment::WireHostReport;
use trimaran_wire::v1::common::WireInstallation;
use trimaran_wire::v1::runner::RunnerUp;

/// What the attacker says, and how often its session was closed for it.
struct Attack {
    address: SocketAddr,
    data: PathBuf,
    until: Instant,
}

impl Attack {
    fn endpoint(&self) -> Endpoint {
        let files = files::load_identity(&self.data).expect("readable").expect("enrolled");
        let config = EndpointConfig {
            alpns: Vec::new(),
            trust: Some(Trust::from_pem(&files.ca).expect("a root")),
            store: CertificateStore::new(&files).expect("an identity"),
            clock: Arc::new(|| WallTime(jiff::Timestamp::now().as_millisecond())),
            revoked: Arc::new(|_| false),
            reset_key: None,
            limits: EndpointLimits::CLIENT,
        };
        Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config).expect("a socket")
    }

    /// Says all it can until its time is over; the number of messages and of sessions.
    async fn run(self) -> (u64, u64) {
        let endpoint = self.endpoint();
        let (mut messages, mut sessions) = (0, 0);
        while Instant::now() < self.until {
            let Ok(session) = endpoint.connect(self.address, Alpn::Runner).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            sessions += 1;
            let Ok((mut sender, _receiver)) = session.open_stream().await else { continue };
            let hello = RunnerUp::Hello {
                incarnation: 1_000_000 + sessions,
                address: "127.0.0.1".to_owned(),
                reports: Vec::new(),
                facts: BTreeMap::from([("zone".to_owned(), "nowhere".to_owned())]),
            };
            let mut alive = sender.send(&hello.to_frame()).await.is_ok();
            while alive && Instant::now() < self.until {
                let report = RunnerUp::Report(invented()).to_frame();
                // One that the agent does not read ends with the time.
                let sent = tokio::time::timeout_at(self.until.into(), sender.send(&report));
                alive = matches!(sent.await, Ok(Ok(())));
                messages += u64::from(alive);
            }
        }
        (messages, sessions)
    }
}

/// A bad report of the service on its targets, or of one that there is not, under any fence.
fn invented() -> WireHostReport {
    let dice = random::next_u64();
    let pipeline = if dice.is_multiple_of(4) { "web".to_owned() } else { format!("app-{}", dice >> 16) };
    let target = if dice.is_multiple_of(3) { "lab-staging" } else { "lab-prod" };
    let state = if dice.is_multiple_of(2) { "degraded" } else { "healthy" };
    WireHostReport {
        installation: WireInstallation { pipeline, target: target.to_owned() },
        fence: if dice.is_multiple_of(5) { u64::MAX } else { dice },
        assignment: dice,
        disruptive: true,
        state: state.to_owned(),
        current: Some(random::bytes()),
        prepared: None,
        code: Some("process_exited".to_owned()),
        message: "x".repeat(2000),
        restarting: false,
    }
}

#[test]
fn a_runner_that_invents_everything_at_full_speed_moves_nothing_but_its_own_session() {
    let lab = Lab::fresh(4);
    let shape = Shape { bake: "5m", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    lab.ok(&["runner", "cordon", "host-4", "--yes"]);
    until("it is out of its target", Duration::from_secs(10), || {
        let status = lab.json(&["status", "web"]);
        let list = status["installations"].as_array().cloned()?;
        list.iter().any(|it| it["environment"] == "prod" && it["members"] == 2).then_some(())
    });
    lab.kill("host-4");

    let agent = lab.part("lab");
    let pid = agent.pid.expect("it runs");
    let before = resident_bytes(pid);
    let attack = Attack {
        address: agent.address.parse().expect("an address"),
        data: lab.part("host-4").data_dir,
        until: Instant::now() + Duration::from_secs(15),
    };
    let attacker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(attack.run())
    });
    // The deploy of the others goes its way meanwhile.
    web.deploy_until(&lab, "v2", "succeeded");
    let (messages, sessions) = attacker.join().expect("it ends");
    assert!(messages > 1000 && sessions > 0, "{messages} messages in {sessions} sessions");
    let grown = resident_bytes(pid).saturating_sub(before);
    assert!(grown <= 16 << 20, "the agent took {grown} bytes for {messages} messages");

    let status = lab.json(&["status"]);
    let list = status["installations"].as_array().expect("a list");
    assert_eq!(list.len(), 2, "nothing was invented: {status:#}");
    for it in list {
        assert_eq!((&it["version"], &it["health"]), (&"v2".into(), &"healthy".into()), "{it:#}");
    }
    let runs = lab.json(&["run", "list"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(2), "nothing was rolled back: {runs:#}");
}
