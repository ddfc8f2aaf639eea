//! A large fleet: runners of many agents are listed and rolled out, and nothing that is sent is too long for its frame.
//!
//! The runners are enrolled by the engine while the coordinator is down, since making a certificate for each would take
//! longer than all that is tested. With `TRIMARAN_FULL` there are as many as the product promises, otherwise fewer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use serde_json::Value;
use trimaran_engine::{Engine, Outcome};
use trimaran_model::limits::{
    INSTANCE_MESSAGE_BYTES_MAX, INSTANCES_REPORTED_MAX, MESSAGE_BYTES_MAX, RUNNERS_PER_MESSAGE_MAX,
};
use trimaran_replica::staging::{Staging, StagingJob};
use trimaran_replica::{RowBatch, WriteJob};
use trimaran_store::{Options, Store};
use trimaran_wire::v1::agent::{AgentDown, AgentUp, Progress, RefusedCounts, ResultAnswer, RunnerState};
use trimaran_wire::v1::assignment::{WireAssignment, WireFailure, WireInstance, WireOutcome};
use trimaran_wire::v1::command::{Command, CommandBody, Entry, TokenGrant};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody, SourceFile};

use crate::agents::{Played, until};
use crate::deploy;
use crate::world::{World, ask, change};

/// Runners of one entry while they are enrolled.
const ENTRY_RUNNERS: usize = 100;

fn is_full() -> bool {
    std::env::var_os("TRIMARAN_FULL").is_some()
}

/// Runners that take turns in targets, and targets that take turns at agents.
struct Fleet {
    agents: usize,
    targets: usize,
    runners: usize,
}

impl Fleet {
    fn agent(number: usize) -> String {
        format!("agent-{number:0>2}")
    }

    /// As long as a name may be.
    fn host(number: usize) -> String {
        format!("host-{number:0>58}")
    }

    fn target(number: usize) -> String {
        format!("target-{number:0>2}")
    }

    fn of_target(&self, target: usize) -> impl Iterator<Item = String> {
        (target..self.runners).step_by(self.targets).map(Self::host)
    }

    fn of_agent(&self, agent: usize) -> BTreeSet<String> {
        (agent..self.targets).step_by(self.agents).flat_map(|target| self.of_target(target)).collect()
    }

    /// Targets with a label each, and a pipeline that deploys to all of them at once.
    fn files(&self) -> String {
        let target = |number: usize| {
            let (name, agent) = (Self::target(number), Self::agent(number % self.agents));
            format!(
                "trimaran: v1\ntarget: {name}\nagent: {agent}\nclass: staging\nhosts: {{ select: {{ group: {name} }} }}\n---\n"
            )
        };
        let targets: String = (0..self.targets).map(target).collect();
        let names: Vec<String> = (0..self.targets).map(Self::target).collect();
        format!(
            "{targets}trimaran: v1\npipeline: web\nowner: team-web\nartifacts:\n  bundle: {{ path: \"/srv/builds/web-{{version}}.tar\" }}\n\
             workload:\n  host:\n    unpack: bundle\n    process: {{ command: [bin/web] }}\n    health: {{ http: \":8080/healthz\" }}\n\
             environments:\n  - name: staging\n    targets: [{}]\n",
            names.join(", ")
        )
    }

    /// Enrolls the runners in the store of a coordinator that does not run.
    fn enroll(&self, world: &World) {
        let (store, loaded) =
            Store::open(&world.data().join("store"), &Options::default()).expect("it opens");
        let rows: Vec<_> = store.load_rows().collect::<Result<_, _>>().expect("whole");
        let mut engine = Engine::from_rows(rows.into_iter()).expect("rows of an engine");
        for first in (0..self.runners).step_by(ENTRY_RUNNERS) {
            let last = (first + ENTRY_RUNNERS).min(self.runners);
            let commands = (first..last).flat_map(|number| {
                let mut token_sha256 = [6; 32];
                token_sha256[..8].copy_from_slice(&(number as u64).to_be_bytes());
                let grant = TokenGrant::Runner {
                    name: Self::host(number),
                    agent: Self::agent(number % self.targets % self.agents),
                    labels: BTreeMap::from([("group".to_owned(), Self::target(number % self.targets))]),
                };
                [
                    CommandBody::CreateToken { token_sha256, grant },
                    CommandBody::UseToken { token_sha256, spki_sha256: token_sha256, name: None },
                ]
            });
            let command = |body| Command { identity: WireIdentity::System, request: None, body };
            let commands = commands.map(command).collect();
            let applied = engine.apply(loaded.applied.index, &Entry { now_ms: engine.now().0, commands });
            assert!(applied.outcomes.iter().all(|it| !matches!(it, Outcome::Refused(_))));
            let job = WriteJob {
                number: first as u64 + 1,
                rows: RowBatch { changes: applied.rows },
                applied: Some(loaded.applied),
                state_hash: Some(engine.hash()),
                sync: last == self.runners,
                ..WriteJob::default()
            };
            store.write(&[job]).expect("written");
        }
    }
}

/// A cluster with this fleet, whose coordinator runs.
async fn cluster(fleet: &Fleet) -> World {
    let mut world = World::start().await;
    for agent in (0..fleet.agents).map(Fleet::agent) {
        let token = world.token(EnrollOrder::Agent { name: agent.clone() }).await;
        world.enroll(&token, &agent).await.expect("enrolled");
    }
    let files = vec![SourceFile { name: "all.yaml".to_owned(), text: fleet.files().into_bytes() }];
    ask(&world.client("admin"), change(), OperatorBody::Apply { files }).await.expect("applied");
    world.kill();
    fleet.enroll(&world);
    let begin = Instant::now();
    world.run(&[]);
    // An agent dials once here; it is served when the state is loaded.
    ask(&world.client("admin"), None, OperatorBody::ClusterStatus).await.expect("it runs");
    eprintln!("started with {} runners in {:.1?}", fleet.runners, begin.elapsed());
    world
}

/// An attached agent with the inventory that it was sent, whose runners are all connected.
async fn attach(world: &World, fleet: &Fleet, agent: usize) -> Played {
    let mut played = Played::attach_as(world, &Fleet::agent(agent)).await;
    let listed = RefCell::new(BTreeSet::new());
    let inventory = |message: &AgentDown| {
        let AgentDown::Inventory { runners, last, .. } = message else { return None };
        listed.borrow_mut().extend(runners.iter().map(|it| it.name.clone()));
        last.then_some(())
    };
    played.expect_message(inventory).await;
    let listed = listed.into_inner();
    assert!(listed == fleet.of_agent(agent), "{} of its runners were sent", listed.len());
    let listed: Vec<String> = listed.into_iter().collect();
    let page = |page: &[String]| {
        let state = |name: &String| RunnerState {
            name: name.clone(),
            connected: true,
            incarnation: 1,
            address: "127.0.0.1:9".to_owned(),
            last_seen_ms: 1_700_000_000_000,
            facts: BTreeMap::new(),
        };
        AgentUp::Runners(page.iter().map(state).collect())
    };
    played.say_all(listed.chunks(RUNNERS_PER_MESSAGE_MAX).map(page).collect(), drop).await;
    // The answer comes when all of that was read.
    played.say(AgentUp::Ping { sent_ms: 1, refused: RefusedCounts::default() }).await;
    played.expect_message(|message| matches!(message, AgentDown::Pong { .. }).then_some(())).await;
    played
}

/// The orders of one agent, put together from their pages.
#[derive(Default)]
struct Orders {
    pages: Vec<String>,
    whole: VecDeque<WireAssignment>,
}

impl Orders {
    fn read(&mut self, message: &AgentDown) {
        match message {
            AgentDown::AssignHosts { hosts, .. } => self.pages.extend(hosts.iter().cloned()),
            AgentDown::Assign(order) => {
                let mut hosts = std::mem::take(&mut self.pages);
                hosts.extend(order.hosts.iter().cloned());
                self.whole.push_back(WireAssignment { hosts, ..order.clone() });
            }
            _ => {}
        }
    }
}

/// The next order of an agent with all of its hosts.
async fn order(played: &mut Played, orders: &mut Orders) -> WireAssignment {
    if let Some(order) = orders.whole.pop_front() {
        return order;
    }
    let orders = RefCell::new(orders);
    let next = |message: &AgentDown| {
        orders.borrow_mut().read(message);
        orders.borrow_mut().whole.pop_front()
    };
    played.expect_message(next).await
}

/// Ends an order with this outcome, and says how each of its instances is. The next order may come ahead of the answer.
async fn finish(
    played: &mut Played,
    orders: &mut Orders,
    order: &WireAssignment,
    (outcome, instances): (WireOutcome, Vec<WireInstance>),
) {
    let (assignment, fence, total) = (order.id, order.fence, u32::try_from(order.hosts.len()).expect("few"));
    let is_done = outcome == WireOutcome::Done;
    let done = if is_done { order.wave.target_count.min(total) } else { 0 };
    let progress = Progress {
        assignment,
        fence,
        done,
        total,
        failed: Vec::new(),
        lost: Vec::new(),
        failure: None,
        instances,
    };
    let orders = RefCell::new(orders);
    let answer = |message: &AgentDown| {
        orders.borrow_mut().read(message);
        match message {
            AgentDown::Answer { answer, .. } => Some(answer.clone()),
            _ => None,
        }
    };
    let mut answered = None;
    let result = AgentUp::Result { assignment, fence, outcome, progress };
    played.say_all(vec![result], |message| answered = answer(&message).or(answered.take())).await;
    let answered = match answered {
        Some(answered) => answered,
        None => played.expect_message(answer).await,
    };
    assert_eq!(answered, ResultAnswer::Applied);
}

/// 100,000 runners on 20 agents. Measured once with the development profile on 2 cores that were busy with other work: a
/// start in 32 s, all attached after 227 s, listed after 247 s, rolled out after 252 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_fleet_attaches_is_listed_and_rolled_out_in_frames_that_fit() {
    let fleet = match is_full() {
        true => Fleet { agents: 20, targets: 20, runners: 100_000 },
        false => Fleet { agents: 4, targets: 4, runners: 4000 },
    };
    let world = cluster(&fleet).await;
    let client = world.client("admin");
    let begin = Instant::now();
    let mut agents = Vec::new();
    for agent in 0..fleet.agents {
        agents.push((attach(&world, &fleet, agent).await, Orders::default()));
    }
    let attached = begin.elapsed();
    let connected = |listed: &Value| {
        let all = listed["runners"].as_array().expect("a list");
        all.len() == fleet.runners && all.iter().all(|runner| runner["state"] == "connected")
    };
    until(&world, OperatorBody::RunnerList, "all runners", connected).await;
    let listed = begin.elapsed();

    ask(&client, change(), deploy("1")).await.expect("a run");
    // One host, then all of them.
    for wave in [1, 2] {
        for (agent, (played, orders)) in agents.iter_mut().enumerate() {
            let order = order(played, orders).await;
            assert_eq!(order.wave.number, wave);
            assert!(order.hosts.iter().cloned().eq(fleet.of_target(agent)), "{} hosts", order.hosts.len());
            finish(played, orders, &order, (WireOutcome::Done, Vec::new())).await;
        }
    }
    let succeeded = |run: &Value| run["status"] == "succeeded";
    until(&world, OperatorBody::RunShow { run: "web#1".to_owned() }, "the end of the run", succeeded).await;
    until(&world, OperatorBody::Status { pipeline: None }, "a status", Value::is_object).await;
    eprintln!(
        "{} runners on {} agents: attached after {attached:.1?}, listed after {listed:.1?}, rolled out after {:.1?}",
        fleet.runners,
        fleet.agents,
        begin.elapsed()
    );
}

/// Every host of every target fails, with as many words as a host has: 64 targets of 512 hosts. Measured once as above: shown
/// 5.0 s after a restart, a snapshot of 36 MiB written and read in 3.5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_every_host_fails_is_shown_restarted_over_and_snapshotted() {
    const HOSTS: usize = INSTANCES_REPORTED_MAX;
    let targets = if is_full() { 64 } else { 4 };
    let fleet = Fleet { agents: 1, targets, runners: targets * HOSTS };
    let mut world = cluster(&fleet).await;
    let mut played = attach(&world, &fleet, 0).await;
    ask(&world.client("admin"), change(), deploy("1")).await.expect("a run");
    let mut orders = Orders::default();
    for _ in 0..targets {
        let order = order(&mut played, &mut orders).await;
        assert_eq!(order.hosts.len(), HOSTS);
        let instance = |host: &String| WireInstance {
            name: host.clone(),
            status: "failed".to_owned(),
            release: None,
            code: Some("probe_failed".to_owned()),
            message: "i".repeat(INSTANCE_MESSAGE_BYTES_MAX),
            began_from: None,
            steps: Vec::new(),
        };
        let instances = order.hosts.iter().map(instance).collect();
        let (code, message) = ("probe_failed".to_owned(), "m".repeat(MESSAGE_BYTES_MAX));
        let fault = WireFailure { code, message, instance: Some(order.hosts[0].clone()) };
        finish(&mut played, &mut orders, &order, (WireOutcome::Fault(fault), instances)).await;
    }
    let show = || OperatorBody::RunShow { run: "web#1".to_owned() };
    let all_failed = |run: &Value| {
        let stages = run["stages"].as_array().expect("stages");
        let failed = |stage: &Value| stage["instances"].as_array().is_some_and(|all| all.len() == HOSTS);
        stages.len() == targets && stages.iter().all(failed)
    };
    let before = until(&world, show(), "every instance", all_failed).await;
    let begin = Instant::now();
    world.restart();
    let after = until(&world, show(), "every instance again", all_failed).await;
    let restarted = begin.elapsed();
    assert_eq!(after["stages"], before["stages"]);
    world.kill();

    // As a member gets it that joins: every row in the chunks of a file, and the same state.
    let (store, _) = Store::open(&world.data().join("store"), &Options::default()).expect("it opens");
    let file = world.folder.path().join("snapshot");
    let begin = Instant::now();
    let manifest = trimaran_store::snapshot::write(&store.read_view(), [7; 16], &file).expect("written");
    assert!(manifest.state_hash.is_some() && manifest.state_hash == store.state_hash().expect("readable"));
    let mut frames = trimaran_store::snapshot::frames(&file).expect("it opens");
    let mut staging = Staging::new(&manifest, |key, value| Ok(Engine::row_hash(key, value)));
    let mut rows = Vec::new();
    while let Some(frame) = frames.next().expect("whole") {
        let StagingJob::Rows(chunk) = staging.chunk(&frame).expect("a chunk") else { panic!("no end yet") };
        rows.extend(chunk);
    }
    staging.end().expect("the state of the manifest");
    let engine = Engine::from_rows(rows.into_iter()).expect("rows of an engine");
    assert_eq!(Some(engine.hash()), manifest.state_hash);
    let size = std::fs::metadata(&file).expect("written").len() >> 20;
    eprintln!(
        "{targets} targets of {HOSTS} failing hosts: shown {restarted:.1?} after a restart, a snapshot of {size} MiB in {:.1?}",
        begin.elapsed()
    );
}
