//! What was prepared for an order, and found out about what runs.

use trimaran_model::time::Timestamp;

use crate::call::{Cluster, JobOverview, Topology, Vertex};
use crate::files::FilePaths;
use crate::id::FlinkId;
use crate::ledger::{JarFrom, Start};

/// What was prepared for the order. Lost in a crash and made again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) cluster: Option<Cluster>,
    pub(super) uploaded: Option<Uploaded>,
    /// Where the jar came from.
    pub(super) jar_from: Option<JarFrom>,
    /// The JobManager had the uploads, and has lost them.
    pub(super) uploads_are_gone: bool,
    /// How often.
    pub(super) uploads_lost: u32,
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
    /// `own`: the installation's job, and the one before it.
    pub(super) fn note_foreign(&mut self, jobs: &[JobOverview], own: [Option<FlinkId>; 2]) {
        let foreign = jobs.iter().filter(|job| !own.contains(&Some(job.id)) && !job.state.is_terminal());
        self.foreign = foreign.cloned().collect();
    }

    pub(super) fn forget_uploads(&mut self) {
        (self.uploaded, self.uploads_are_gone) = (None, true);
        self.uploads_lost += 1;
    }
}

/// What a run needs at a JobManager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uploaded {
    /// The jar's id.
    pub(super) jar: String,
    pub(super) files: FilePaths,
    /// Which JobManager has them.
    pub(super) at: String,
}
