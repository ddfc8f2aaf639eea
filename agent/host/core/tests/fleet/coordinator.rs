//! A coordinator without a log: waves, rollback, resume, cancel. What it keeps is kept for good.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::action::{Action, Wave};
use trimaran_model::amount::IntOrPercent;
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Attempt, Epoch, Fence, HostName};
use trimaran_model::target::{HostSettings, PlatformKind};
use trimaran_wire::v1::agent::{AgentDown, AgentUp, Progress, ResultAnswer};
use trimaran_wire::v1::assignment::{WireCommit, WireOutcome};
use trimaran_wire::v1::target::{WirePlatform, WireTarget};

use crate::host::{installation, release};
use crate::world::{Event, Mutant, NEW, OLD, World};

/// The one target.
fn target() -> WireTarget {
    WireTarget {
        name: installation().target.to_string(),
        agent: "lab".to_owned(),
        prod: false,
        platform: WirePlatform::Hosts {
            select: BTreeMap::new(),
            require_user: false,
            settings: (&HostSettings::default()).into(),
        },
        parallel: 64,
    }
}

#[derive(Default)]
pub(crate) struct Coordinator {
    /// Every assignment that was given out, for the checks.
    pub(crate) given: BTreeMap<AssignmentId, Assignment>,
    pub(crate) live: Option<AssignmentId>,
    cancel: bool,
    wave: usize,
    waves: Vec<u32>,
    pub(crate) max_unavailable: u32,
    pub(crate) max_failures: u32,
    pub(crate) max_lost: u32,
    /// Hosts that were left behind since the last resume.
    pub(crate) lost: BTreeSet<HostName>,
    /// The fence of the attempt's first assignment.
    since: Fence,
    pub(crate) failed: BTreeSet<HostName>,
    /// Failures that it has acknowledged, for the checks.
    pub(crate) acknowledged: BTreeSet<HostName>,
    hosts: BTreeSet<HostName>,
    numbers: u64,
    attached: Option<(u64, u64, usize)>,
    superseded: BTreeSet<u64>,
    back: bool,
    /// The run restarts what runs.
    pub(crate) restarts: bool,
    canceled: bool,
    ended: Option<&'static str>,
    last: Option<WireOutcome>,
}

impl Coordinator {
    pub(crate) fn new(world: &mut World, restarts: bool) -> Self {
        let hosts: BTreeSet<HostName> = world.hosts.keys().cloned().collect();
        let total = u32::try_from(hosts.len()).expect("few");
        let middle = IntOrPercent::Percent(50).ceil_of(total);
        let waves = if world.below(2) == 0 { vec![1, middle, total] } else { vec![total] };
        let mut coordinator = Self {
            hosts,
            waves,
            max_unavailable: 1 + u32::try_from(world.below(3)).expect("small"),
            max_failures: u32::try_from(world.below(3)).expect("small"),
            max_lost: u32::try_from(world.below(3)).expect("small"),
            restarts,
            ..Self::default()
        };
        coordinator.assign();
        coordinator
    }

    pub(crate) fn ended(&self) -> Option<&'static str> {
        self.ended
    }

    pub(crate) fn describe(&self) -> String {
        let live = self.live.and_then(|id| self.given.get(&id)).map(|it| (it.id, &it.wave));
        format!(
            "wave {} of {:?}, back {}, live {live:?}, last {:?}",
            self.wave, self.waves, self.back, self.last
        )
    }

    fn assign(&mut self) {
        self.numbers += 1;
        let total = u32::try_from(self.hosts.len()).expect("few");
        let budget = self.max_failures.saturating_sub(u32::try_from(self.failed.len()).expect("few"));
        let lost = u32::try_from(self.lost.len()).expect("few");
        if self.since == Fence::default() {
            self.since = Fence::new(Epoch(1), self.numbers);
        }
        let wave = Wave {
            number: u32::try_from(self.wave).expect("few") + 1,
            target_count: if self.back { total } else { self.waves[self.wave] },
            max_unavailable: IntOrPercent::Count(self.max_unavailable),
            failures_left: if self.back { 0 } else { budget },
            failed: if self.back { Vec::new() } else { self.failed.iter().cloned().collect() },
            since: self.since,
            lost_left: if self.back { total } else { self.max_lost.saturating_sub(lost) },
            lost: if self.back { Vec::new() } else { self.lost.iter().cloned().collect() },
            ..Wave::default()
        };
        let id = AssignmentId(self.numbers);
        let assignment = Assignment {
            id,
            fence: Fence::new(Epoch(1), self.numbers),
            installation: installation(),
            run: "web#1".parse().expect("a run"),
            stage: "prod/prod".parse().expect("a stage"),
            attempt: Attempt(1),
            platform: PlatformKind::Hosts,
            action: match (self.back, self.restarts) {
                (true, _) => Action::Restore(OLD),
                (false, true) => Action::Restart(OLD),
                (false, false) => Action::Release(NEW),
            },
            release: Some(release()),
            wave,
            hosts: self.hosts.clone(),
            retained: BTreeSet::from([OLD, NEW]),
            committed: None,
            restore_from: None,
        };
        self.given.insert(id, assignment);
        (self.live, self.cancel) = (Some(id), false);
    }

    fn take(&mut self, outcome: &WireOutcome, progress: &Progress) -> Option<u64> {
        self.live = None;
        self.last = Some(outcome.clone());
        for host in &progress.failed {
            self.failed.insert(host.parse().expect("a name"));
        }
        for host in &progress.lost {
            self.lost.insert(host.parse().expect("a name"));
        }
        match outcome {
            WireOutcome::Done if self.back => self.ended = Some("rolled_back"),
            WireOutcome::Done if self.wave + 1 == self.waves.len() => self.ended = Some("succeeded"),
            WireOutcome::Done if self.canceled => self.ended = Some("canceled"),
            WireOutcome::Done => {
                self.wave += 1;
                self.assign();
            }
            WireOutcome::Failed(_) if self.back => self.ended = Some("rollback_failed"),
            WireOutcome::Failed(_) => {
                self.back = true;
                self.assign();
            }
            WireOutcome::Fault(_) if self.canceled => self.ended = Some("canceled"),
            // A user fixes it and resumes.
            WireOutcome::Fault(_) => return Some(5_000),
            WireOutcome::Stopped => self.ended = Some("canceled"),
        }
        None
    }
}

impl World {
    fn send_to_agent(&mut self, message: AgentDown) {
        let Some((session, _, agent)) = self.coordinator.attached else { return };
        self.send(session * 2, Event::ToAgent { agent, session, message });
    }

    fn bring_up_to_date(&mut self) {
        let Some(id) = self.coordinator.live else { return };
        let assignment = &self.coordinator.given[&id];
        let (message, fence) = (AgentDown::Assign(assignment.into()), assignment.fence.0);
        self.send_to_agent(message);
        if self.coordinator.cancel {
            self.send_to_agent(AgentDown::Cancel { assignment: id.0, fence });
        }
    }

    pub(crate) fn coordinator_receives(&mut self, session: u64, message: AgentUp) {
        if let AgentUp::Hello { incarnation, held, .. } = message {
            let agent = self.agents.iter().position(|agent| agent.coordinator == Some(session));
            let Some(agent) = agent else { return };
            if self.coordinator.superseded.contains(&incarnation) {
                return self
                    .send(session * 2, Event::ToAgent { agent, session, message: AgentDown::Superseded });
            }
            if let Some((old_session, old, old_agent)) = self.coordinator.attached
                && old != incarnation
            {
                self.coordinator.superseded.insert(old);
                let message = AgentDown::Superseded;
                self.send(
                    old_session * 2,
                    Event::ToAgent { agent: old_agent, session: old_session, message },
                );
            }
            self.coordinator.attached = Some((session, incarnation, agent));
            self.send_to_agent(AgentDown::Welcome {
                cluster: "lab".into(),
                epoch: 1,
                incarnation: 1,
                revision: 1,
            });
            self.send_to_agent(AgentDown::Targets { targets: vec![target()], last: true });
            for held in held {
                if self.coordinator.live != Some(AssignmentId(held.assignment)) {
                    self.send_to_agent(AgentDown::Cancel { assignment: held.assignment, fence: held.fence });
                }
            }
            return self.bring_up_to_date();
        }
        if self.coordinator.attached.is_none_or(|(attached, ..)| attached != session) {
            return;
        }
        match message {
            AgentUp::Ping { sent_ms, .. } => {
                self.send_to_agent(AgentDown::Pong { sent_ms, wall_ms: 0 });
            }
            AgentUp::Commit { commit, progress } => self.charge(commit, &progress),
            AgentUp::Result { assignment, fence, outcome, progress } => {
                self.result(AssignmentId(assignment), fence, &outcome, &progress);
            }
            AgentUp::Hello { .. } | AgentUp::Progress(_) | AgentUp::Verdicts(_) => {}
            AgentUp::Unknown(_) | AgentUp::Runners(_) => {}
            AgentUp::Refused(_) | AgentUp::ProgressChanges(_) => {}
        }
    }

    fn charge(&mut self, commit: WireCommit, progress: &Progress) {
        let id = AssignmentId(progress.assignment);
        if self.coordinator.live == Some(id) && self.mutant != Mutant::ForgetsFailures {
            let new: Vec<HostName> =
                progress.failed.iter().map(|host| host.parse().expect("a name")).collect();
            let wave = &mut self.coordinator.given.get_mut(&id).expect("given").wave;
            for host in new {
                self.coordinator.failed.insert(host.clone());
                if !wave.failed.contains(&host) {
                    wave.failed.push(host);
                    wave.failures_left = wave.failures_left.saturating_sub(1);
                }
            }
        }
        let named = progress.failed.iter().map(|host| host.parse::<HostName>().expect("a name"));
        self.coordinator.acknowledged.extend(named);
        let n = commit.n;
        if let Some(given) = self.coordinator.given.get_mut(&id) {
            given.committed = Some(commit.into());
        }
        self.send_to_agent(AgentDown::Committed { assignment: progress.assignment, n });
    }

    fn result(&mut self, id: AssignmentId, fence: u64, outcome: &WireOutcome, progress: &Progress) {
        let lost = self.mutant == Mutant::LosesResults && self.below(3) == 0;
        if self.coordinator.live == Some(id) && !lost {
            self.note(format!("assignment {id} ends: {outcome:?}"));
            if let Some(pause) = self.coordinator.take(outcome, progress) {
                self.after(pause, Event::Resume);
            }
        }
        self.send_to_agent(AgentDown::Answer { assignment: id.0, fence, answer: ResultAnswer::Applied });
        self.bring_up_to_date();
    }

    pub(crate) fn resume_stage(&mut self) {
        if self.coordinator.live.is_none() && self.coordinator.ended.is_none() {
            self.coordinator.lost.clear();
            self.coordinator.assign();
            self.bring_up_to_date();
        }
    }

    pub(crate) fn cancel_run(&mut self) {
        self.coordinator.canceled = true;
        match self.coordinator.live {
            Some(_) => {
                self.coordinator.cancel = true;
                self.bring_up_to_date();
            }
            None => self.coordinator.ended = self.coordinator.ended.or(Some("canceled")),
        }
    }

    /// The fence of the attempt's first assignment.
    pub(crate) fn attempt_since(&self) -> Fence {
        self.coordinator.since
    }

    /// Whether an assignment may still start something: it is live, or its withdrawal can't have arrived.
    pub(crate) fn is_live(&self, id: AssignmentId) -> bool {
        self.coordinator.live == Some(id)
    }
}
