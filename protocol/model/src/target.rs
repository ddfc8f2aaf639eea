//! Targets: admin-defined places that carry installations.

use std::collections::BTreeMap;

use crate::id::{AgentName, TargetName};

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

/// What is at stake. Policies, approvals and the default bake look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetClass {
    Staging,
    Prod,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPlatform {
    /// The runners of the agent whose labels have all of these values. Never empty.
    Hosts {
        select: BTreeMap<String, String>,
    },
    Kubernetes {
        namespace: String,
        kubeconfig: Option<String>,
    },
    Flink {
        urls: Vec<String>,
        savepoints: String,
    },
}

impl TargetPlatform {
    /// The platform's key in a file: `hosts`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Hosts { .. } => "hosts",
            Self::Kubernetes { .. } => "kubernetes",
            Self::Flink { .. } => "flink",
        }
    }
}

/// Whether a runner with `labels` belongs to a target that selects `select`.
pub fn selects(select: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    select.iter().all(|(key, value)| labels.get(key) == Some(value))
}
