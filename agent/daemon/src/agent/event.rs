//! What tasks send to the loop.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use trimaran_model::id::HostName;
use trimaran_transport::Session;
use trimaran_wire::v1::agent::{AgentDown, AgentUp};
use trimaran_wire::v1::assignment::WireHostReport;
use trimaran_wire::v1::runner::RunnerUp;

use trimaran_model::report::Report;

use super::hosts::ToRunner;

/// One thing that happened outside. Sessions are named by their number, which is unique in a process.
pub(crate) enum Event {
    /// A coordinator is reached; what is put into `out` is sent to it.
    Connected {
        session: Session,
        out: mpsc::Sender<AgentUp>,
    },
    FromCoordinator {
        session: u64,
        message: AgentDown,
    },
    Disconnected {
        session: u64,
    },
    /// This process must end.
    Ended(Report),
    Runner {
        host: HostName,
        event: RunnerEvent,
    },
}

pub(crate) enum RunnerEvent {
    /// A runner's session with its greeting; what is put into `out` is sent to it.
    Hello {
        session: Session,
        incarnation: u64,
        address: String,
        facts: BTreeMap<String, String>,
        reports: Vec<WireHostReport>,
        out: mpsc::Sender<ToRunner>,
    },
    Message {
        session: u64,
        message: RunnerUp,
    },
    /// The goal of this number was not sent: its permit did not allow it any more.
    Unsent {
        session: u64,
        sequence: u64,
    },
    Gone {
        session: u64,
    },
}
