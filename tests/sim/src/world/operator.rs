//! Operators as a script: each request is repeated with its id until it is answered, and some of them after it.

use std::collections::BTreeMap;

use trimaran_engine::Outcome;
use trimaran_engine::rows::{from_bytes, tables};
use trimaran_engine::state::installation::Installation;
use trimaran_model::id::RunId;
use trimaran_query::text::{self, Owner};
use trimaran_query::{self as query, RowSource as _, StoredRun};
use trimaran_wire::v1::command::{Command, CommandBody, TokenGrant};
use trimaran_wire::v1::common::WireInstallation;

use super::Asker;
use crate::check::Rows;
use crate::lab::{operator, request, run_id, stage_id, system};
use crate::plan;
use crate::random::Random;

/// The version that is deployed at the end of a world whose hosts are real, and works everywhere.
pub(crate) const LAST_VERSION: &str = "last";
/// Hosts of all targets.
const HOSTS: usize = 5;
/// Live runs above which nothing new is deployed.
const LIVE_MAX: usize = 5;

struct Request {
    command: Command,
    /// It is on its way since then.
    asked: Option<u64>,
    answer: Option<Outcome>,
}

pub(crate) struct Operators {
    random: Random,
    requests: BTreeMap<u64, Request>,
    next: u64,
    versions: u64,
    set_up: bool,
    /// The agent has come to a cluster that observes, so that it can be resumed.
    pub(crate) agent_came: bool,
}

impl Operators {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed ^ 0x0BAD_CAFE),
            requests: BTreeMap::new(),
            next: 1,
            versions: 0,
            set_up: false,
            agent_came: false,
        }
    }

    /// A backup was restored: what was answered after it is not in it, and they begin with what is.
    pub(crate) fn restored(&mut self) {
        self.requests.clear();
        self.set_up = false;
    }

    pub(crate) fn session_lost(&mut self) {
        self.requests.values_mut().for_each(|request| request.asked = None);
    }

    pub(crate) fn not_accepted(&mut self, number: u64) {
        if let Some(request) = self.requests.get_mut(&number) {
            request.asked = None;
        }
    }

    /// What was asked before `then` and has no answer is asked again.
    pub(crate) fn give_up(&mut self, then: u64) {
        let late = self.requests.values_mut().filter(|it| it.asked.is_some_and(|asked| asked < then));
        late.for_each(|request| request.asked = None);
    }

    /// Requests that wait for their answer since before `then`.
    pub(crate) fn unanswered(&self, then: u64) -> Vec<u64> {
        let late = self.requests.iter().filter(|(_, it)| it.asked.is_some_and(|asked| asked < then));
        late.map(|(number, _)| *number).collect()
    }

    /// Takes an answer; gives 1 when it repeats an earlier one, which it must equal.
    pub(crate) fn answered(&mut self, number: u64, outcome: Outcome) -> usize {
        let Some(request) = self.requests.get_mut(&number) else { return 0 };
        request.asked = None;
        match &request.answer {
            Some(first) => {
                assert_eq!(first, &outcome, "request {number} is answered as before");
                1
            }
            None => {
                request.answer = Some(outcome);
                0
            }
        }
    }

    pub(crate) fn runs(&self) -> usize {
        self.requests.values().filter(|request| matches!(request.answer, Some(Outcome::Run(_)))).count()
    }

    /// Everything that was acknowledged is there.
    pub(crate) fn check(&self, rows: &Rows) {
        for request in self.requests.values() {
            if let Some(Outcome::Run(run)) = &request.answer {
                assert!(query::stored_run(rows, run).is_some(), "{run:?} was acknowledged");
            }
        }
    }

    /// What they do now, at the true time of the world and its wall time.
    pub(crate) fn moves(
        &mut self,
        rows: &Rows,
        (now, wall): (u64, i64),
        healing: bool,
    ) -> Vec<(Command, Asker)> {
        if !self.set_up {
            return self.set_up(rows);
        }
        let waiting: Vec<u64> = self
            .requests
            .iter()
            .filter(|(_, it)| it.answer.is_none() && it.asked.is_none())
            .map(|(id, _)| *id)
            .collect();
        let mut numbers = waiting;
        if numbers.is_empty() && !healing && self.random.below(4) == 0 {
            // A client that lost an answer asks again; only the youngest are kept for it.
            let young: Vec<u64> = self.requests.keys().rev().take(10).copied().collect();
            numbers.extend(self.random.pick(&young).copied());
        }
        if numbers.is_empty()
            && let Some(body) = self.wish(rows, healing)
        {
            numbers.push(self.new_request(operator("op1", body), wall));
        }
        let ask = |number: u64| {
            let request = self.requests.get_mut(&number)?;
            request.asked = Some(now);
            Some((request.command.clone(), Asker::Request(number)))
        };
        numbers.into_iter().filter_map(ask).collect()
    }

    /// Deploys the last version, at a wall time; the number of the request.
    pub(crate) fn deploy_last(&mut self, wall: i64) -> u64 {
        let environments = [
            "staging targets=lab-staging".to_owned(),
            "prod after=staging targets=lab-prod sizes=50%,100%".to_owned(),
        ];
        let body = CommandBody::StartRun {
            source: None,
            plan: plan::plan("web", &environments, LAST_VERSION),
            overrides: Vec::new(),
            reason: String::new(),
        };
        self.new_request(operator("op1", body), wall)
    }

    /// Whether a request has its answer.
    pub(crate) fn is_answered(&self, number: u64) -> bool {
        self.requests.get(&number).is_some_and(|request| request.answer.is_some())
    }

    /// The run that a request has started.
    pub(crate) fn run_of(&self, number: u64) -> Option<RunId> {
        match self.requests.get(&number)?.answer.as_ref()? {
            Outcome::Run(run) => Some(run.clone()),
            other => panic!("the request is answered {other:?}"),
        }
    }

    fn new_request(&mut self, mut command: Command, wall: i64) -> u64 {
        let number = self.next;
        self.next += 1;
        command.request = Some(request(wall, number, 1));
        self.requests.insert(number, Request { command, asked: None, answer: None });
        number
    }

    /// Enrols agent and runners and applies targets, in small steps that are repeated until the last is there.
    fn set_up(&mut self, rows: &Rows) -> Vec<(Command, Asker)> {
        let targets = query::targets(rows, None).targets;
        let hosts: usize = targets.iter().map(|target| target.hosts.len()).sum();
        if targets.len() == 2 && hosts == HOSTS {
            self.set_up = true;
            return Vec::new();
        }
        let mut commands = Vec::new();
        let mut enroll = |number: u8, grant: TokenGrant| {
            let token_sha256 = [number; 32];
            commands.push(operator("admin", CommandBody::CreateToken { token_sha256, grant }));
            commands.push(system(CommandBody::UseToken {
                token_sha256,
                spki_sha256: [number + 100; 32],
                name: None,
            }));
        };
        enroll(10, TokenGrant::Agent { name: "lab".to_owned() });
        for (number, group) in [(11, "staging"), (12, "prod"), (13, "prod"), (14, "prod"), (15, "prod")] {
            enroll(
                number,
                TokenGrant::Runner {
                    name: format!("h{number}"),
                    agent: "lab".to_owned(),
                    labels: BTreeMap::from([("group".to_owned(), group.to_owned())]),
                },
            );
        }
        let targets = vec![
            plan::target("lab-staging select=staging class=staging"),
            plan::target("lab-prod select=prod"),
        ];
        commands.push(operator("admin", CommandBody::Apply { pipelines: Vec::new(), targets }));
        commands.into_iter().map(|command| (command, Asker::Internal)).collect()
    }

    /// What a user wants now; nothing new when the world heals.
    fn wish(&mut self, rows: &Rows, healing: bool) -> Option<CommandBody> {
        if query::observes(rows) && self.random.below(4) == 0 {
            let incarnation = self.next << 8;
            return self.agent_came.then_some(CommandBody::ResumeCluster { epoch: None, incarnation });
        }
        if let Some(installation) = undecided(rows)
            && self.random.below(3) == 0
        {
            return Some(self.decide(&installation));
        }
        let mut live = Vec::new();
        for run in query::runs_changed(rows, 0) {
            if !run.run.status.is_done() {
                live.push(run);
            }
        }
        if !healing && (live.is_empty() || (live.len() < LIVE_MAX && self.random.below(4) == 0)) {
            return Some(self.deploy());
        }
        match self.random.below(if healing { 8 } else { 12 }) {
            0..8 => self.follow(&live),
            8 => self.random.pick(&live).map(|run| CommandBody::Cancel { run: (&run.run.id).into() }),
            9 => Some(CommandBody::Rollback {
                pipeline: "web".to_owned(),
                environment: "prod".to_owned(),
                to: None,
                from: None,
                restore_from: None,
                reason: String::new(),
                overrides: Vec::new(),
            }),
            _ => None,
        }
    }

    /// What runs is right, or what the state has.
    fn decide(&mut self, it: &Installation) -> CommandBody {
        let (installation, environment) = (WireInstallation::from(&it.id), it.environment.to_string());
        if it.current.is_some() && self.random.below(2) == 0 {
            return CommandBody::Reapply { installation, environment };
        }
        let environments = [format!("{environment} targets={}", it.id.target)];
        let plan = plan::plan("web", &environments, &format!("v{}", self.versions));
        let release = plan.environments[0].stages[0].release.as_ref().clone();
        CommandBody::Adopt { installation, environment, release }
    }

    fn deploy(&mut self) -> CommandBody {
        self.versions += self.random.below(3);
        let environments = [
            "staging targets=lab-staging".to_owned(),
            "prod after=staging targets=lab-prod approve=promote,roll_back timeout=20s sizes=1,50%,100% bake=3s pause=500ms"
                .to_owned(),
        ];
        let overrides = if self.random.below(3) == 0 { vec!["quarantine".to_owned()] } else { Vec::new() };
        CommandBody::StartRun {
            source: None,
            plan: plan::plan("web", &environments, &format!("v{}", self.versions)),
            overrides,
            reason: String::new(),
        }
    }

    /// Does what the reason of some stage says.
    fn follow(&mut self, live: &[StoredRun]) -> Option<CommandBody> {
        let stages = live.iter().flat_map(|run| &run.stages);
        let reasons = stages.flat_map(|stage| {
            let owner = Owner { run: &stage.run, stage: Some(&stage.name) };
            text::reasons(&stage.reasons, owner)
        });
        let commands: Vec<String> =
            reasons.map(|reason| reason.clears).filter(|clears| clears != "wait").collect();
        let words: Vec<&str> = self.random.pick(&commands)?.split(' ').collect();
        let (run, stage) = match words[2].split_once('/') {
            Some((run, stage)) => (run_id(run), Some(stage_id(stage))),
            // A run that a restore left undecided, and not the cluster or an installation, which have their turn.
            None if words[2].contains('#') => (run_id(words[2]), None),
            None => return None,
        };
        Some(match words[1] {
            "approve" => {
                let option = if self.random.below(5) == 0 { "roll_back" } else { "promote" };
                let option = Some(option.to_owned());
                CommandBody::Approve { run, stage, option, plan_digest: None, comment: String::new() }
            }
            _ => CommandBody::Resume { run, stage },
        })
    }
}

/// An installation that a restore left undecided.
fn undecided(rows: &Rows) -> Option<Installation> {
    let mut found = None;
    rows.scan(&[tables::INSTALLATION], &mut |_, value| {
        let it: Installation = from_bytes(value).expect("a stored row");
        found = query::is_undecided(rows, &it.id).then_some(it);
        found.is_none()
    });
    found
}
