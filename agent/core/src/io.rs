//! What the executor takes, and what it asks for.

use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Epoch, Fence, InstallationId};
use trimaran_model::limits::AGENT_ASSIGNMENTS_MAX;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::v1::agent::{AgentUp, ResultAnswer};
use trimaran_wire::v1::agent_journal::JournalRecord;

use crate::driver::{CallId, Driver, Guard};

/// What happened.
pub enum Input<D: Driver> {
    /// A session is attached. Its lease begins with the first answered ping.
    Attached {
        cluster: String,
        epoch: Epoch,
    },
    Detached,
    /// A ping that was sent at this time, on the clock of `now`, was answered.
    PongReceived {
        sent: Timestamp,
    },
    Assign(Assignment),
    Cancel {
        assignment: AssignmentId,
        fence: Fence,
    },
    Answer {
        assignment: AssignmentId,
        fence: Fence,
        answer: ResultAnswer,
    },
    /// So many failed hosts of the assignment are in the log.
    Committed {
        assignment: AssignmentId,
        failed: u32,
    },
    /// All writes up to this number are durable.
    Written(u64),
    Reply {
        assignment: AssignmentId,
        call: CallId,
        reply: D::Reply,
    },
    Lost {
        assignment: AssignmentId,
        call: CallId,
    },
    Observed {
        assignment: AssignmentId,
        snapshot: D::Snapshot,
    },
    /// [`Executor::next_deadline`] has come.
    Due,
}

/// What has to be done, in this order.
pub enum Output<D: Driver> {
    /// Append these records, sync, and on_answer with `Written`. Numbers grow by one.
    Write {
        sequence: u64,
        records: Vec<JournalRecord>,
    },
    /// As `Write`, with a new file that holds these records alone and replaces the old one.
    Replace {
        sequence: u64,
        records: Vec<JournalRecord>,
    },
    /// For the attached session.
    Send(AgentUp),
    /// Answer with `Reply`, or with `Lost` when no on_answer came within `deadline`.
    Call {
        assignment: AssignmentId,
        id: CallId,
        call: D::Call,
        deadline: Millis,
        guard: Guard,
    },
    /// Observe what is there now and each change, as `Observed`, until `Unwatch`.
    Watch {
        assignment: AssignmentId,
        query: D::Query,
    },
    Unwatch {
        assignment: AssignmentId,
    },
    /// Work on the installation begins.
    Busy {
        installation: InstallationId,
    },
    /// Nothing works on the installation any more: its health is watched under this fence.
    Quiet {
        installation: InstallationId,
        fence: Fence,
    },
    /// An order was refused; for the log of the agent.
    Refused(Refused),
}

/// Why an order was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("assignment {assignment} on {installation}: its fence {fence} is lower than {largest}")]
    LowerFence { assignment: AssignmentId, installation: InstallationId, fence: Fence, largest: Fence },
    #[error("assignment {assignment} on {installation}: its epoch is lower than {epoch}")]
    LowerEpoch { assignment: AssignmentId, installation: InstallationId, epoch: Epoch },
    #[error("assignment {assignment} has the fence {fence} of assignment {other} on {installation}")]
    OtherAssignment {
        assignment: AssignmentId,
        other: AssignmentId,
        installation: InstallationId,
        fence: Fence,
    },
    #[error("assignment {assignment} on {installation} was done and answered before")]
    Forgotten { assignment: AssignmentId, installation: InstallationId },
    #[error("{AGENT_ASSIGNMENTS_MAX} assignments are held, so {assignment} is refused")]
    Full { assignment: AssignmentId },
    #[error("the coordinators don't know assignment {assignment} on {installation}; it is held")]
    Unknown { assignment: AssignmentId, installation: InstallationId },
}
