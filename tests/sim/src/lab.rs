//! One engine with its rows and log, driven by hand: each entry is checked, and the leader's own entries (time
//! that is due, the settle queue) are added as a server adds them.

use std::collections::BTreeMap;

use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::{Applied, Engine, Event, Outcome};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::Progress;
use trimaran_wire::v1::assignment::{WireFailure, WireInstance, WireOutcome};
use trimaran_wire::v1::command::{Command, CommandBody, Entry, RequestKey, TokenGrant};
use trimaran_wire::v1::common::{WireIdentity, WireRun, WireStage};

use crate::check::{self, Rows};
use crate::plan;

/// Wall time when the cluster is made: 2026-01-01T00:00:00Z.
pub const WALL: i64 = 1_767_225_600_000;

/// What one command did, with what followed from it.
#[derive(Debug, Clone)]
pub struct Done {
    pub outcome: Outcome,
    pub events: Vec<Event>,
}

/// The laboratory.
#[derive(Debug, Clone)]
pub struct Lab {
    pub engine: Engine,
    pub rows: Rows,
    pub index: u64,
    /// Cluster time.
    pub now: u64,
    /// Every entry that was applied.
    pub log: Vec<(u64, Vec<u8>)>,
    /// Every assignment that was ever live, by number.
    pub known: BTreeMap<u64, LiveAssignment>,
    /// Environments of each pipeline, as text.
    pub pipelines: BTreeMap<String, Vec<String>>,
    /// `check::whole` looks after each so many entries.
    pub whole_every: u64,
    /// The number of the last attach of each agent's incarnation.
    attaches: BTreeMap<(String, u64), u64>,
    fence: u64,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

pub fn system(body: CommandBody) -> Command {
    Command { identity: WireIdentity::System, request: None, body }
}

pub fn agent(name: &str, body: CommandBody) -> Command {
    Command { identity: WireIdentity::Agent(name.to_owned()), request: None, body }
}

pub fn operator(name: &str, body: CommandBody) -> Command {
    let identity = WireIdentity::Operator { name: name.to_owned(), role: "operator".to_owned() };
    Command { identity, request: None, body }
}

/// A request id that was made at a wall time.
pub fn request(made_ms: i64, number: u64, body: u8) -> RequestKey {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&made_ms.to_be_bytes()[2..]);
    id[8..].copy_from_slice(&number.to_be_bytes());
    id[6] = 0x70;
    RequestKey { id, body_sha256: [body; 32] }
}

pub fn failure(code: &str, message: &str, instance: Option<&str>) -> WireFailure {
    WireFailure { code: code.to_owned(), message: message.to_owned(), instance: instance.map(str::to_owned) }
}

/// `web#3`.
pub fn run_id(text: &str) -> WireRun {
    let (pipeline, number) = text.split_once('#').expect("a run is PIPELINE#N");
    WireRun { pipeline: pipeline.to_owned(), number: number.parse().expect("a number") }
}

/// `prod/lab-prod`, `prod/approve`.
pub fn stage_id(text: &str) -> WireStage {
    let (environment, part) = text.split_once('/').expect("a stage is ENV/TARGET");
    let target = (part != "approve").then(|| part.to_owned());
    WireStage { environment: environment.to_owned(), target }
}

impl Lab {
    /// An empty cluster.
    pub fn new() -> Self {
        let mut lab = Self {
            engine: Engine::new(),
            rows: Rows::default(),
            index: 0,
            now: 0,
            log: Vec::new(),
            known: BTreeMap::new(),
            pipelines: BTreeMap::new(),
            whole_every: 1,
            attaches: BTreeMap::new(),
            fence: 0,
        };
        let body = CommandBody::Bootstrap {
            cluster: "c0".to_owned(),
            wall_ms: WALL,
            incarnation: 1,
            admin_token_sha256: [1; 32],
            admin: "admin".to_owned(),
        };
        lab.must(system(body));
        lab
    }

    /// A cluster with agent `lab`, and runners of two groups behind the targets `lab-staging` and `lab-prod`.
    pub fn with_hosts(staging: u8, prod: u8) -> Self {
        let mut lab = Self::new();
        lab.enroll(TokenGrant::Agent { name: "lab".to_owned() });
        for number in 1..=staging {
            lab.runner(&format!("s{number}"), "lab", "staging");
        }
        for number in 1..=prod {
            lab.runner(&format!("p{number}"), "lab", "prod");
        }
        lab.target("lab-staging select=staging class=staging");
        lab.target("lab-prod select=prod");
        lab.attach("lab", 1);
        lab
    }

    /// Applies one entry and what the leader adds to it.
    pub fn apply(&mut self, commands: Vec<Command>) -> Applied {
        let mut applied = self.one(commands);
        while self.engine.settle_queue_len() > 0 {
            let more = self.one(vec![system(CommandBody::Settle)]);
            applied.events.extend(more.events);
        }
        applied
    }

    fn one(&mut self, commands: Vec<Command>) -> Applied {
        self.index += 1;
        let bytes = Entry { now_ms: self.now, commands }.to_bytes();
        let entry = Entry::from_bytes(&bytes).expect("what was encoded");
        let applied = self.engine.apply(self.index, &entry);
        self.rows.write(&applied.rows);
        self.log.push((self.index, bytes));
        self.note_attaches(&entry, &applied);
        for row in self.rows.assignments() {
            self.known.insert(row.order.id.0, row);
        }
        let state = check::state(&self.engine, &self.rows, &mut self.fence);
        let whole = match self.index % self.whole_every {
            0 => check::whole(&self.engine, &self.rows),
            _ => Ok(()),
        };
        if let Err(why) = state.and(whole) {
            panic!("after entry {} ({:?}): {why}", self.index, entry.commands);
        }
        applied
    }

    fn note_attaches(&mut self, entry: &Entry, applied: &Applied) {
        for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            if let (CommandBody::Attach { incarnation, .. }, Outcome::Attached { attach }) =
                (&command.body, outcome)
                && let WireIdentity::Agent(name) = &command.identity
            {
                self.attaches.insert((name.clone(), *incarnation), *attach);
            }
        }
    }

    /// The number of the last attach of an agent's incarnation, or 0.
    pub fn last_attach(&self, agent: &str, incarnation: u64) -> u64 {
        self.attaches.get(&(agent.to_owned(), incarnation)).copied().unwrap_or(0)
    }

    pub fn run(&mut self, command: Command) -> Done {
        let mut applied = self.apply(vec![command]);
        Done { outcome: applied.outcomes.remove(0), events: applied.events }
    }

    /// A command of the set-up, which is not refused.
    pub fn must(&mut self, command: Command) {
        let done = self.run(command);
        assert!(!matches!(done.outcome, Outcome::Refused(_)), "{:?}", done.outcome);
    }

    /// The state after a replay of the whole log.
    pub fn replayed(&self) -> Engine {
        let mut engine = Engine::new();
        for (index, bytes) in &self.log {
            engine.apply(*index, &Entry::from_bytes(bytes).expect("a stored entry"));
        }
        engine
    }

    /// Lets time pass, with an entry whenever a timer is due.
    pub fn pass(&mut self, length: u64) -> Vec<Event> {
        let end = self.now + length;
        let mut events = Vec::new();
        while let Some(timer) = self.engine.next_timer().filter(|timer| timer.0 <= end) {
            self.now = timer.0;
            events.extend(self.apply(vec![system(CommandBody::Advance)]).events);
        }
        self.now = end;
        events.extend(self.apply(vec![system(CommandBody::Advance)]).events);
        events
    }

    /// Makes and uses a token.
    pub fn enroll(&mut self, grant: TokenGrant) {
        let token_sha256 = self.number_bytes();
        self.must(operator("admin", CommandBody::CreateToken { token_sha256, grant }));
        let spki_sha256 = self.number_bytes();
        self.must(system(CommandBody::UseToken { token_sha256, spki_sha256, name: None }));
    }

    fn number_bytes(&self) -> [u8; 32] {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    pub fn runner(&mut self, name: &str, agent: &str, group: &str) {
        self.enroll(TokenGrant::Runner {
            name: name.to_owned(),
            agent: agent.to_owned(),
            labels: BTreeMap::from([("group".to_owned(), group.to_owned())]),
        });
    }

    pub fn target(&mut self, text: &str) {
        let targets = vec![plan::target(text)];
        self.must(operator("admin", CommandBody::Apply { pipelines: Vec::new(), targets }));
    }

    pub fn attach(&mut self, name: &str, incarnation: u64) -> Done {
        let body = CommandBody::Attach {
            incarnation,
            coordinator: "c1".to_owned(),
            address: "127.0.0.1:7701".to_owned(),
            epoch_seen: 1,
            incarnation_seen: 0,
            platforms: vec!["hosts".to_owned()],
        };
        self.run(agent(name, body))
    }

    /// The command that starts a run of a version.
    pub fn deploy(&self, pipeline: &str, version: &str, overrides: &[String]) -> CommandBody {
        let environments = self.pipelines.get(pipeline).cloned().unwrap_or_default();
        CommandBody::StartRun {
            source: None,
            plan: plan::plan(pipeline, &environments, version),
            overrides: overrides.to_vec(),
            reason: String::new(),
        }
    }

    /// The live assignment on a target.
    pub fn live(&self, target: &str) -> Option<LiveAssignment> {
        self.rows.assignments().into_iter().find(|row| row.order.installation.target.as_str() == target)
    }

    /// A result as the agent sends it: the hosts of the wave are on the release, but for the failed one.
    pub fn result(&self, row: &LiveAssignment, outcome: WireOutcome) -> Command {
        let progress = progress(row, &outcome);
        let body =
            CommandBody::Result { assignment: row.order.id.0, fence: row.order.fence.0, outcome, progress };
        agent(row.agent.as_str(), body)
    }
}

/// What an agent commits with so many failed hosts in its progress.
pub fn commit(progress: Progress) -> CommandBody {
    let n = u32::try_from(progress.failed.len()).unwrap_or(u32::MAX);
    CommandBody::Commit { n, body: Vec::new(), progress }
}

/// Progress that goes with an outcome.
pub fn progress(row: &LiveAssignment, outcome: &WireOutcome) -> Progress {
    let failure = match outcome {
        WireOutcome::Failed(failure) => Some(failure.clone()),
        WireOutcome::Done | WireOutcome::Fault(_) | WireOutcome::Stopped => None,
    };
    let failed: Vec<String> = failure.iter().filter_map(|failure| failure.instance.clone()).collect();
    let target_count = row.order.wave.target_count as usize;
    let healthy = |host: &&String| matches!(outcome, WireOutcome::Done) && !failed.contains(host);
    let instance = |(index, host): (usize, &String)| WireInstance {
        name: host.clone(),
        status: match index < target_count && healthy(&host) {
            true => "healthy",
            false if failed.contains(host) => "failed",
            false => "waiting",
        }
        .to_owned(),
        release: None,
        code: failure.as_ref().filter(|_| failed.contains(host)).map(|it| it.code.clone()),
        message: String::new(),
        began_from: None,
        steps: Vec::new(),
    };
    let hosts: Vec<String> = row.order.hosts.iter().map(ToString::to_string).collect();
    let instances = hosts.iter().enumerate().map(instance).collect();
    let done = match outcome {
        WireOutcome::Done => target_count.min(hosts.len()),
        WireOutcome::Failed(_) | WireOutcome::Fault(_) | WireOutcome::Stopped => 0,
    };
    Progress {
        assignment: row.order.id.0,
        fence: row.order.fence.0,
        done: u32::try_from(done).unwrap_or(u32::MAX),
        total: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
        failed,
        lost: Vec::new(),
        failure,
        instances,
    }
}
