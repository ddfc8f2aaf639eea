//! What the executor takes, and what it asks for.

use trimaran_model::assignment::Assignment;
use trimaran_model::id::{AssignmentId, Epoch, Fence, InstallationId, TargetName};
use trimaran_model::limits::AGENT_ASSIGNMENTS_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::Target;
use trimaran_model::time::Timestamp;
use trimaran_wire::v1::agent::{RefusedAssignment, ResultAnswer};
use trimaran_wire::v1::agent_journal::JournalRecord;

use crate::driver::{CallId, Driver};
use crate::lease::Permit;

/// What happened.
pub enum Input<D: Driver> {
    /// A session is attached. Its lease begins with the first answered ping.
    Attached {
        cluster: String,
        epoch: Epoch,
        /// Tells a restored cluster from the one before.
        incarnation: u64,
    },
    Detached,
    /// A ping that was sent at this time, on the clock of `now`, was answered.
    PongReceived {
        sent: Timestamp,
    },
    /// All targets that the coordinators have for this agent, with the settings of their platforms.
    Targets(Vec<Target>),
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
    /// All commits of the assignment up to this number are in the log.
    Committed {
        assignment: AssignmentId,
        n: u32,
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
    /// The platform did not send the call, because its permit did not allow it any more.
    Unmade {
        assignment: AssignmentId,
        call: CallId,
    },
    Observed {
        assignment: AssignmentId,
        snapshot: D::Snapshot,
    },
    /// [`crate::Executor::next_deadline`] has come.
    Due,
}

/// What has to be done, in this order. Messages are not among it: [`crate::Executor::next_message`] makes them when
/// the session has room.
pub enum Output<D: Driver> {
    /// Append these records, sync, and answer with `Written`. Numbers grow by one.
    Write {
        sequence: u64,
        records: Vec<JournalRecord>,
    },
    /// As `Write`, with a new file that holds these records alone and replaces the old one.
    Replace {
        sequence: u64,
        records: Vec<JournalRecord>,
    },
    /// All targets, first at the start as the journal has them: connect to what is new or has other settings. Calls and
    /// watches of a target come behind it, but for watches of one that is not known yet.
    Targets(Vec<Target>),
    /// Answer with `Reply`, with `Lost` when no answer came until the permit's end, or with `Unmade` when the permit,
    /// asked again directly before bytes leave, does not allow the call.
    Call {
        assignment: AssignmentId,
        target: TargetName,
        id: CallId,
        call: D::Call,
        permit: Permit,
    },
    /// Observe what is there now and each change, as `Observed`, until `Unwatch`.
    Watch {
        assignment: AssignmentId,
        target: TargetName,
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
    LowerEpoch { assignment: AssignmentId, installation: InstallationId, fence: Fence, epoch: Epoch },
    #[error("assignment {assignment} has the fence {fence} of assignment {other} on {installation}")]
    OtherAssignment {
        assignment: AssignmentId,
        other: AssignmentId,
        installation: InstallationId,
        fence: Fence,
    },
    #[error("assignment {assignment} on {installation} was done and answered before")]
    Forgotten { assignment: AssignmentId, installation: InstallationId, fence: Fence },
    #[error("the agent holds {AGENT_ASSIGNMENTS_MAX} assignments, which is the most")]
    Full { assignment: AssignmentId, installation: InstallationId, fence: Fence },
    #[error("the coordinators don't know assignment {assignment} on {installation}; it is held")]
    Unknown { assignment: AssignmentId, installation: InstallationId, fence: Fence },
}

impl Refused {
    /// As the coordinators are notified of it.
    pub(crate) fn to_wire(&self) -> RefusedAssignment {
        let (Self::LowerFence { assignment, installation, fence, .. }
        | Self::LowerEpoch { assignment, installation, fence, .. }
        | Self::OtherAssignment { assignment, installation, fence, .. }
        | Self::Forgotten { assignment, installation, fence }
        | Self::Full { assignment, installation, fence }
        | Self::Unknown { assignment, installation, fence }) = self;
        RefusedAssignment {
            assignment: assignment.0,
            fence: fence.0,
            installation: installation.into(),
            code: ReasonCode::OrderRefused.as_str().to_owned(),
            message: self.to_string(),
        }
    }
}
