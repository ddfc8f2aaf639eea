//! Enrolment: one-time tokens, operators, revoked keys.

use std::collections::BTreeMap;

use trimaran_model::id::{AgentName, CoordinatorName, Digest, HostName, OperatorName, OperatorRole};
use trimaran_model::time::WallTime;

/// A one-time token. Only its hash is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub sha256: Digest,
    pub grant: Grant,
    pub expires: WallTime,
    pub used: bool,
}

/// What a token lets its bearer become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    Agent { name: AgentName },
    Runner { name: HostName, agent: AgentName, labels: BTreeMap<String, String> },
    Operator { name: OperatorName, role: OperatorRole },
    Coordinator { name: CoordinatorName },
}

impl Grant {
    pub fn name(&self) -> &str {
        match self {
            Self::Agent { name } => name.as_str(),
            Self::Runner { name, .. } => name.as_str(),
            Self::Operator { name, .. } => name.as_str(),
            Self::Coordinator { name } => name.as_str(),
        }
    }
}

/// An operator by name, with the key of the last enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    pub name: OperatorName,
    pub role: OperatorRole,
    pub key: Digest,
}

/// A public key that is refused from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    pub key: Digest,
    pub at: WallTime,
}
