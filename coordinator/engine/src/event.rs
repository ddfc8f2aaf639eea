//! What watchers are told: facts of one entry, in order. Text and JSON are made at the edge.

use trimaran_wire::v1::common::{WireInstallation, WireReason, WireRun};

/// One event of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Run {
        run: WireRun,
        status: String,
    },
    Stage {
        run: WireRun,
        stage: String,
        status: String,
        reasons: Vec<WireReason>,
    },
    Progress {
        run: WireRun,
        stage: String,
        done: u32,
        total: u32,
    },
    Installation {
        installation: WireInstallation,
        health: String,
    },
    Agent {
        agent: String,
        state: String,
    },
    /// For the coordinator that serves this agent: one of its assignments changed, or without a number the
    /// agent's inventory and whatever it may be given now.
    AgentWork {
        agent: String,
        assignment: Option<u64>,
    },
    /// For all coordinators: this key is revoked from now on.
    Revoked {
        key: [u8; 32],
    },
    /// For all coordinators: close this life of the agent.
    Superseded {
        agent: String,
        incarnation: u64,
    },
}
