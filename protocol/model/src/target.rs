//! Targets: admin-defined places that carry installations.

use std::collections::BTreeMap;

use crate::amount::IntOrPercent;
use crate::id::{AgentName, TargetName};
use crate::time::Millis;

/// A place, served by one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: TargetName,
    pub agent: AgentName,
    pub class: TargetClass,
    pub platform: TargetPlatform,
    /// Installations worked on at once, from 1.
    pub parallel: u32,
}

/// How a target of hosts is kept while no run works on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    /// A host that is away for so long is out of the target until it returns. At least 30 s.
    pub lost_after: Millis,
    /// Hosts that get their release at once when they join or return. Rounds up, at least 1.
    pub join_parallel: IntOrPercent,
    /// What becomes of the services of a host that leaves; `None`: they are ended when a user drains it, and kept otherwise.
    pub on_leave: Option<OnLeave>,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self { lost_after: Millis::minutes(10), join_parallel: IntOrPercent::Percent(10), on_leave: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLeave {
    Stop,
    Keep,
}

impl OnLeave {
    pub const ALL: [Self; 2] = [Self::Stop, Self::Keep];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Keep => "keep",
        }
    }
}

/// What is at stake. Policies, approvals and the default bake look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetClass {
    Staging,
    Prod,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPlatform {
    Hosts {
        /// The runners of the agent whose labels have all of these values. Never empty.
        select: BTreeMap<String, String>,
        /// Whether a process has to say as whom it runs.
        require_user: bool,
        settings: HostSettings,
    },
    Kubernetes {
        namespace: String,
        kubeconfig: Option<String>,
    },
    Flink {
        urls: Vec<String>,
        savepoints: String,
        access: FlinkAccess,
    },
}

/// How an agent shows itself to JobManagers, and knows them. Secrets are named, never written: they are files in the
/// directory of the agent's `--secrets`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlinkAccess {
    /// A PEM file on the agent's host with the certificates to trust instead of the well-known ones.
    pub ca: Option<String>,
    /// The secret of each header's value.
    pub headers: BTreeMap<String, String>,
    /// The secret with a PEM certificate and its key.
    pub client_cert: Option<String>,
}

impl TargetPlatform {
    pub fn kind(&self) -> PlatformKind {
        match self {
            Self::Hosts { .. } => PlatformKind::Hosts,
            Self::Kubernetes { .. } => PlatformKind::Kubernetes,
            Self::Flink { .. } => PlatformKind::Flink,
        }
    }

    /// The platform's key in a file: `hosts`.
    pub fn as_str(&self) -> &'static str {
        self.kind().as_str()
    }
}

/// Which platform, without its settings: what decides on the driver of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlatformKind {
    Hosts,
    Kubernetes,
    Flink,
}

impl PlatformKind {
    pub const ALL: [Self; 3] = [Self::Hosts, Self::Kubernetes, Self::Flink];

    /// The platform's key in a file: `hosts`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hosts => "hosts",
            Self::Kubernetes => "kubernetes",
            Self::Flink => "flink",
        }
    }

    /// Reads what [`PlatformKind::as_str`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Whether a runner with `labels` belongs to a target that selects `select`.
pub fn selects(select: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    select.iter().all(|(key, value)| labels.get(key) == Some(value))
}
