//! The compiled form of a pipeline file: environments in order of promotion, each with targets, gates,
//! strategy and the rollback. All defaults are filled in; what a file left open is decided here once.

mod flink;
mod health;
mod host;
mod lifecycle;

use std::collections::{BTreeMap, BTreeSet};

use crate::amount::IntOrPercent;
use crate::id::{ArtifactName, EnvironmentName, PipelineName, TargetName};
use crate::target::TargetClass;
use crate::time::Millis;

pub use flink::{
    FlinkHealth, FlinkRestore, FlinkRollback, FlinkSources, FlinkUpgrade, FlinkWorkload, OnStopFailure,
    UpgradeMode,
};
pub use health::{
    Condition, HealthCheck, HttpExpect, HttpProbe, Probe, ProbeAddress, ProbeCheck, ProbeTls, ProbeUrl,
};
pub use host::{
    Account, Capability, HostWorkload, Process, ProcessLimits, Reload, Restart, RestartOn, Stop, StopSignal,
};
pub use lifecycle::{Drain, DrainBy, Hook, HookEvent, Lifecycle, MayStop};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    pub name: PipelineName,
    pub owner: String,
    pub artifacts: BTreeMap<ArtifactName, ArtifactSource>,
    pub workload: Workload,
    /// In file order. `after` names only environments of this list and has no cycle.
    pub environments: Vec<Environment>,
}

impl Pipeline {
    /// The artifact that holds the manifests of a Kubernetes workload; `None`: they are files beside the pipeline's, or it
    /// is another workload.
    pub fn manifests_artifact(&self) -> Option<(&ArtifactName, &ArtifactSource)> {
        let Workload::Kubernetes(workload) = &self.workload else { return None };
        self.artifact_at(&workload.manifests)
    }

    /// The artifact that a text names which may be a path too; `None`: it is a path.
    pub fn artifact_at(&self, text: &str) -> Option<(&ArtifactName, &ArtifactSource)> {
        self.artifacts.iter().find(|(name, _)| name.as_str() == text)
    }

    /// The files of a job on Flink, by the name that its program asks for: the name of an artifact, or else a path relative to
    /// the pipeline's file ([`Pipeline::artifact_at`]).
    pub fn flink_files(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = match &self.workload {
            Workload::Flink { files, .. } => Some(files),
            Workload::Host(_) | Workload::Kubernetes(_) => None,
        };
        files.into_iter().flatten().map(|(name, path)| (name.as_str(), path.as_str()))
    }
}

/// Where an artifact's bytes are; `{version}` occurs once in the text for the version of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactSource {
    /// An http or https URL, fetched by the runner.
    File(String),
    /// A path on the runner's own host.
    Path(String),
    /// A container image without tag.
    Image(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    Host(HostWorkload),
    Kubernetes(KubernetesWorkload),
    Flink {
        job: FlinkWorkload,
        /// See [`Pipeline::flink_files`].
        files: BTreeMap<String, String>,
    },
}

impl Workload {
    /// The section's key in a file: `host`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Kubernetes(_) => "kubernetes",
            Self::Flink { .. } => "flink",
        }
    }
}

/// Objects for a Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesWorkload {
    /// The name of an artifact, or else a path relative to the pipeline's file: see [`Pipeline::manifests_artifact`].
    pub manifests: String,
    pub images: BTreeMap<String, ArtifactName>,
    pub stability: Millis,
    pub on_conflict: OnConflict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnConflict {
    Refuse,
    Take,
    Leave,
}

impl OnConflict {
    pub const ALL: [Self; 3] = [Self::Refuse, Self::Take, Self::Leave];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Take => "take",
            Self::Leave => "leave",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    pub name: EnvironmentName,
    /// Environments that must be done well before this one starts.
    pub after: BTreeSet<EnvironmentName>,
    pub approve: Option<Approve>,
    /// In file order, without repetition; deployed side by side.
    pub targets: Vec<TargetName>,
    pub strategy: Strategy,
    pub rollback: RollbackPolicy,
}

/// A human's choice before an environment starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approve {
    /// Never empty; the first is the default.
    pub options: Vec<ApproveOption>,
    /// Wall time from the moment it waits; at its end stage and run are stopped.
    pub timeout: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApproveOption {
    /// The environment starts.
    Promote,
    /// The environments before are restored and the run ends.
    RollBack,
    /// The run ends; nothing is restored.
    Stop,
}

impl ApproveOption {
    pub const ALL: [Self; 3] = [Self::Promote, Self::RollBack, Self::Stop];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::RollBack => "roll_back",
            Self::Stop => "stop",
        }
    }
}

/// How the instances of a target are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    Batches(Batches),
}

/// Hosts in cumulative waves; the last one is always all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches {
    /// Cumulative; each rounds up ("ceil for progress").
    pub sizes: Vec<IntOrPercent>,
    /// Hosts down at once from any cause; rounds down, at least 1 ("floor for harm").
    pub max_unavailable: IntOrPercent,
    /// Failed hosts that the whole stage survives; one more ends it. Rounds down.
    pub max_failures: IntOrPercent,
    /// Hosts that a stage leaves behind: silent ones, and those that have a fault of their own. A share rounds down, at least to 1.
    pub max_lost: IntOrPercent,
    /// Between the end of one wave and the start of the next.
    pub pause_between: Millis,
}

impl Batches {
    /// What `max_lost` is where a file does not say it.
    pub const MAX_LOST: IntOrPercent = IntOrPercent::Percent(5);

    /// How many of `total` hosts a stage leaves behind.
    pub fn lost_of(&self, total: u32) -> u32 {
        match self.max_lost {
            IntOrPercent::Percent(percent) if percent > 0 => self.max_lost.floor_of(total).max(1),
            count => count.floor_of(total),
        }
    }
}

/// When and how far a bad release goes back automatically.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackPolicy {
    pub on: BTreeSet<RollbackOn>,
    pub scope: RollbackScope,
    /// After success a failure still rolls back for so long; then the release counts as good.
    /// `None`: by the class of the target, see [`RollbackPolicy::bake_on`].
    pub bake: Option<Millis>,
}

impl RollbackPolicy {
    /// The bake on a target of `class`: as written, otherwise none in staging and ten minutes in prod.
    pub fn bake_on(&self, class: TargetClass) -> Millis {
        self.bake.unwrap_or(match class {
            TargetClass::Staging => Millis::ZERO,
            TargetClass::Prod => Millis::minutes(10),
        })
    }
}

impl Default for RollbackPolicy {
    fn default() -> Self {
        Self { on: BTreeSet::from([RollbackOn::Health]), scope: RollbackScope::Environment, bake: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RollbackOn {
    Health,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RollbackScope {
    /// Only the target that failed.
    Target,
    /// Every target of the environment that the run touched.
    Environment,
    /// Every environment that the run touched.
    Run,
}

impl RollbackScope {
    pub const ALL: [Self; 3] = [Self::Target, Self::Environment, Self::Run];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Environment => "environment",
            Self::Run => "run",
        }
    }
}
