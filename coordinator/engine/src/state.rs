//! Everything that `apply` may read: typed tables, and the questions that several concerns ask them.

pub mod agent;
pub mod assignment;
pub mod cluster;
pub mod installation;
pub mod pipeline;
pub mod request;
pub mod run;
pub mod stage;
pub mod token;

use trimaran_model::assignment::Assignment;
use trimaran_model::id::{
    AgentName, AssignmentId, HostName, InstallationId, PipelineName, Revision, RunId, TargetName,
};
use trimaran_model::target::Target;
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
use pipeline::{Pipeline, Quarantine, ReleaseEntry, SettleEntry};
use request::Request;
use run::{Run, RunGraph};
use stage::Stage;
use token::{Operator, Revoked, Token};

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

    pub(crate) fn now(&self) -> Timestamp {
        self.cluster.get(&()).map_or(Timestamp(0), |it| it.now)
    }

    pub(crate) fn wall(&self) -> WallTime {
        self.cluster.get(&()).map_or(WallTime(0), Cluster::wall)
    }

    pub(crate) fn target(&self, name: &TargetName) -> Option<&Target> {
        self.targets.get(name).map(|it| &it.target)
    }

    /// Enrolled runners of a host target, by name.
    pub(crate) fn hosts_of(&self, target: &Target) -> Vec<HostName> {
        let here = self.runners.iter().filter(|runner| runner.is_host_of(target));
        here.map(|runner| runner.name.clone()).collect()
    }

    pub(crate) fn live_runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.active()
    }

    /// Runs of a pipeline that are in memory, oldest first.
    pub(crate) fn runs_of(&self, pipeline: &PipelineName) -> impl DoubleEndedIterator<Item = &Run> {
        let id = |number| RunId { pipeline: pipeline.clone(), number };
        self.runs.between(id(0), id(u64::MAX))
    }

    pub(crate) fn live_runs_of(&self, pipeline: &PipelineName) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs_of(pipeline).filter(|run| !run.status.is_done())
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

    /// Whether a run has a stage on this target.
    pub(crate) fn works_on(&self, run: &RunId, target: &TargetName) -> bool {
        self.stages_of(run).any(|stage| stage.deploy().is_some_and(|it| it.target == *target))
    }

    /// Installations of a pipeline, by target.
    pub(crate) fn installations_of(&self, pipeline: &PipelineName) -> impl Iterator<Item = &Installation> {
        self.installations.iter().filter(move |it| it.id.pipeline == *pipeline)
    }

    /// Queues a run for settling.
    pub(crate) fn wake(&mut self, run: &RunId) {
        self.settle.put(SettleEntry { run: run.clone() });
    }

    /// Queues every live run that `concerns` picks: the waiters of a resource.
    pub(crate) fn wake_where(&mut self, concerns: impl Fn(&Self, &Run) -> bool) {
        let runs: Vec<RunId> =
            self.live_runs().filter(|run| concerns(self, run)).map(|run| run.id.clone()).collect();
        runs.iter().for_each(|run| self.wake(run));
    }

    /// The waiters of a target.
    pub(crate) fn wake_target(&mut self, target: &TargetName) {
        self.wake_where(|state, run| state.works_on(&run.id, target));
    }

    /// The waiters of an agent: runs with a stage on one of its targets.
    pub(crate) fn wake_agent(&mut self, agent: &AgentName) {
        let served = |target: &&TargetEntry| target.target.agent == *agent;
        let targets: Vec<TargetName> =
            self.targets.iter().filter(served).map(|it| it.target.name.clone()).collect();
        self.wake_where(|state, run| targets.iter().any(|target| state.works_on(&run.id, target)));
    }

    /// Installations of the targets that an agent serves.
    pub(crate) fn installations_at(&self, agent: &AgentName) -> impl Iterator<Item = &Installation> {
        self.installations
            .iter()
            .filter(move |it| self.target(&it.id.target).is_some_and(|target| target.agent == *agent))
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
