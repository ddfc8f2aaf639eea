//! Enrolment: one-time tokens, operators, revoked keys.

use std::collections::BTreeMap;

use trimaran_model::id::{AgentName, CoordinatorName, Digest, HostName, OperatorName, OperatorRole};
use trimaran_model::time::{Millis, WallTime};

/// A token that was not used yet, or not as often as it may be. Only its hash is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub sha256: Digest,
    pub grant: Grant,
    pub expires: WallTime,
}

/// What a token lets its bearer become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    Agent {
        name: AgentName,
    },
    Runner {
        name: HostName,
        agent: AgentName,
        labels: BTreeMap<String, String>,
    },
    Operator {
        name: OperatorName,
        role: OperatorRole,
    },
    Coordinator {
        name: CoordinatorName,
    },
    /// So many more runners, whose names come from their hosts.
    Runners {
        group: String,
        agent: AgentName,
        labels: BTreeMap<String, String>,
        uses: u32,
        ttl: Millis,
    },
}

impl Grant {
    pub fn name(&self) -> &str {
        match self {
            Self::Agent { name } => name.as_str(),
            Self::Runner { name, .. } => name.as_str(),
            Self::Operator { name, .. } => name.as_str(),
            Self::Coordinator { name } => name.as_str(),
            Self::Runners { group, .. } => group,
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

/// A public key that is refused, until no certificate of it can be valid or renewed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    pub id: RevokedId,
    pub key: Digest,
    pub audience: Audience,
}

/// A revocation. Ordered by the time at which it may be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RevokedId {
    pub until: WallTime,
    /// Larger than that of every earlier revocation: whoever has been sent all up to one needs only larger ones.
    pub number: u64,
}

/// Who refuses a revoked key. The coordinators always do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// No one dials an agent with it: of an operator.
    Coordinators,
    /// And the agent whose runner had it.
    Agent { name: AgentName },
    /// And every agent: its runner has had several.
    Agents,
    /// And every agent: a removed coordinator signed certificates with it.
    Issuer,
    /// And the runners of this agent, whose earlier key it was: whoever has the name now passes it on to them.
    Runners { agent: AgentName },
}
