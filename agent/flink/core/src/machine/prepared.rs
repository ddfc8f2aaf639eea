//! What was prepared for an order, and found out about what runs.

use trimaran_model::time::Timestamp;

use crate::call::{Cluster, JobOverview, Topology, Vertex};
use crate::id::FlinkId;
use crate::ledger::{JarFrom, Start};

/// What was prepared for the order. Lost in a crash and made again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) cluster: Option<Cluster>,
    /// The jar's id at the JobManager.
    pub(super) jar: Option<String>,
    /// Where it came from.
    pub(super) jar_from: Option<JarFrom>,
    /// The JobManager had it, and has lost it.
    pub(super) jar_is_gone: bool,
    pub(super) plan: Option<Vec<Vertex>>,
    pub(super) topology: Option<Topology>,
    pub(super) is_checked: bool,
    /// The comparison refused it, the first time then.
    pub(super) refused_since: Option<Timestamp>,
    pub(super) has_last_checkpoint: bool,
    pub(super) has_listed_checkpoints: bool,
    /// The last state of a job that has ended.
    pub(super) final_state: Option<Start>,
    /// Jobs of others that run.
    pub(super) foreign: Vec<JobOverview>,
}

impl Prepared {
    pub(super) fn note_foreign(&mut self, jobs: &[JobOverview], own: Option<FlinkId>) {
        let foreign = jobs.iter().filter(|job| Some(job.id) != own && !job.state.is_terminal());
        self.foreign = foreign.cloned().collect();
    }

    pub(super) fn forget_jar(&mut self) {
        (self.jar, self.jar_is_gone) = (None, true);
    }
}
