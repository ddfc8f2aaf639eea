//! The compiled form of a pipeline file: environments in order of promotion, each with targets, gates,
//! strategy and the rollback. All defaults are filled in; what a file left open is decided here once.

mod flink;

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{ArtifactName, EnvironmentName, PipelineName, TargetName};
use crate::target::TargetClass;
use crate::time::Millis;

pub use flink::{
    FlinkHealth, FlinkRestore, FlinkRollback, FlinkSources, FlinkUpgrade, FlinkWorkload, OnStopFailure,
    UpgradeMode,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pipeline {
    pub name: PipelineName,
    pub owner: String,
    pub artifacts: BTreeMap<ArtifactName, ArtifactSource>,
    pub workload: Workload,
    /// In file order. `after` names only environments of this list and has no cycle.
    pub environments: Vec<Environment>,
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
    Flink(FlinkWorkload),
}

impl Workload {
    /// The section's key in a file: `host`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Kubernetes(_) => "kubernetes",
            Self::Flink(_) => "flink",
        }
    }
}

/// A service on hosts: an archive, one process in it, one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostWorkload {
    /// The artifact to unpack.
    pub unpack: ArtifactName,
    pub process: Process,
    pub health: HealthCheck,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Program and arguments; the program is relative to the release directory unless absolute. Never empty.
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub stop: Stop,
    pub restart: Restart,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub signal: StopSignal,
    /// From the signal to SIGKILL for everything that is left.
    pub grace: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopSignal {
    Term,
    Int,
    Quit,
    Hup,
    Usr1,
    Usr2,
    Kill,
}

impl StopSignal {
    pub const ALL: [Self; 7] =
        [Self::Term, Self::Int, Self::Quit, Self::Hup, Self::Usr1, Self::Usr2, Self::Kill];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
            Self::Kill => "KILL",
        }
    }
}

/// When a service that ended automatically is started again. While a host verifies nothing is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    pub on: RestartOn,
    pub delay: Millis,
    /// At most `max` restarts per `per`.
    pub max: u32,
    pub per: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestartOn {
    Failure,
    Never,
    Always,
}

impl RestartOn {
    pub const ALL: [Self; 3] = [Self::Failure, Self::Never, Self::Always];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Never => "never",
            Self::Always => "always",
        }
    }
}

/// An HTTP probe: 2xx within `timeout`, at most 64 KiB read, no redirect followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    pub http: ProbeUrl,
    pub interval: Millis,
    pub timeout: Millis,
    /// Healthy without a break for so long before the host counts.
    pub min_healthy: Millis,
    /// From the start of the process to the end of `min_healthy`.
    pub deadline: Millis,
}

/// `http://HOST:PORT/PATH`; without a host the host's own address is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeUrl {
    pub host: Option<String>,
    pub port: u16,
    /// Starts with `/`.
    pub path: String,
}

impl std::fmt::Display for ProbeUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Some(host) => write!(f, "http://{host}:{}{}", self.port, self.path),
            None => write!(f, ":{}{}", self.port, self.path),
        }
    }
}

/// Read and checked; planned and deployed in its own issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesWorkload {
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
    /// Between the end of one wave and the start of the next.
    pub pause_between: Millis,
}

/// A count or a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IntOrPercent {
    Count(u32),
    /// 0 to 100.
    Percent(u8),
}

impl IntOrPercent {
    /// The share of `total` rounded down: for what may be harmed.
    pub fn floor_of(self, total: u32) -> u32 {
        match self {
            Self::Count(n) => n,
            Self::Percent(p) => share(total, p) / 100,
        }
    }
    /// The share of `total` rounded up and at most `total`: for progress.
    pub fn ceil_of(self, total: u32) -> u32 {
        match self {
            Self::Count(n) => n.min(total),
            Self::Percent(p) => share(total, p).div_ceil(100).min(total),
        }
    }
}

/// `total * percent`; hosts are far below the 2^32 / 100 where this would overflow.
fn share(total: u32, percent: u8) -> u32 {
    total.saturating_mul(u32::from(percent))
}

impl std::fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Percent(p) => write!(f, "{p}%"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harm_rounds_down_and_progress_rounds_up() {
        let third = IntOrPercent::Percent(33);
        assert_eq!((third.floor_of(4), third.ceil_of(4)), (1, 2));
        assert_eq!((third.floor_of(2), third.ceil_of(2)), (0, 1));
        assert_eq!(IntOrPercent::Count(9).ceil_of(4), 4);
        assert_eq!(IntOrPercent::Percent(100).ceil_of(6), 6);
    }
}
