//! A plan: everything that a run will apply, decided and pinned before it starts.
//!
//! A run is a plan that was accepted. The engine knows plans and not the pipeline language.

use std::collections::BTreeSet;

use crate::id::{Digest, EnvironmentName, PipelineName, TargetName};
use crate::pipeline::{Approve, Batches, RollbackOn, RollbackScope};
use crate::release::{Artifact, Release};
use crate::time::Millis;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub pipeline: PipelineName,
    /// SHA-256 over the digests of all releases in order of target; depends on nothing that is live.
    pub digest: Digest,
    pub artifacts: Vec<Artifact>,
    /// In file order.
    pub environments: Vec<PlannedEnvironment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedEnvironment {
    pub name: EnvironmentName,
    pub after: BTreeSet<EnvironmentName>,
    pub approve: Option<Approve>,
    pub rollback_on: BTreeSet<RollbackOn>,
    pub scope: RollbackScope,
    /// One a target, in file order.
    pub stages: Vec<PlannedStage>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStage {
    pub target: TargetName,
    pub release_digest: Digest,
    pub release: Release,
    pub bake: Millis,
    pub batches: Batches,
}
