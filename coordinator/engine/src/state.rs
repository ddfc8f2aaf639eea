//! Everything that `apply` may read: typed tables, and the questions that several concerns ask them.

pub mod agent;
pub mod assignment;
pub mod cluster;
pub mod index;
pub mod installation;
pub mod pipeline;
pub mod request;
pub mod run;
pub mod stage;
pub mod token;
pub mod undecided;

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::assignment::Assignment;
use trimaran_model::feature_level;
use trimaran_model::id::{
    AgentName, AssignmentId, HostName, Identity, InstallationId, PipelineName, RequestId, Revision, RunId,
    TargetName,
};
use trimaran_model::target::{Target, TargetPlatform};
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_model::why::{Reason, Why};
use trimaran_wire::codec::CodecError;

use crate::event::Event;
use crate::rows::is_cold;
use crate::table::{Row, RowChange, Table};
use agent::{Agent, Runner};
use assignment::{LiveAssignment, TargetEntry};
use cluster::{Alarm, AlarmDetail, AlarmSubject, Cluster, Member};
use installation::Installation;
use pipeline::{ContentEntry, Pipeline, Quarantine, ReleaseEntry, SettleEntry};
use request::Request;
use run::{Run, RunGraph};
use stage::Stage;
use token::{Operator, Revoked, Token};
use undecided::Undecided;

/// Makes the state from its tables, with what is done to each of them.
macro_rules! tables {
    ($($field:ident: $row:ident),* $(,)?) => {
        /// Everything that `apply` may read.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct State {
            $(pub(crate) $field: Table<$row>,)*
            /// Rows that leave memory with the entry.
            pub(crate) cold: Vec<RowChange>,
            pub(crate) events: Vec<Event>,
            /// Ids of the rows in `requests`, by who sent them, the oldest first.
            pub(crate) request_ids: BTreeMap<Identity, BTreeSet<RequestId>>,
            /// The entry that is applied.
            pub(crate) revision: Revision,
        }

        impl State {
            /// Adds a stored row of table `number`; cold rows are passed over.
            pub(crate) fn load(&mut self, number: u8, value: &[u8], hash: &mut u128) -> Result<(), LoadError> {
                $(if number == $row::TABLE {
                    let row = $row::from_bytes(value).map_err(|source| LoadError::Row { table: number, source })?;
                    self.$field.load(row, hash);
                    return Ok(());
                })*
                if is_cold(number) { Ok(()) } else { Err(LoadError::Table { table: number }) }
            }

            /// Begins a change that can be undone.
            pub(crate) fn begin(&mut self) {
                $(self.$field.begin();)*
            }

            pub(crate) fn undo(&mut self) {
                $(self.$field.undo();)*
            }

            /// The table and size of a row over `max` that the change wrote.
            pub(crate) fn too_large(&mut self, max: usize) -> Option<(u8, usize)> {
                $(if let Some(bytes) = self.$field.too_large(max) {
                    return Some(($row::TABLE, bytes));
                })*
                None
            }

            /// A table whose index is not the one that its rows make.
            pub(crate) fn wrong_index(&self) -> Option<&'static str> {
                $(if !self.$field.is_indexed() {
                    return Some(stringify!($field));
                })*
                None
            }

            /// Whether the entry has changed anything in memory.
            pub(crate) fn has_changed(&self) -> bool {
                $(self.$field.has_changed())||*
            }

            /// Moves what the entry changed out, table by table and cold rows last, and keeps the sum of hashes.
            pub(crate) fn drain(&mut self, hash: &mut u128) -> Vec<RowChange> {
                let mut rows = Vec::new();
                $(self.$field.drain(hash, &mut rows);)*
                rows.append(&mut self.cold);
                rows
            }
        }
    };
}

tables! {
    cluster: Cluster,
    members: Member,
    alarms: Alarm,
    targets: TargetEntry,
    pipelines: Pipeline,
    runs: Run,
    installations: Installation,
    releases: ReleaseEntry,
    assignments: LiveAssignment,
    agents: Agent,
    runners: Runner,
    tokens: Token,
    revoked: Revoked,
    operators: Operator,
    requests: Request,
    quarantine: Quarantine,
    settle: SettleEntry,
    stages: Stage,
    contents: ContentEntry,
    undecided: Undecided,
}

/// Why rows are not a state.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("a row has no table")]
    Empty,
    #[error("table {table} is not known to this build; the binary is too old")]
    Table { table: u8 },
    #[error("a row of table {table} can't be read")]
    Row { table: u8, source: CodecError },
}

impl State {
    pub(crate) fn cluster(&self) -> Cluster {
        self.cluster.get(&()).cloned().unwrap_or_default()
    }

    pub(crate) fn set_cluster(&mut self, change: impl FnOnce(&mut Cluster)) {
        let mut cluster = self.cluster();
        change(&mut cluster);
        self.cluster.put(cluster);
    }

    /// The feature level.
    pub(crate) fn level(&self) -> u16 {
        self.cluster.get(&()).map_or(feature_level::FIRST, |it| it.level)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.cluster.get(&()).map_or(Timestamp(0), |it| it.now)
    }

    pub(crate) fn wall(&self) -> WallTime {
        self.cluster.get(&()).map_or(WallTime(0), Cluster::wall)
    }

    pub(crate) fn target(&self, name: &TargetName) -> Option<&Target> {
        self.targets.get(name).map(|it| &it.target)
    }

    /// Enrolled runners of a host target, by name, without those that have been away for too long.
    pub(crate) fn hosts_of<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a HostName> {
        let select = match &target.platform {
            TargetPlatform::Hosts { select, .. } => Some(select),
            TargetPlatform::Kubernetes { .. } | TargetPlatform::Flink { .. } => None,
        };
        let candidates = select.map(|select| self.runners.index().candidates(&target.agent, select));
        let now = self.wall();
        let fits = move |runner: &Runner| runner.is_host_of(target) && !runner.is_out_of(target, now);
        let is_host = move |name: &&HostName| self.runners.get(name).is_some_and(fits);
        candidates.into_iter().flatten().filter(is_host)
    }

    pub(crate) fn live_runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.index().live.iter().filter_map(|id| self.runs.get(id))
    }

    /// Runs of a pipeline that are in memory, oldest first.
    pub(crate) fn runs_of(&self, pipeline: &PipelineName) -> impl DoubleEndedIterator<Item = &Run> {
        let id = |number| RunId { pipeline: pipeline.clone(), number };
        self.runs.between(id(0), id(u64::MAX))
    }

    /// Runs of a pipeline that are not done, oldest first.
    pub(crate) fn live_runs_of(&self, pipeline: &PipelineName) -> impl DoubleEndedIterator<Item = &Run> {
        let id = |number| RunId { pipeline: pipeline.clone(), number };
        self.runs.index().live.range(id(0)..=id(u64::MAX)).filter_map(|id| self.runs.get(id))
    }

    /// The stages of a run in their order.
    pub(crate) fn stages_of(&self, run: &RunId) -> impl DoubleEndedIterator<Item = &Stage> {
        self.stages.between((run.clone(), 0), (run.clone(), u16::MAX))
    }

    /// A run with its stages, to be changed and put back.
    pub(crate) fn graph(&self, id: &RunId) -> Option<RunGraph> {
        let run = self.runs.get(id)?.clone();
        Some(RunGraph { run, stages: self.stages_of(id).cloned().collect() })
    }

    /// Puts a run back with the stages that changed.
    pub(crate) fn put_graph(&mut self, graph: RunGraph) {
        self.runs.put(graph.run);
        graph.stages.into_iter().for_each(|stage| self.stages.put(stage));
    }

    /// Installations of a pipeline, by target.
    pub(crate) fn installations_of(&self, pipeline: &PipelineName) -> impl Iterator<Item = &Installation> {
        let here = self.installations.index().by_pipeline.of(pipeline);
        here.filter_map(|id| self.installations.get(id))
    }

    /// For the agents: what the entry changed of installations.
    pub(crate) fn announce_standing(&mut self) {
        let changed: Vec<InstallationId> = self.installations.changed().cloned().collect();
        for installation in changed {
            let agent = self.target(&installation.target).map(|target| target.agent.clone());
            self.events.extend(agent.map(|agent| Event::AgentStanding { agent, installation }));
        }
    }

    /// Queues a run for settling.
    pub(crate) fn wake(&mut self, run: &RunId) {
        self.settle.put(SettleEntry { run: run.clone() });
    }

    /// Queues every run that is not done.
    pub(crate) fn wake_all(&mut self) {
        let live: Vec<RunId> = self.runs.index().live.iter().cloned().collect();
        live.iter().for_each(|run| self.wake(run));
    }

    /// Queues the waiters of a target: runs with a deploy there that is not done.
    pub(crate) fn wake_target(&mut self, target: &TargetName) {
        let mut waiters: Vec<RunId> = Vec::new();
        for (run, _) in self.stages.index().by_target.of(target) {
            if waiters.last() != Some(run) && self.runs.index().live.contains(run) {
                waiters.push(run.clone());
            }
        }
        waiters.iter().for_each(|run| self.wake(run));
    }

    /// Queues the waiters of an agent: those of its targets.
    pub(crate) fn wake_agent(&mut self, agent: &AgentName) {
        let targets: Vec<TargetName> = self.targets.index().by_agent.of(agent).cloned().collect();
        targets.iter().for_each(|target| self.wake_target(target));
    }

    /// Installations of the targets that an agent serves.
    pub(crate) fn installations_at(&self, agent: &AgentName) -> impl Iterator<Item = &Installation> {
        let targets = self.targets.index().by_agent.of(agent);
        let here = targets.flat_map(|target| self.installations.index().by_target.of(target));
        here.filter_map(|id| self.installations.get(id))
    }

    pub(crate) fn installation(&self, run: &RunId, target: &TargetName) -> Option<&Installation> {
        self.installations.get(&InstallationId { pipeline: run.pipeline.clone(), target: target.clone() })
    }

    /// Changes an installation that has had an assignment.
    pub(crate) fn change_installation(
        &mut self,
        run: &RunId,
        target: &TargetName,
        change: impl FnOnce(&mut Installation),
    ) {
        let id = InstallationId { pipeline: run.pipeline.clone(), target: target.clone() };
        self.installations.update(&id, change);
    }

    /// A live assignment's order.
    pub(crate) fn order(&self, id: AssignmentId) -> Option<&Assignment> {
        self.assignments.get(&id).map(|it| &it.order)
    }

    /// A reason that began now, unless the stage had the same one already.
    pub(crate) fn reason(&self, why: Why) -> Reason {
        Reason { why, since: self.wall(), next_check: None }
    }

    /// A reason that ends at a moment of cluster time.
    pub(crate) fn reason_until(&self, why: Why, at: Timestamp) -> Reason {
        Reason { next_check: Some(self.cluster().wall_of(at)), ..self.reason(why) }
    }

    /// Sets an alarm; its time stays when it is known already.
    pub(crate) fn raise_alarm(&mut self, subject: AlarmSubject, code: &str, detail: AlarmDetail) {
        let key = (subject, code.to_owned());
        let since = self.alarms.get(&key).map_or(self.wall(), |known| known.since);
        self.alarms.put(Alarm { subject: key.0, code: key.1, detail, since });
    }

    pub(crate) fn clear_alarm(&mut self, subject: AlarmSubject, code: &str) {
        self.alarms.remove(&(subject, code.to_owned()));
    }
}
