//! Random commands, and a model of what their results may be.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_engine::rows::tables;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::installation::Installation;
use trimaran_engine::state::run::Run;
use trimaran_engine::state::stage::{ApproveState, Stage};
use trimaran_engine::{Event, Outcome, Row};
use trimaran_model::action::Action;
use trimaran_model::error_code;
use trimaran_model::id::{Digest, InstallationId, RunId};
use trimaran_model::run::{RunKind, Status};
use trimaran_model::verdict::Verdict;
use trimaran_query as query;
use trimaran_query::RowSource as _;
use trimaran_query::text;
use trimaran_sim::lab::{Lab, agent, failure, operator, request, run_id, stage_id, system};
use trimaran_sim::random::Random;
use trimaran_wire::document::{ReasonDocument, RunDocument};
use trimaran_wire::v1::agent::AgentVerdict;
use trimaran_wire::v1::assignment::WireOutcome;
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::{WireInstallation, WireRun};

/// Counts, so that a test can say that something happened.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    pub(crate) runs: usize,
    pub(crate) rolled_back: usize,
    pub(crate) rollback_runs: usize,
    pub(crate) paused: usize,
    pub(crate) cleared: usize,
    pub(crate) superseded: usize,
    pub(crate) defects: usize,
    pub(crate) recoveries: usize,
    pub(crate) restores: usize,
    /// Installations that were decided after a restore.
    pub(crate) decided: usize,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.rolled_back += other.rolled_back;
        self.rollback_runs += other.rollback_runs;
        self.paused += other.paused;
        self.cleared += other.cleared;
        self.superseded += other.superseded;
        self.defects += other.defects;
        self.recoveries += other.recoveries;
        self.restores += other.restores;
        self.decided += other.decided;
    }
}

pub(crate) struct Driver {
    lab: Lab,
    random: Random,
    pub(crate) seen: Seen,
    incarnation: u64,
    versions: u64,
    requests: u64,
    /// Requests that were answered: the command and the run or decision it gave.
    answered: Vec<(Command, Outcome)>,
    /// Where a rollback may lead, by installation.
    stable_releases: BTreeMap<InstallationId, BTreeSet<Digest>>,
    /// Hosts that failed in a stage's attempt, by run and target.
    failed: BTreeMap<(String, String), BTreeSet<String>>,
}

fn member(raft_id: u64) -> Command {
    system(CommandBody::Member {
        name: format!("c{raft_id}"),
        raft_id,
        disk: [1; 16],
        address: "127.0.0.1:7700".to_owned(),
        certificate_sha256: [0; 32],
        issuer_sha256: [9; 32],
        levels: (1, 2),
    })
}

const TARGETS: [&str; 3] = ["lab-staging", "lab-prod", "lab-east"];

impl Driver {
    pub(crate) fn new(seed: u64) -> Self {
        let mut lab = Lab::with_hosts(2, 5);
        lab.whole_every = 5;
        lab.runner("q1", "lab", "east");
        lab.target("lab-east select=east parallel=1");
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        lab.pipelines.insert(
            "web".to_owned(),
            lines(&[
                "staging targets=lab-staging sizes=1,100%",
                "prod after=staging targets=lab-prod,lab-east approve=promote,roll_back,stop timeout=10s sizes=1,50%,100% bake=20s pause=2s failures=25%",
            ]),
        );
        lab.pipelines.insert(
            "api".to_owned(),
            lines(&[
                "a targets=lab-staging scope=target bake=5s",
                "b targets=lab-east rollback=off",
                "c after=a,b targets=lab-prod scope=run approve=promote",
            ]),
        );
        Self {
            lab,
            random: Random::new(seed),
            seen: Seen::default(),
            incarnation: 1,
            versions: 0,
            requests: 0,
            answered: Vec::new(),
            stable_releases: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// As [`Self::run`], with quorums that are lost for good in between.
    pub(crate) fn run_with_recoveries(&mut self, steps: usize) {
        const BETWEEN: usize = 90;
        self.submit(member(1));
        for part in 0..steps / BETWEEN {
            self.run(BETWEEN);
            // Others joined meanwhile, and are gone.
            let raft_id = 2 + part as u64;
            self.submit(member(raft_id));
            let live = self.lab.rows.assignments();
            self.submit(system(CommandBody::Recover { raft_id: 1, incarnation: 1 + raft_id }));
            let epoch = self.lab.engine.epoch().0;
            let again = self.lab.rows.assignments();
            assert_eq!(again.len(), live.len(), "work is neither lost nor begun");
            assert!(again.iter().all(|it| it.order.fence.epoch() == epoch), "agents obey no other fence");
            assert!(live.iter().all(|old| again.iter().all(|new| new.order.id > old.order.id)));
            self.seen.recoveries += 1;
        }
    }

    /// As [`Self::run`], with backups that are restored in between, the next one before all was decided after the last.
    pub(crate) fn run_with_restores(&mut self, steps: usize) {
        const BETWEEN: usize = 60;
        self.submit(member(1));
        for part in 0..steps / (3 * BETWEEN) {
            self.run(BETWEEN);
            let raft_id = 2 + part as u64;
            self.submit(member(raft_id));
            let (epoch, last) = (self.lab.engine.epoch().0, self.lab.known.keys().next_back().copied());
            self.submit(system(CommandBody::Restore { raft_id }));
            assert!(self.lab.rows.assignments().is_empty() && query::observes(&self.lab.rows));
            self.run(BETWEEN);
            self.submit(operator("admin", CommandBody::ResumeCluster { epoch: None, incarnation: raft_id }));
            assert!(self.lab.engine.epoch().0 > epoch && !query::observes(&self.lab.rows));
            let attach = self.attach();
            self.submit(attach);
            self.run(BETWEEN);
            let first = self.lab.known.keys().find(|number| Some(**number) > last);
            assert!(
                first.is_none_or(|first| first - last.unwrap_or(0) > 1 << 31),
                "numbers of another epoch"
            );
            self.seen.restores += 1;
        }
    }

    pub(crate) fn run(&mut self, steps: usize) {
        for step in 0..steps {
            self.lab.now += self.random.below(1500);
            let command = self.command();
            self.submit(command);
            if self.random.below(10) == 0 {
                let length = self.random.below(8000);
                self.lab.pass(length);
                self.note_stable();
            }
            if step % 70 == 69 && self.seen.defects == 0 {
                self.compare();
            }
        }
    }

    /// Gives a command, and looks at its answer.
    fn submit(&mut self, mut command: Command) {
        if matches!(command.body, CommandBody::StartRun { .. } | CommandBody::Approve { .. }) {
            self.requests += 1;
            command.request = Some(request(self.lab.engine.wall().0, self.requests, 1));
        }
        let expired = self.expired(&command.body);
        let done = self.lab.run(command.clone());
        match &done.outcome {
            Outcome::Refused(refusal) if refusal.code() == error_code::BUG => self.seen.defects += 1,
            Outcome::ResultSuperseded { .. } => self.seen.superseded += 1,
            Outcome::Attached { .. } => {
                assert!(
                    !query::observes(&self.lab.rows),
                    "an agent is served by a cluster that only observes"
                );
            }
            Outcome::Decided { decision, .. } => {
                assert!(!(expired && decision == "promote"), "an expired approval was taken");
            }
            _ => {}
        }
        let parked = |event: &Event| matches!(event, Event::Run { status: Status::Broken, .. });
        self.seen.defects += done.events.iter().filter(|event| parked(event)).count();
        if command.request.is_some() {
            self.answered.push((command, done.outcome));
        }
        self.note_stable();
        self.check_work();
    }

    fn expired(&self, body: &CommandBody) -> bool {
        let CommandBody::Approve { run, .. } = body else { return false };
        let Some(run) = query::stored_run(&self.lab.rows, &typed(run)) else { return false };
        let wall = self.lab.engine.wall().0 + i64::try_from(self.lab.now - self.lab.engine.now().0).unwrap();
        run.stages.iter().filter_map(expiry).max().is_some_and(|at| at <= wall)
    }

    /// Remembers where a rollback may lead, now or later.
    fn note_stable(&mut self) {
        for it in rows_of::<Installation>(&self.lab, tables::INSTALLATION) {
            // Without a stable release the one that runs healthy is where a new one may go back to.
            let healthy =
                it.current.filter(|_| it.stable_releases.is_empty() && it.health == Verdict::Healthy);
            self.stable_releases
                .entry(it.id)
                .or_default()
                .extend(it.stable_releases.into_iter().chain(healthy));
        }
    }

    /// Live work is of the kind that its run allows.
    fn check_work(&self) {
        for live in self.lab.rows.assignments() {
            let it = &live.order;
            assert!(!query::observes(&self.lab.rows), "{} has an order while the cluster observes", it.run);
            let undecided = query::is_undecided(&self.lab.rows, &it.installation);
            assert!(!undecided, "{} works on what is not decided", it.run);
            if let Action::Restore(to) = &it.action {
                let stable =
                    self.stable_releases.get(&it.installation).is_some_and(|known| known.contains(to));
                let asked = query::run(&self.lab.rows, &it.run)
                    .is_some_and(|run| is_restoring(&run.kind) && run.by != "trimaran");
                assert!(stable || asked, "{} goes back to what never was stable", it.run);
            }
            let key = (it.run.to_string(), it.installation.target.to_string());
            if let (Some(failed), Action::Release(_)) = (self.failed.get(&key), &it.action) {
                let known: BTreeSet<String> = it.wave.failed.iter().map(ToString::to_string).collect();
                assert!(failed.is_subset(&known), "failures {failed:?} of {key:?} were forgotten: {known:?}");
            }
        }
    }

    /// A replay of the log gives the same state, and a repeated request the same answer.
    fn compare(&mut self) {
        assert_eq!(self.lab.replayed().hash(), self.lab.engine.hash(), "a replay gives another state");
        let answered = self.answered.split_off(self.answered.len().saturating_sub(20));
        for (command, outcome) in &answered {
            let again = self.lab.run(command.clone());
            assert_eq!(&again.outcome, outcome, "a repeated request is answered as the first");
        }
    }

    fn live_runs(&self) -> Vec<RunDocument> {
        let live = |status: Status| !status.is_done() || status == Status::Broken;
        let hot: Vec<Run> = rows_of(&self.lab, tables::RUN);
        let hot = hot.iter().filter(|run| live(run.status));
        hot.map(|run| query::run(&self.lab.rows, &run.id).expect("a stored run")).collect()
    }

    fn command(&mut self) -> Command {
        match self.random.below(100) {
            0..2 if self.undecided().is_some() => self.decide_installation(),
            0..12 => self.deploy(),
            12..22 => self.decide(),
            22..75 => self.report(),
            75..83 => self.agents(),
            83..90 => self.verdict(),
            90..93 => self.rollback(),
            93..96 => self.targets(),
            96..98 => self.follow_a_reason(),
            _ => self.clock(),
        }
    }

    fn deploy(&mut self) -> Command {
        if self.live_runs().len() > 6 {
            return system(CommandBody::Advance);
        }
        let pipeline = *self.random.pick(&["web", "api"]).expect("two");
        self.versions += self.random.below(3);
        let version = format!("v{}", self.versions);
        let overrides = if self.random.below(5) == 0 { vec!["quarantine".to_owned()] } else { Vec::new() };
        self.seen.runs += 1;
        operator("op1", self.lab.deploy(pipeline, &version, &overrides))
    }

    fn decide(&mut self) -> Command {
        let runs = self.live_runs();
        let Some(run) = self.random.pick(&runs).cloned() else { return self.deploy() };
        let id = run_id(&run.run);
        match self.random.below(10) {
            0 => self.approve_at_expiry(&runs),
            1..7 => {
                let options = ["promote", "promote", "promote", "roll_back", "stop"];
                let option = (*self.random.pick(&options).expect("five")).to_owned();
                let body = CommandBody::Approve {
                    run: id,
                    stage: None,
                    option: Some(option),
                    plan_digest: None,
                    comment: String::new(),
                };
                operator("op2", body)
            }
            7 => operator("op1", CommandBody::Cancel { run: id }),
            _ => operator("op1", CommandBody::Resume { run: id, stage: None }),
        }
    }

    /// Approves in the very entry whose time is the approval's expiry.
    fn approve_at_expiry(&mut self, runs: &[RunDocument]) -> Command {
        let offset = self.lab.engine.wall().0 - i64::try_from(self.lab.engine.now().0).expect("small");
        for run in runs {
            let id = run_id(&run.run);
            let stored = query::stored_run(&self.lab.rows, &typed(&id)).expect("a live run");
            let expiry = stored.stages.iter().filter_map(expiry).min();
            let at = expiry.and_then(|at| u64::try_from(at - offset).ok());
            if let Some(at) = at.filter(|at| (self.lab.now..self.lab.now + 20_000).contains(at)) {
                self.lab.now = at;
                let option = Some("promote".to_owned());
                let body = CommandBody::Approve {
                    run: id,
                    stage: None,
                    option,
                    plan_digest: None,
                    comment: String::new(),
                };
                return operator("op2", body);
            }
        }
        system(CommandBody::Advance)
    }

    /// What an agent says of its work: mostly good news.
    fn report(&mut self) -> Command {
        let live = self.lab.rows.assignments();
        let old: Vec<LiveAssignment> = self.lab.known.values().rev().take(20).cloned().collect();
        let list = if self.random.below(6) == 0 { &old } else { &live };
        let Some(row) = self.random.pick(list).cloned() else {
            return self.deploy();
        };
        let hosts: Vec<String> = row.order.hosts.iter().map(ToString::to_string).collect();
        let host = self.random.pick(&hosts).cloned();
        let fault = |code| failure(code, "words of the host", host.as_deref());
        let outcome = match self.random.below(20) {
            0..13 => WireOutcome::Done,
            13..15 => WireOutcome::Failed(fault("probe_failed")),
            15..17 => {
                self.seen.paused += 1;
                WireOutcome::Fault(fault("host_lost"))
            }
            17 => WireOutcome::Stopped,
            _ => {
                let mut progress = trimaran_sim::lab::progress(&row, &WireOutcome::Stopped);
                progress.failed.extend(host.clone());
                self.note_failure(&row, host);
                return agent(row.agent.as_str(), trimaran_sim::lab::commit(progress));
            }
        };
        self.lab.result(&row, outcome)
    }

    fn note_failure(&mut self, row: &LiveAssignment, host: Option<String>) {
        let live = self.lab.rows.assignments().iter().any(|it| it.order.id == row.order.id);
        if let (Some(host), true) = (host, live) {
            let it = &row.order;
            let key = (it.run.to_string(), it.installation.target.to_string());
            self.failed.entry(key).or_default().insert(host);
        }
    }

    fn agents(&mut self) -> Command {
        let attach = self.lab.last_attach("lab", self.incarnation);
        match self.random.below(6) {
            0 => agent("lab", CommandBody::Detach { attach, goodbye: false, seen_ms: 0 }),
            1 => agent("lab", CommandBody::Detach { attach, goodbye: true, seen_ms: i64::MAX }),
            2 => system(CommandBody::AgentLost { agent: "lab".to_owned(), attach }),
            3 => {
                self.incarnation += 1;
                self.attach()
            }
            _ => self.attach(),
        }
    }

    fn attach(&self) -> Command {
        let body = CommandBody::Attach {
            incarnation: self.incarnation,
            coordinator: "c1".to_owned(),
            address: "127.0.0.1:7701".to_owned(),
            epoch_seen: 1,
            incarnation_seen: 0,
            platforms: vec!["hosts".to_owned()],
        };
        agent("lab", body)
    }

    fn verdict(&mut self) -> Command {
        let pipeline = (*self.random.pick(&["web", "api"]).expect("two")).to_owned();
        let target = (*self.random.pick(&TARGETS).expect("three")).to_owned();
        let words = ["healthy", "healthy", "degraded", "unknown", "missing"];
        let verdict = *self.random.pick(&words).expect("five");
        let here = self.lab.known.values().filter(|row| {
            let id = &row.order.installation;
            id.target.as_str() == target && id.pipeline.as_str() == pipeline
        });
        let fence = here.map(|row| row.order.fence.0).max().unwrap_or(0);
        let failure = (verdict == "degraded").then(|| failure("probe_failed", "500", Some("p1")));
        let installation = WireInstallation { pipeline, target };
        let (verdict, down) = (verdict.to_owned(), u32::from(failure.is_some()));
        let blind_since_ms = None;
        let verdict =
            AgentVerdict { installation, fence, verdict, failure, down, hosts: None, blind_since_ms };
        agent("lab", CommandBody::Verdict(verdict))
    }

    /// An installation that a restore left undecided.
    fn undecided(&self) -> Option<Installation> {
        let all = rows_of::<Installation>(&self.lab, tables::INSTALLATION).into_iter();
        all.rev().find(|it| query::is_undecided(&self.lab.rows, &it.id))
    }

    fn decide_installation(&mut self) -> Command {
        let it = self.undecided().expect("the caller asked");
        self.seen.decided += usize::from(!query::observes(&self.lab.rows));
        let (installation, environment) = (WireInstallation::from(&it.id), it.environment.to_string());
        if self.random.below(2) == 0 {
            return operator("op1", CommandBody::Reapply { installation, environment });
        }
        self.versions += 1;
        let environments = vec![format!("{environment} targets={}", it.id.target)];
        let plan =
            trimaran_sim::plan::plan(it.id.pipeline.as_str(), &environments, &format!("v{}", self.versions));
        let release = plan.environments[0].stages[0].release.as_ref().clone();
        operator("op1", CommandBody::Adopt { installation, environment, release })
    }

    fn rollback(&mut self) -> Command {
        let (pipeline, environment) = *self
            .random
            .pick(&[("web", "staging"), ("web", "prod"), ("api", "a"), ("api", "c")])
            .expect("four");
        let body = CommandBody::Rollback {
            pipeline: pipeline.to_owned(),
            environment: environment.to_owned(),
            to: None,
            from: None,
            restore_from: None,
            reason: "because".to_owned(),
            overrides: Vec::new(),
        };
        operator("op2", body)
    }

    fn targets(&mut self) -> Command {
        let text = match self.random.below(5) {
            0 => "lab-prod select=east",
            1 => "lab-prod select=none",
            2 => "lab-prod select=prod parallel=1",
            3 => "lab-east select=east parallel=2",
            _ => "lab-prod select=prod",
        };
        let targets = vec![trimaran_sim::plan::target(text)];
        operator("admin", CommandBody::Apply { pipelines: Vec::new(), targets })
    }

    fn clock(&mut self) -> Command {
        let state = &self.lab.engine;
        let offset = state.wall().0 - i64::try_from(state.now().0).expect("small");
        let by = if self.random.below(2) == 0 { 1000 } else { -1000 };
        system(CommandBody::WallOffset { offset_ms: offset + by, jump: true })
    }

    /// Does what a random stage's reason says; that reason is gone afterwards.
    fn follow_a_reason(&mut self) -> Command {
        let runs = self.live_runs();
        let mut reasons: Vec<(RunDocument, String, ReasonDocument)> = Vec::new();
        for run in runs {
            for stage in &run.stages {
                reasons.extend(stage.reasons.iter().map(|it| (run.clone(), stage.name.clone(), it.clone())));
            }
        }
        reasons.retain(|(_, _, reason)| reason.clears != "wait");
        let Some((run, stage, reason)) = self.random.pick(&reasons).cloned() else { return self.deploy() };
        let command = command_of(&reason.clears, self.lab.engine.epoch().1);
        self.lab.pass(0);
        let done = self.lab.run(command);
        if let Outcome::Refused(refusal) = &done.outcome {
            assert!(
                matches!(refusal.code(), error_code::NOT_WAITING | error_code::RUN_DONE | error_code::BUG),
                "`{}` of {} is refused: {}",
                reason.clears,
                run.run,
                text::refusal(refusal)
            );
        } else {
            let id = run_id(&run.run);
            let now = query::run(&self.lab.rows, &typed(&id)).expect("the run");
            let still = now.stages.iter().find(|it| it.name == stage).is_some_and(|it| {
                it.reasons.iter().any(|it| it.code == reason.code && it.since == reason.since)
            });
            assert!(!still, "`{}` did not clear {} of {}/{stage}", reason.clears, reason.code, run.run);
            self.seen.cleared += 1;
        }
        self.note_stable();
        system(CommandBody::Advance)
    }

    /// Ends all trouble: what waits for humans is decided, what works is done. Then everything has to end.
    pub(crate) fn heal(&mut self) {
        self.submit(operator(
            "admin",
            CommandBody::Apply {
                pipelines: Vec::new(),
                targets: vec![
                    trimaran_sim::plan::target("lab-prod select=prod"),
                    trimaran_sim::plan::target("lab-east select=east"),
                ],
            },
        ));
        self.incarnation += 1;
        let attach = self.attach();
        self.submit(attach);
        for _ in 0..2000 {
            let runs = self.live_runs();
            if runs.is_empty() {
                break;
            }
            self.lab.pass(1000);
            if let Some(row) = self.lab.rows.assignments().first().cloned() {
                let done = self.lab.result(&row, WireOutcome::Done);
                self.submit(done);
                continue;
            }
            let reasons = runs
                .iter()
                .flat_map(|run| run.reasons.iter().chain(run.stages.iter().flat_map(|stage| &stage.reasons)));
            let asks = reasons.map(|it| it.clears.clone()).find(|clears| clears != "wait");
            if let Some(clears) = asks {
                self.submit(command_of(&clears, self.lab.engine.epoch().1));
            }
        }
        let left: Vec<_> = self.live_runs().into_iter().map(|run| (run.run, run.status)).collect();
        assert!(left.is_empty(), "these never end: {left:?}");
        self.lab.pass(60_000);
        for run in query::runs(&self.lab.rows, None, usize::MAX).runs {
            self.seen.rolled_back += usize::from(run.status == "rolled_back");
            self.seen.rollback_runs += usize::from(run.kind == "rollback");
        }
    }
}

fn typed(run: &WireRun) -> RunId {
    run.clone().try_into().expect("a run of the driver")
}

/// When a stage that is an open approval expires.
fn expiry(stage: &Stage) -> Option<i64> {
    match &stage.approve()?.state {
        ApproveState::Open { expires } => Some(expires.0),
        _ => None,
    }
}

/// Every row of a table.
fn rows_of<R: Row>(lab: &Lab, table: u8) -> Vec<R> {
    let mut found = Vec::new();
    lab.rows.scan(&[table], &mut |_, value| {
        found.push(R::from_bytes(value).expect("a stored row"));
        true
    });
    found
}

/// The command that `clears` spells, as the CLI would send it.
fn command_of(clears: &str, incarnation: u64) -> Command {
    let words: Vec<&str> = clears.split(' ').collect();
    if clears == "trimaran cluster resume --yes" {
        return operator(
            "admin",
            CommandBody::ResumeCluster { epoch: None, incarnation: incarnation + 1000 },
        );
    }
    if let ["trimaran", "installation", verb, place] = words[..] {
        let [pipeline, environment, target] = place.split('/').collect::<Vec<_>>()[..] else {
            panic!("{place}")
        };
        let installation = WireInstallation { pipeline: pipeline.to_owned(), target: target.to_owned() };
        let environments = vec![format!("{environment} targets={target}")];
        let environment = environment.to_owned();
        if verb == "reapply" {
            return operator("op3", CommandBody::Reapply { installation, environment });
        }
        let plan = trimaran_sim::plan::plan(pipeline, &environments, "v0");
        let release = plan.environments[0].stages[0].release.as_ref().clone();
        return operator("op3", CommandBody::Adopt { installation, environment, release });
    }
    let (run, stage) = match words[2].split_once('/') {
        Some((run, stage)) => (run_id(run), Some(stage_id(stage))),
        None => (run_id(words[2]), None),
    };
    let body = match words[1] {
        "approve" => {
            let option = words.iter().position(|word| *word == "--option").map(|at| words[at + 1].to_owned());
            CommandBody::Approve { run, stage, option, plan_digest: None, comment: String::new() }
        }
        "resume" => CommandBody::Resume { run, stage },
        "cancel" => CommandBody::Cancel { run },
        other => panic!("`{other}` is no command that clears"),
    };
    operator("op3", body)
}

/// Whether runs of this kind restore a release.
fn is_restoring(kind: &str) -> bool {
    RunKind::ALL.iter().any(|it| it.restores() && it.as_str() == kind)
}
