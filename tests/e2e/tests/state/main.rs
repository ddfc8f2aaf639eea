//! Agents that keep their state in Secrets, as processes with an empty PATH: a lost one with its directory, a second one beside
//! the first, one that stands still, and an API server that does. What they deploy to are hosts; the API server is a small one.
//!
//! Not here: a real cluster and its rights (`tests/kubernetes/state.rs`).
#![allow(clippy::disallowed_methods, reason = "a test of processes starts processes and reads clocks")]

mod server;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive};
use trimaran_e2e::process::Process;
use trimaran_e2e::web::{Shape, Web, stage_in_flight, stages, starts};
use trimaran_test_support::wait::until;

use server::Server;

const SECRET: &str = "/api/v1/namespaces/agents/secrets/lab";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/agents/leases/lab";
/// How long a Lease that is not renewed is good for, and a margin for the process that waits.
const TAKE_OVER: Duration = Duration::from_secs(45);

/// The lab's agent, with its state elsewhere.
struct Agent<'a> {
    lab: &'a Lab,
    server: Server,
    kubeconfig: PathBuf,
    token: PathBuf,
    /// The incarnation that dev has started.
    of_dev: Value,
}

impl<'a> Agent<'a> {
    /// Ends the one that dev has started.
    fn new(lab: &'a Lab) -> Self {
        let of_dev = incarnation(lab).expect("dev is ready when its agent is connected");
        lab.kill("lab");
        let server = Server::start();
        let kubeconfig = server.write_kubeconfig(lab.folder.path());
        let token = lab.json(&["agent", "enroll", "lab"])["token"].as_str().expect("a token").to_owned();
        let file = lab.folder.path().join("token");
        std::fs::write(&file, token).expect("a file");
        Self { lab, server, kubeconfig, token: file, of_dev }
    }

    /// Starts a process with an empty directory.
    fn start(&self, process: &str, more: &[&str]) -> Process {
        self.start_at(process, None, more)
    }

    /// As [`Agent::start`], at another address for runners than the lab's.
    fn start_at(&self, process: &str, listen: Option<&str>, more: &[&str]) -> Process {
        let data_dir = self.lab.folder.path().join(process);
        let log = self.lab.folder.path().join(format!("{process}.log"));
        let mut argv = self.lab.part("lab").argv;
        let mut replace = |flag: &str, value: String| {
            let at = argv.iter().position(|word| word == flag).expect("it has this flag");
            argv[at + 1] = value;
        };
        replace("--data-dir", data_dir.display().to_string());
        if let Some(listen) = listen {
            replace("--listen", listen.to_owned());
        }
        let mut command = Command::new(&argv[0]);
        command.env_clear().env("PATH", "").args(&argv[1..]).args(["--state", "secret:agents/lab"]);
        command.arg("--state-kubeconfig").arg(&self.kubeconfig).args(more);
        Process::start(command, data_dir, log)
    }

    /// With the token of its enrolment.
    fn start_first(&self) -> Process {
        self.start("first", &["--token-file", &self.token.display().to_string()])
    }

    /// Waits until it is connected, as another incarnation than this one; which it is then.
    fn connected(&self, before: &Value, limit: Duration) -> Value {
        until("the agent is connected", limit, || {
            incarnation(self.lab).filter(|incarnation| incarnation != before)
        })
    }

    fn holder(&self) -> Value {
        self.server.object(LEASE)["spec"]["holderIdentity"].clone()
    }
}

/// The incarnation of the lab's agent, while it is connected.
fn incarnation(lab: &Lab) -> Option<Value> {
    let list = lab.json(&["agent", "list"]);
    let it = list["agents"].as_array()?.iter().find(|it| it["name"] == "lab")?;
    (it["state"] == "connected").then(|| it["incarnation"].clone())
}

/// Begins a deploy, and waits until a host of it is in flight.
fn begin(lab: &Lab, web: &Web, version: &str) -> String {
    let run = web.deploy(lab, version);
    lab.wait_run(&run, "a host is in flight", Duration::from_secs(60), |shown| {
        stages(shown).any(stage_in_flight).then_some(())
    });
    run
}

/// The run succeeded, and each host started its version once, in the first attempt.
fn finished(lab: &Lab, run: &str, version: &str) {
    let shown = lab.wait_finished(run, Duration::from_secs(120));
    assert_eq!(shown["status"], "succeeded", "{shown:#}");
    assert!(stages(&shown).all(|stage| stage["attempt"] == 1), "{shown:#}");
    let started: Vec<_> = starts(lab).into_iter().filter(|it| it.version == version).collect();
    assert_eq!(started.len(), usize::from(lab.hosts()), "{started:?}");
    assert!(started.iter().all(|it| it.attempt == "1"), "{started:?}");
}

const VERSIONS: &[(&str, &str)] = &[("v1", "good"), ("v2", "good"), ("v3", "good")];

fn web(lab: &Lab) -> Web {
    // A host takes its time, so that a deploy has a middle.
    Web::new(lab, Shape { min_healthy: "2s", ..Shape::default() }, VERSIONS)
}

#[test]
fn a_process_that_is_lost_with_its_directory_is_followed_in_the_same_attempt() {
    let lab = Lab::fresh(3);
    let agent = Agent::new(&lab);
    let mut first = agent.start_first();
    let incarnation = agent.connected(&agent.of_dev, Duration::from_secs(60));
    let web = web(&lab);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = begin(&lab, &web, "v2");
    first.signal("KILL");
    first.ended(Duration::from_secs(10));
    std::fs::remove_dir_all(&first.data_dir).expect("it is there");
    // Without a token: who it is stands in the Secret.
    let mut second = agent.start("second", &[]);
    let next = agent.connected(&incarnation, TAKE_OVER);
    finished(&lab, &run, "v2");
    let log = second.log();
    assert!(log.contains("is held by") && log.contains("start=2"), "{log}");

    let key = agent.server.object(SECRET)["data"]["key.pem"].as_str().expect("the key is kept").to_owned();
    assert!(!second.data_dir.join("identity").exists() && !second.data_dir.join("journal").exists());
    assert!(![first.log(), log].iter().any(|log| log.contains(&key) || log.contains("PRIVATE KEY")));

    // Ended as a pod is, it leaves the Lease to the next one at once.
    second.signal("TERM");
    assert_eq!(second.ended(Duration::from_secs(20)).code(), Some(0), "{}", second.log());
    assert!(agent.holder().is_null(), "{}", agent.holder());
    let began = Instant::now();
    let third = agent.start("third", &[]);
    third.wait_log("is held holder=", Duration::from_secs(10));
    assert!(began.elapsed() < Duration::from_secs(10) && !third.log().contains("is held by"));
    agent.connected(&next, Duration::from_secs(30));
    web.deploy_until(&lab, "v3", "succeeded");
}

#[test]
fn a_second_process_waits_and_one_that_stood_still_ends() {
    let lab = Lab::fresh(1);
    let agent = Agent::new(&lab);
    let mut first = agent.start_first();
    let incarnation = agent.connected(&agent.of_dev, Duration::from_secs(60));
    let holder = agent.holder();
    // The first one's address is its own as long as it is there.
    let second = agent.start_at("second", Some("127.0.0.1:0"), &[]);
    second.wait_log("is held by", Duration::from_secs(20));
    // For longer than a Lease that is not renewed.
    std::thread::sleep(Duration::from_secs(20));
    assert_eq!(agent.holder(), holder);
    assert_eq!(agent.connected(&Value::Null, Duration::ZERO), incarnation);
    assert!(!second.log().contains("connected"), "it does nothing: {}", second.log());

    first.signal("STOP");
    let next = agent.connected(&incarnation, TAKE_OVER);
    assert_ne!(agent.holder(), holder);
    let state = agent.server.object(SECRET)["data"]["state"].clone();
    first.signal("CONT");
    let ended = first.ended(Duration::from_secs(30));
    assert_eq!(ended.code(), Some(6), "{}", first.log());
    assert!(first.log().contains("has taken over"), "{}", first.log());
    // It wrote nothing in between, and the other one goes on.
    assert_eq!(agent.server.object(SECRET)["data"]["state"], state);
    assert!(is_alive(second.child.id()) && !second.log().contains("fenced"), "{}", second.log());
    assert_eq!(agent.connected(&Value::Null, Duration::ZERO), next);
}

#[test]
fn an_api_server_that_does_not_answer_is_waited_for_at_the_start_and_in_work() {
    let lab = Lab::fresh(3);
    let agent = Agent::new(&lab);
    agent.server.stand_still(true);
    let first = agent.start_first();
    first.wait_log("can't be taken; trying again", Duration::from_secs(20));
    agent.server.stand_still(false);
    let incarnation = agent.connected(&agent.of_dev, Duration::from_secs(60));
    let web = web(&lab);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = begin(&lab, &web, "v2");
    agent.server.stand_still(true);
    first.wait_log("nothing is done until it can", Duration::from_secs(40));
    assert!(lab.show(&run)["finished_at"].is_null(), "hosts in flight finish, and no other one begins");
    // What was asked meanwhile is done now, late.
    agent.server.stand_still(false);
    first.wait_log("work goes on", Duration::from_secs(40));
    finished(&lab, &run, "v2");
    assert_eq!(agent.connected(&Value::Null, Duration::from_secs(10)), incarnation, "one process did it all");
}

#[test]
fn a_state_without_an_identity_is_named_and_its_lease_is_released() {
    let lab = Lab::fresh(1);
    let agent = Agent::new(&lab);
    let mut none = agent.start("none", &[]);
    assert_ne!(none.ended(Duration::from_secs(20)).code(), Some(0), "{}", none.log());
    let log = none.log();
    assert!(log.contains("agent/lab is not enrolled in secret:agents/lab"), "{log}");
    assert!(agent.holder().is_null(), "it has released the Lease: {}", agent.holder());
}

#[test]
fn a_host_that_was_removed_is_refused_by_the_next_process_though_no_coordinator_is_there() {
    let lab = Lab::fresh(3);
    let agent = Agent::new(&lab);
    let mut first = agent.start_first();
    agent.connected(&agent.of_dev, Duration::from_secs(60));
    lab.kill("host-3");
    lab.ok(&["runner", "remove", "host-3", "--yes"]);
    until("its key is in the Secret", Duration::from_secs(30), || {
        agent.server.object(SECRET)["data"]["revoked"].is_string().then_some(())
    });
    lab.kill("c1");
    first.signal("KILL");
    first.ended(Duration::from_secs(10));
    std::fs::remove_dir_all(&first.data_dir).expect("it is there");
    let second = agent.start("second", &[]);
    until("the next process has the state", TAKE_OVER, || second.log().contains("start=2").then_some(()));
    let runner = lab.start_part_in("host-3", &[], &[]);
    until("the host is refused", Duration::from_secs(60), || (!is_alive(runner)).then_some(()));
    let log = std::fs::read_to_string(lab.part("host-3").data_dir.join("log")).expect("a log");
    assert!(log.contains("revoked"), "{log}");
}
