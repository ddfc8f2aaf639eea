//! What watchers are sent: facts of one entry, in order. Text and JSON are made at the edge.

use trimaran_model::id::{AgentName, AssignmentId, Incarnation, InstallationId, RunId, StageName};
use trimaran_model::run::Status;
use trimaran_model::verdict::Verdict;
use trimaran_model::why::Reason;

use crate::state::token::Revoked;

/// One event of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Run {
        run: RunId,
        status: Status,
    },
    Stage {
        run: RunId,
        stage: StageName,
        status: Status,
        reasons: Vec<Reason>,
    },
    Progress {
        run: RunId,
        stage: StageName,
        done: u32,
        total: u32,
    },
    Installation {
        installation: InstallationId,
        health: Verdict,
    },
    Agent {
        agent: AgentName,
        state: AgentState,
    },
    /// For the coordinator that serves this agent: one of its assignments changed, or without a number the
    /// agent's inventory and whatever it may be assigned now.
    AgentWork {
        agent: AgentName,
        assignment: Option<AssignmentId>,
    },
    /// For the coordinator that serves this agent: settings of one of its targets changed, or it has one more or less.
    AgentTargets {
        agent: AgentName,
    },
    /// For the coordinator that serves this agent: its inventory changed.
    AgentRunners {
        agent: AgentName,
    },
    /// For the coordinator that serves this agent: what an installation is while nothing works on it has changed.
    AgentStanding {
        agent: AgentName,
        installation: InstallationId,
    },
    /// For all coordinators, and those agents that are its audience: this key is revoked from now on.
    Revoked(Revoked),
    /// For all coordinators: close the session of this incarnation of the agent.
    Superseded {
        agent: AgentName,
        incarnation: Incarnation,
    },
}

/// The session of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    Connected,
    Disconnected,
    Lost,
}

impl AgentState {
    /// As events spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Lost => "agent_lost",
        }
    }
}
