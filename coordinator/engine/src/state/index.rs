//! Indexes: what finds rows by something else than their key, so that an event costs what it reaches and not what there
//! is.
//!
//! An index is a pure function of its table's rows: [`crate::table::Table`] keeps it with every change and undo, and
//! [`crate::Engine::check_indexes`] compares it with one that is made anew.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::id::{
    AgentName, AssignmentId, Digest, HostName, InstallationId, PipelineName, RunId, TargetName,
};
use trimaran_model::time::{Timestamp, WallTime};

use super::agent::{Agent, Runner};
use super::assignment::{LiveAssignment, TargetEntry};
use super::installation::Installation;
use super::pipeline::ReleaseEntry;
use super::run::Run;
use super::stage::{Kind, Stage};
use crate::table::Index;

/// Values by what they are found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multimap<K, V>(BTreeMap<K, BTreeSet<V>>);

impl<K, V> Default for Multimap<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, V: Ord> Multimap<K, V> {
    fn set(&mut self, key: &K, value: V, present: bool) {
        if present {
            self.0.entry(key.clone()).or_default().insert(value);
        } else if let Some(values) = self.0.get_mut(key) {
            values.remove(&value);
            if values.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// The values of a key, in order.
    pub(crate) fn of(&self, key: &K) -> impl DoubleEndedIterator<Item = &V> + use<'_, K, V> {
        self.0.get(key).into_iter().flatten()
    }

    pub(crate) fn count(&self, key: &K) -> usize {
        self.0.get(key).map_or(0, BTreeSet::len)
    }
}

/// Values that are due at a moment, the earliest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agenda<T, V>(BTreeSet<(T, V)>);

impl<T, V> Default for Agenda<T, V> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<T: Ord + Copy, V: Ord> Agenda<T, V> {
    fn set(&mut self, at: Option<T>, value: V, present: bool) {
        let Some(at) = at else { return };
        if present {
            self.0.insert((at, value));
        } else {
            self.0.remove(&(at, value));
        }
    }

    /// All of them, in order of their moments.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (T, &V)> {
        self.0.iter().map(|(at, value)| (*at, value))
    }

    /// Those that are due.
    pub(crate) fn until(&self, now: T) -> impl Iterator<Item = &V> {
        let is_due = move |at: T| if mutant!(TimerLate) { at < now } else { at <= now };
        self.iter().take_while(move |(at, _)| is_due(*at)).map(|(_, value)| value)
    }
}

/// Implements `Index` by one function that adds a row or takes it out.
macro_rules! index {
    ($index:ident of $row:ident) => {
        impl Index<$row> for $index {
            fn add(&mut self, row: &$row) {
                self.set(row, true);
            }
            fn remove(&mut self, row: &$row) {
                self.set(row, false);
            }
        }
    };
}

/// Targets by their agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetIndex {
    pub(crate) by_agent: Multimap<AgentName, TargetName>,
}

impl TargetIndex {
    fn set(&mut self, row: &TargetEntry, present: bool) {
        self.by_agent.set(&row.target.agent, row.target.name.clone(), present);
    }
}
index!(TargetIndex of TargetEntry);

/// Runs that are not done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunIndex {
    pub(crate) live: BTreeSet<RunId>,
}

impl RunIndex {
    fn set(&mut self, row: &Run, present: bool) {
        if !row.status.is_done() && present {
            self.live.insert(row.id.clone());
        } else {
            self.live.remove(&row.id);
        }
    }
}
index!(RunIndex of Run);

/// A stage by its run and place.
type StageKey = (RunId, u16);

/// Stages that something outside of their run moves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StageIndex {
    /// Deploys that are not done, by their target.
    pub(crate) by_target: Multimap<TargetName, StageKey>,
    /// Ends of pauses, in cluster time.
    pub(crate) pauses: Agenda<Timestamp, StageKey>,
    /// Ends of approvals.
    pub(crate) expiries: Agenda<WallTime, StageKey>,
}

impl StageIndex {
    fn set(&mut self, row: &Stage, present: bool) {
        let key = || (row.run.clone(), row.index);
        match &row.kind {
            Kind::Deploy { deploy } => {
                if !deploy.is_done() {
                    self.by_target.set(&deploy.target, key(), present);
                }
                self.pauses.set(deploy.pause_end(), key(), present);
            }
            Kind::Approve { approve } => self.expiries.set(approve.expiry(), key(), present),
        }
    }
}
index!(StageIndex of Stage);

/// Installations by their target, the ends of their bakes, and the assignments that they remember.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstallationIndex {
    pub(crate) by_pipeline: Multimap<PipelineName, InstallationId>,
    pub(crate) by_target: Multimap<TargetName, InstallationId>,
    pub(crate) bakes: Agenda<Timestamp, InstallationId>,
    pub(crate) ended: Multimap<AssignmentId, InstallationId>,
}

impl InstallationIndex {
    fn set(&mut self, row: &Installation, present: bool) {
        self.by_pipeline.set(&row.id.pipeline, row.id.clone(), present);
        self.by_target.set(&row.id.target, row.id.clone(), present);
        self.bakes.set(row.bake_until, row.id.clone(), present);
        for ended in &row.ended {
            self.ended.set(&ended.assignment, row.id.clone(), present);
        }
    }
}
index!(InstallationIndex of Installation);

/// Live assignments by their target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AssignmentIndex {
    pub(crate) by_target: Multimap<TargetName, AssignmentId>,
}

impl AssignmentIndex {
    fn set(&mut self, row: &LiveAssignment, present: bool) {
        self.by_target.set(&row.order.installation.target, row.order.id, present);
    }
}
index!(AssignmentIndex of LiveAssignment);

/// Agents that are handed over, by the end of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AgentIndex {
    pub(crate) handovers: Agenda<Timestamp, AgentName>,
}

impl AgentIndex {
    fn set(&mut self, row: &Agent, present: bool) {
        self.handovers.set(row.handover_until, row.name.clone(), present);
    }
}
index!(AgentIndex of Agent);

/// Releases by the content that they name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReleaseIndex {
    by_content: Multimap<Digest, Digest>,
}

impl ReleaseIndex {
    fn set(&mut self, row: &ReleaseEntry, present: bool) {
        if let Some(content) = row.release.workload.content() {
            self.by_content.set(&content.digest, row.digest, present);
        }
    }

    /// Whether a release in memory needs it.
    pub(crate) fn is_content_named(&self, content: Digest) -> bool {
        self.by_content.count(&content) > 0
    }
}
index!(ReleaseIndex of ReleaseEntry);

/// Runners of an agent by each of their labels: the smallest of the sets that a target selects has all of its hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunnerIndex {
    by_agent: Multimap<AgentName, HostName>,
    by_label: Multimap<(AgentName, String, String), HostName>,
}

impl RunnerIndex {
    fn set(&mut self, row: &Runner, present: bool) {
        self.by_agent.set(&row.agent, row.name.clone(), present);
        for (label, value) in &row.selectable() {
            let key = (row.agent.clone(), label.clone(), value.clone());
            self.by_label.set(&key, row.name.clone(), present);
        }
    }

    /// The smallest set that has all runners of an agent with these labels; others are in it too.
    pub(crate) fn candidates(
        &self,
        agent: &AgentName,
        labels: &BTreeMap<String, String>,
    ) -> impl Iterator<Item = &HostName> + use<'_> {
        let key = |(label, value): (&String, &String)| (agent.clone(), label.clone(), value.clone());
        let labelled = labels.iter().map(key).map(|key| self.by_label.0.get(&key));
        // Of a label that no runner has there is no set: nothing is selected.
        let smallest = labelled.min_by_key(|set| set.map_or(0, BTreeSet::len));
        smallest.unwrap_or_else(|| self.by_agent.0.get(agent)).into_iter().flatten()
    }
}
index!(RunnerIndex of Runner);
