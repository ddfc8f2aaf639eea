//! Runs: the head, and the graph that it makes with its stages.

use trimaran_model::id::{Digest, Identity, Revision, RunId, StageName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::Artifact;
use trimaran_model::run::{RunKind, Status};
use trimaran_model::time::WallTime;
use trimaran_model::why::{Reason, Why};

use super::stage::Stage;

/// One execution of a pipeline, without its stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: RunId,
    /// Order of creation among all runs.
    pub sequence: u64,
    pub kind: RunKind,
    /// The digest of its plan.
    pub plan: Digest,
    pub artifacts: Vec<Artifact>,
    pub by: Identity,
    /// What a user wrote beside the request; empty without.
    pub comment: String,
    /// Why a run of kind rollback exists.
    pub cause: Option<Why>,
    pub caused_by: Option<RunId>,
    pub created: WallTime,
    pub status: Status,
    pub finished: Option<WallTime>,
    pub reasons: Vec<Reason>,
    pub rollback: Option<Rollback>,
    /// Who canceled it; it waits for what is in flight.
    pub canceled_by: Option<Identity>,
    /// Revision of its last change.
    pub revision: Revision,
}

/// The rollback inside of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    pub cause: Why,
    /// The first release that it restores; `None` when everything is stopped.
    pub to: Option<Digest>,
}

impl Run {
    /// Whether it restores releases that are known, as its only work.
    pub fn restores(&self) -> bool {
        self.kind.restores()
    }

    /// Whether no stage may begin or go on with a release: the run was canceled or goes back.
    pub fn is_ending(&self) -> bool {
        self.canceled_by.is_some() || self.rollback.is_some()
    }

    /// Every stage is done: the run has this outcome.
    pub(crate) fn finish(&mut self, outcome: Status, now: WallTime) {
        assert!(outcome.is_done(), "a run ends with a status that is done");
        (self.status, self.finished) = (outcome, Some(now));
        self.reasons.clear();
    }

    /// A defect stopped it: it stays as it is until a user cancels it.
    pub(crate) fn park(&mut self, reason: Reason, now: WallTime) {
        assert_eq!(reason.why.code(), ReasonCode::Bug, "a run is parked for a defect");
        (self.status, self.finished) = (Status::Broken, Some(now));
        self.reasons = vec![reason];
    }
}

/// A run with all of its stages in order: a copy that one change works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunGraph {
    pub(crate) run: Run,
    pub(crate) stages: Vec<Stage>,
}

impl RunGraph {
    pub(crate) fn find(&self, name: &StageName) -> Option<usize> {
        self.stages.iter().position(|stage| stage.name == *name)
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.stages.iter().map(Stage::status).collect()
    }
}
