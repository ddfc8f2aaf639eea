//! What this member knows and the log does not: who is connected, what was last seen, live progress.
//!
//! Lost with the process and rebuilt from the sessions that come back.

use std::collections::BTreeMap;

use parking_lot::{Mutex, MutexGuard};
use trimaran_model::time::WallTime;
use trimaran_transport::Session;
use trimaran_wire::v1::agent::{HeldAssignment, Progress, RefusedAssignment, RefusedCounts, RunnerState};

use crate::instance_times::InstanceTimes;

/// One attached agent.
#[derive(Clone)]
pub(crate) struct AttachedAgent {
    pub(crate) session: Session,
    pub(crate) incarnation: u64,
    pub(crate) address: String,
    pub(crate) last_seen: WallTime,
    /// What the agent's own port refused.
    pub(crate) refused: RefusedCounts,
}

/// An agent that another coordinator serves, as that one says.
#[derive(Debug, Clone)]
pub(crate) struct ElsewhereAgent {
    pub(crate) incarnation: u64,
    pub(crate) address: String,
    pub(crate) last_seen: WallTime,
    pub(crate) refused: RefusedCounts,
}

/// What another coordinator said of the agents that it serves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    pub(crate) agents: BTreeMap<String, ElsewhereAgent>,
    pub(crate) runners: BTreeMap<String, RunnerState>,
    pub(crate) progress: BTreeMap<u64, Progress>,
    pub(crate) held: BTreeMap<String, Vec<(HeldAssignment, WallTime)>>,
    pub(crate) refused: BTreeMap<String, BTreeMap<u64, (RefusedAssignment, WallTime)>>,
}

#[derive(Default)]
pub(crate) struct SoftState {
    pub(crate) agents: BTreeMap<String, AttachedAgent>,
    /// By the agent that said it, and the runner.
    pub(crate) runners: BTreeMap<String, BTreeMap<String, RunnerState>>,
    /// Progress of live assignments, by their number.
    pub(crate) progress: BTreeMap<u64, Progress>,
    /// Since when its instances are as they are.
    pub(crate) times: InstanceTimes,
    /// What each agent holds and no coordinator knows, since when this member knows of it.
    pub(crate) held: BTreeMap<String, Vec<(HeldAssignment, WallTime)>>,
    /// Orders that each agent refused, by their assignment, since when this member knows of it.
    pub(crate) refused: BTreeMap<String, BTreeMap<u64, (RefusedAssignment, WallTime)>>,
    /// What other coordinators said last, by raft id.
    pub(crate) elsewhere: BTreeMap<u64, Sessions>,
}

impl SoftState {
    /// An agent with a session, here or elsewhere.
    pub(crate) fn connected(&self, agent: &str) -> Option<ElsewhereAgent> {
        if let Some(here) = self.agents.get(agent) {
            let AttachedAgent { incarnation, address, last_seen, refused, .. } = here.clone();
            return Some(ElsewhereAgent { incarnation, address, last_seen, refused });
        }
        self.elsewhere.values().find_map(|it| it.agents.get(agent)).cloned()
    }

    /// The raft id of the other coordinator that has an agent's session.
    pub(crate) fn served_by(&self, agent: &str) -> Option<u64> {
        self.elsewhere.iter().find(|(_, it)| it.agents.contains_key(agent)).map(|(id, _)| *id)
    }

    /// What an agent said of its runner; the coordinator that has the agent's session knows best.
    pub(crate) fn runner(&self, name: &str, agent: &str) -> Option<&RunnerState> {
        let served = self.elsewhere.values().find(|it| it.agents.contains_key(agent));
        match served.filter(|_| !self.agents.contains_key(agent)) {
            Some(sessions) => sessions.runners.get(name),
            None => self.runners.get(agent)?.get(name),
        }
    }

    /// Progress of an assignment whose agent is attached here.
    pub(crate) fn note_progress(&mut self, progress: Progress, now: WallTime) {
        self.times.note(&progress, now);
        self.progress.insert(progress.assignment, progress);
    }

    /// The assignment is not live any more.
    pub(crate) fn forget_progress(&mut self, assignment: u64) {
        self.progress.remove(&assignment);
        self.times.forget(assignment);
    }

    /// What another coordinator says now; `None` when it does not answer.
    pub(crate) fn note_elsewhere(&mut self, coordinator: u64, said: Option<Sessions>, now: WallTime) {
        for progress in said.iter().flat_map(|said| said.progress.values()) {
            self.times.note(progress, now);
        }
        match said {
            Some(said) => drop(self.elsewhere.insert(coordinator, said)),
            None => drop(self.elsewhere.remove(&coordinator)),
        }
        let Self { times, progress, elsewhere, .. } = self;
        times.retain(|it| {
            progress.contains_key(&it) || elsewhere.values().any(|said| said.progress.contains_key(&it))
        });
    }

    pub(crate) fn progress_of(&self, assignment: u64) -> Option<&Progress> {
        let elsewhere = || self.elsewhere.values().find_map(|it| it.progress.get(&assignment));
        self.progress.get(&assignment).or_else(elsewhere)
    }
}

/// The soft state, shared by the tasks of the process. Never held across an await.
#[derive(Default)]
pub(crate) struct SharedSoftState(Mutex<SoftState>);

impl SharedSoftState {
    pub(crate) fn lock(&self) -> MutexGuard<'_, SoftState> {
        self.0.lock()
    }
}
