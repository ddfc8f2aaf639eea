//! Everything that goes into a session and comes out of it. Plain data.

use trimaran_model::id::AssignmentId;
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_wire::v1::agent::{
    AgentDown, AgentUp, HeldAssignment, Progress, RefusedAssignment, RefusedCounts, RevokedKey, RunnerState,
};
use trimaran_wire::v1::command::Command;

use super::changes::Changes;
use super::questions::{Answer, Question};
use crate::io::{MemberStatus, Proposed};

/// When an input comes, and what is known of this coordinator then.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    pub boot: Timestamp,
    /// The cluster's wall time.
    pub wall: WallTime,
    pub member: &'a MemberStatus,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The very first input.
    Begin,
    /// A message that passed the border; only while [`super::AgentSession::takes_messages`].
    Message(AgentUp),
    /// [`Output::Acquire`] is granted.
    Acquired(Attachment),
    /// The log's answer to [`Output::Propose`] of this number.
    Answered { number: u64, answer: Proposed },
    /// The answer to [`Output::Ask`]. No other input comes in between.
    Found(Answer),
    /// The answer to [`Output::AskRevoked`]: no keys when the agent knows all. No other input comes in between.
    Revoked { up_to: u64, keys: Vec<RevokedKey>, issuers: Vec<[u8; 32]> },
    /// Applied entries changed this for the agent; only while [`super::AgentSession::is_attached`].
    Changed(Changes),
    /// [`super::AgentSession::next_deadline`] has come.
    Due,
    /// Views show the revision of [`super::AgentSession::awaits_rows`].
    RowsReached,
    /// The connection is over. `goodbye`: the agent ended it, and will not be back soon. `silent`: its last sign is so
    /// long ago.
    Closed { goodbye: bool, silent: Millis },
}

/// Which session the agent has on this coordinator, when an attachment is acquired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// The one that asks.
    This,
    /// Another one.
    Another,
    /// None.
    Free,
}

/// What has to happen outside, in the order of the list.
#[derive(Debug)]
pub enum Output {
    Send(AgentDown),
    /// To the log; what it says comes back as [`Input::Answered`].
    Propose {
        number: u64,
        command: Command,
    },
    /// From the grant of this to [`Output::Release`] no other session of the agent comes or goes on this coordinator, so
    /// that the log and [`Note::Attached`] change together. Otherwise the end of an old session could be written behind
    /// the beginning of the next one of the same incarnation, and a connected agent would count as away for ever.
    Acquire,
    Release,
    /// Reads rows of at least this revision.
    Ask {
        revision: u64,
        question: Question,
    },
    /// Reads revoked keys that concern the agent, of numbers above this one.
    AskRevoked {
        after: u64,
    },
    /// Ends the connection. `flush`: the agent first reads what was sent, since a close would overtake it.
    Close {
        code: Close,
        why: String,
        flush: bool,
    },
    /// For what this coordinator knows and the log does not.
    Note(Note),
}

/// Why a session is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The agent dials again: another coordinator may serve it.
    Busy,
    /// A later incarnation of the agent counts: this one ends.
    Superseded,
    /// The agent sent what it may not.
    Protocol,
    /// It can't go on.
    Done,
}

/// What is known of an agent beside the log.
#[derive(Debug)]
pub enum Note {
    /// The session is the agent's from now on.
    Attached,
    /// It is not any more.
    Detached,
    Progress(Progress),
    /// What changed since the last whole one.
    ProgressChanges(Progress),
    /// The assignment is not the agent's any more.
    ForgetProgress(AssignmentId),
    /// Assignments that the agent holds and no coordinator knows.
    Held(Vec<HeldAssignment>),
    Refused(RefusedAssignment),
    /// What the agent's own port refused.
    RefusedCounts(RefusedCounts),
    /// What an earlier incarnation said of the agent's runners is over.
    ForgetRunners,
    Runners(Vec<RunnerState>),
}
