//! Plans, as the log and the rows hold them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bincode::{Decode, Encode};
use sha2::{Digest as _, Sha256};
use trimaran_model::id::Digest;
use trimaran_model::pipeline::{Approve, ApproveOption, Batches, RollbackOn, RollbackScope};
use trimaran_model::plan::{Plan, PlannedEnvironment, PlannedStage};
use trimaran_model::time::Millis;

use super::artifact::WireArtifact;
use super::assignment::WireIntOrPercent;
use super::common::{name, spelled};
use super::release::WireRelease;
use crate::codec::CodecError;

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WirePlan {
    pub pipeline: String,
    pub digest: [u8; 32],
    pub artifacts: Vec<WireArtifact>,
    pub environments: Vec<WirePlannedEnvironment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WirePlannedEnvironment {
    pub name: String,
    pub after: Vec<String>,
    pub approve: Option<WireApprove>,
    pub rollback_on_health: bool,
    pub scope: WireScope,
    pub stages: Vec<WirePlannedStage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireApprove {
    pub options: Vec<String>,
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WireScope {
    Target,
    Environment,
    Run,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WirePlannedStage {
    pub target: String,
    pub release_digest: [u8; 32],
    /// Shared with the rows and orders that name it.
    pub release: Arc<WireRelease>,
    pub bake_ms: u64,
    pub sizes: Vec<WireIntOrPercent>,
    pub max_unavailable: WireIntOrPercent,
    pub max_failures: WireIntOrPercent,
    pub max_lost: WireIntOrPercent,
    pub pause_between_ms: u64,
}

/// The digest of a plan: SHA-256 over targets and release digests in order of target, and over nothing that is live.
pub fn plan_digest<'a>(releases: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    let sorted: BTreeMap<&str, Digest> = releases.collect();
    let mut hasher = Sha256::new();
    for (target, digest) in sorted {
        hasher.update(target.as_bytes());
        hasher.update([0]);
        hasher.update(digest.0);
    }
    Digest(hasher.finalize().into())
}

impl From<&Plan> for WirePlan {
    fn from(plan: &Plan) -> Self {
        Self {
            pipeline: plan.pipeline.to_string(),
            digest: plan.digest.0,
            artifacts: plan.artifacts.iter().map(Into::into).collect(),
            environments: plan.environments.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<WirePlan> for Plan {
    type Error = CodecError;
    fn try_from(wire: WirePlan) -> Result<Self, CodecError> {
        Ok(Self {
            pipeline: name(&wire.pipeline)?,
            digest: Digest(wire.digest),
            artifacts: wire.artifacts.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            environments: wire.environments.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&PlannedEnvironment> for WirePlannedEnvironment {
    fn from(environment: &PlannedEnvironment) -> Self {
        Self {
            name: environment.name.to_string(),
            after: environment.after.iter().map(ToString::to_string).collect(),
            approve: environment.approve.as_ref().map(Into::into),
            rollback_on_health: environment.rollback_on.contains(&RollbackOn::Health),
            scope: match environment.scope {
                RollbackScope::Target => WireScope::Target,
                RollbackScope::Environment => WireScope::Environment,
                RollbackScope::Run => WireScope::Run,
            },
            stages: environment.stages.iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<WirePlannedEnvironment> for PlannedEnvironment {
    type Error = CodecError;
    fn try_from(wire: WirePlannedEnvironment) -> Result<Self, CodecError> {
        Ok(Self {
            name: name(&wire.name)?,
            after: wire.after.iter().map(|after| name(after)).collect::<Result<_, _>>()?,
            approve: wire.approve.map(TryInto::try_into).transpose()?,
            rollback_on: wire.rollback_on_health.then_some(RollbackOn::Health).into_iter().collect(),
            scope: match wire.scope {
                WireScope::Target => RollbackScope::Target,
                WireScope::Environment => RollbackScope::Environment,
                WireScope::Run => RollbackScope::Run,
            },
            stages: wire.stages.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

impl From<&Approve> for WireApprove {
    fn from(approve: &Approve) -> Self {
        Self {
            options: approve.options.iter().map(|option| option.as_str().to_owned()).collect(),
            timeout_ms: approve.timeout.0,
        }
    }
}

impl TryFrom<WireApprove> for Approve {
    type Error = CodecError;
    fn try_from(wire: WireApprove) -> Result<Self, CodecError> {
        let option = |text: &String| {
            let found = ApproveOption::ALL.into_iter().find(|option| option.as_str() == text);
            spelled(found, "option", text)
        };
        Ok(Self {
            options: wire.options.iter().map(option).collect::<Result<_, _>>()?,
            timeout: Millis(wire.timeout_ms),
        })
    }
}

impl From<&PlannedStage> for WirePlannedStage {
    fn from(stage: &PlannedStage) -> Self {
        Self {
            target: stage.target.to_string(),
            release_digest: stage.release_digest.0,
            release: Arc::new((&stage.release).into()),
            bake_ms: stage.bake.0,
            sizes: stage.batches.sizes.iter().map(|size| (*size).into()).collect(),
            max_unavailable: stage.batches.max_unavailable.into(),
            max_failures: stage.batches.max_failures.into(),
            max_lost: stage.batches.max_lost.into(),
            pause_between_ms: stage.batches.pause_between.0,
        }
    }
}

impl TryFrom<WirePlannedStage> for PlannedStage {
    type Error = CodecError;
    fn try_from(wire: WirePlannedStage) -> Result<Self, CodecError> {
        Ok(Self {
            target: name(&wire.target)?,
            release_digest: Digest(wire.release_digest),
            release: Arc::unwrap_or_clone(wire.release).try_into()?,
            bake: Millis(wire.bake_ms),
            batches: Batches {
                sizes: wire.sizes.into_iter().map(Into::into).collect(),
                max_unavailable: wire.max_unavailable.into(),
                max_failures: wire.max_failures.into(),
                max_lost: wire.max_lost.into(),
                pause_between: Millis(wire.pause_between_ms),
            },
        })
    }
}
