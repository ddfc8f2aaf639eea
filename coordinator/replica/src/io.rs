//! Everything that goes into a replica and comes out of it. Plain data.

use std::fmt;

use bytes::Bytes;
use trimaran_wire::raft::{ConfState, Entry, HardState, Message, Snapshot, SnapshotMeta};

use crate::state_machine::{EntryMeta, RowBatch, RowIter};

/// Who waits for an answer. Chosen by the caller, unique among the waiters of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// What happened outside.
pub enum Input {
    /// [`crate::Replica::next_deadline`] has come. Also right as the very first input.
    Due,
    /// A message of a verified peer; the transport has checked that `from` is who sent it.
    Peer(Message),
    /// The bytes of one entry, at most `limits::ENTRY_BYTES_MAX` and not empty.
    Propose { waiter: Waiter, data: Bytes },
    /// Asks from which revision on a view is linearizable.
    Read { waiter: Waiter },
    /// The write job `number`, and with it every earlier one, is done: durable if it asked for it.
    Written(Written),
    /// A write or sync failed. Nothing is retried: the process has to end.
    WriteFailed { reason: String },
    /// The snapshot for a peer that [`Output::BuildSnapshot`] asked for. `manifest` describes the file.
    SnapshotBuilt { snapshot: Snapshot },
    /// It could not be built; it is asked for again when a peer still needs it.
    SnapshotFailed,
    /// The transfer that [`Output::SendSnapshot`] asked for has ended.
    SnapshotSent { to: u64, ok: bool },
    /// A snapshot is durably installed (the answer to [`Output::InstallSnapshot`]); these are the rows of its state.
    SnapshotInstalled { number: u64, rows: RowIter },
    /// A peer could not be reached; appends to it are slowed down.
    Unreachable { peer: u64 },
    /// Gives leadership to the voter `to`. The answer comes once someone leads in a later term, or when an election
    /// timeout has passed without that.
    TransferLeader { waiter: Waiter, to: u64 },
    /// Changes the members: the bytes of `context` travel with the change and reach
    /// [`crate::StateMachine::apply_members`] when it is in force. See [`MemberChange`].
    ChangeMember { waiter: Waiter, change: MemberChange, context: Bytes },
    /// The process ends: every waiter is answered now, no proposal is accepted any more.
    Shutdown,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Due => f.write_str("Due"),
            Self::Peer(message) => write!(f, "Peer({:?} {} -> {})", message.kind, message.from, message.to),
            Self::Propose { waiter, data } => write!(f, "Propose({waiter:?}, {} bytes)", data.len()),
            Self::Read { waiter } => write!(f, "Read({waiter:?})"),
            Self::Written(written) => write!(f, "{written:?}"),
            Self::WriteFailed { reason } => write!(f, "WriteFailed({reason})"),
            Self::SnapshotBuilt { snapshot } => write!(f, "SnapshotBuilt({})", snapshot.meta.index),
            Self::SnapshotFailed => f.write_str("SnapshotFailed"),
            Self::SnapshotSent { to, ok } => write!(f, "SnapshotSent({to}, {ok})"),
            Self::SnapshotInstalled { number, .. } => write!(f, "SnapshotInstalled({number})"),
            Self::Unreachable { peer } => write!(f, "Unreachable({peer})"),
            Self::TransferLeader { waiter, to } => write!(f, "TransferLeader({waiter:?}, {to})"),
            Self::ChangeMember { waiter, change, .. } => write!(f, "ChangeMember({waiter:?}, {change:?})"),
            Self::Shutdown => f.write_str("Shutdown"),
        }
    }
}

/// One change of the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    AddLearner(u64),
    /// Adds a voter, or promotes a learner.
    AddVoter(u64),
    Remove(u64),
    /// Removes the voter `old` and adds the voter `new` in one step, through a joint configuration: at no time does
    /// the cluster bear fewer losses than before.
    Replace {
        old: u64,
        new: u64,
    },
}

/// Why a change of members, or a transfer of leadership, is not possible. Nothing was proposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersRefusal {
    #[error("{0} is not a member")]
    NotAMember(u64),
    #[error("{0} is not a voter")]
    NotAVoter(u64),
    #[error("{0} is a member already")]
    AlreadyAMember(u64),
    #[error("{0} is the last voter: no one would be left to decide anything")]
    LastVoter(u64),
    #[error("{0} is the leader: it gives leadership away before it leaves")]
    IsLeader(u64),
    #[error("raft refuses the change: {why}")]
    Raft { why: String },
}

/// The answer to [`Output::Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// [`WriteJob::number`] of the last job that is done.
    pub number: u64,
}

/// What has to happen outside, in the order of the list.
#[derive(Debug)]
pub enum Output<R, E> {
    Send {
        to: u64,
        class: Class,
        message: Message,
    },
    Write(WriteJob),
    Reply {
        waiter: Waiter,
        answer: Answer<R>,
    },
    /// Events of the entry `revision`, on every replica.
    Events {
        revision: u64,
        events: Vec<E>,
    },
    /// A peer needs a snapshot: build one from a read view with `applied >= min_index`.
    BuildSnapshot {
        min_index: u64,
    },
    /// Send the rows of this snapshot to a peer and after them, on the same path, the message.
    SendSnapshot {
        to: u64,
        message: Message,
    },
    /// Switch to a snapshot whose rows are staged ([`crate::staging`]), after all earlier write jobs.
    InstallSnapshot(InstallJob),
    /// The state was replaced by the leader's snapshot, which ends at `applied`: events between are not to be had.
    StateReplaced {
        applied: EntryMeta,
    },
    Role(RoleChange),
    /// The process must end: its memory may be ahead of its disk, or its disk is wrong.
    Fatal(Fatal),
}

/// Priority of a message on its way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Votes, heartbeats and answers: small, and late is as bad as lost.
    Control,
    /// Entries.
    Append,
}

/// One ordered unit of writing. All of it becomes durable or none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteJob {
    /// Grows by one per job or [`InstallJob`].
    pub number: u64,
    /// Entries to append. The first one may stand below the end of the log: then everything at and above it
    /// is deleted first.
    pub entries: Vec<Entry>,
    pub hard_state: Option<HardState>,
    /// Rows of applied entries; `applied` is the last of them.
    pub rows: RowBatch,
    pub applied: Option<EntryMeta>,
    /// Hash of the state as of `applied`: what the rows must come to when they are loaded again.
    pub state_hash: Option<u128>,
    /// Members as of `applied`.
    pub conf_state: Option<ConfState>,
    /// Rows up to this entry are complete once this job is durable.
    pub snapshot: Option<LogPosition>,
    /// Entries at and below this one may be deleted; the snapshot position is durable already.
    pub compact: Option<LogPosition>,
    /// An answer may come only after a sync of this job and all earlier ones.
    pub sync: bool,
}

/// Index and term of an entry that the log is cut at.
pub type LogPosition = EntryMeta;

/// The durable switch to the staged rows of a snapshot: another generation of rows, the log emptied, one synced batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallJob {
    pub number: u64,
    pub meta: SnapshotMeta,
    pub manifest: Bytes,
    pub hard_state: HardState,
}

/// The answer to a waiter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<R> {
    /// The entry is committed, applied and durable.
    Applied { entry: EntryMeta, reply: R },
    /// The change of members is committed and in force, and a quorum of the members as they are now knows that; a
    /// replacement has left its joint configuration.
    MembersChanged { entry: EntryMeta, reply: R },
    /// Nothing happened and nothing will: the change is not possible.
    MembersRefused(MembersRefusal),
    /// Leadership was given away: `leader` leads now, which need not be who was to.
    LeaderChanged { leader: u64 },
    /// Views at or above this revision are linearizable with the request.
    Read { revision: u64 },
    /// Nothing happened and nothing will; ask `hint`.
    NotLeader { hint: Option<u64> },
    /// Nothing happened and nothing will; ask again later.
    Busy(Busy),
    /// The entry may be applied or not: leadership or the process ended before it was known.
    Indeterminate,
}

/// Why a request was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    #[error("too many requests wait for the log")]
    Waiters,
    #[error("too many bytes wait to be committed")]
    Uncommitted,
    #[error("the disk is slower than the log grows")]
    Log,
    #[error("leadership is being transferred")]
    Transfer,
    #[error("the new leader did not take over within an election timeout")]
    TransferTimedOut,
    #[error("another change of members is in progress")]
    Members,
    #[error("the entry has {size} bytes, allowed are 1 to {max}")]
    EntrySize { size: usize, max: usize },
    #[error("this coordinator is shutting down")]
    Shutdown,
}

/// Role of this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Follower,
    Candidate,
    /// `ready` once the entry that opens its term is applied here: reads and outbox workers may begin.
    Leader {
        ready: bool,
    },
}

/// Sent whenever one of its fields changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleChange {
    pub role: Role,
    pub term: u64,
    pub leader: Option<u64>,
}

/// Why the process must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    #[error("a write failed: {reason}")]
    Write { reason: String },
    #[error("the writer answered job {got} after {last}")]
    WriterOrder { got: u64, last: u64 },
    #[error(
        "the leader counts on entries up to {commit} of this replica, its log ends at {last}: the disk lost data; remove this member and join with an empty directory"
    )]
    LogLost { commit: u64, last: u64 },
    #[error("raft refused to continue: {reason}")]
    Raft { reason: String },
    #[error("an entry of the log can't be read: index {index}: {reason}")]
    Entry { index: u64, reason: String },
    #[error("the installed snapshot is not a state: {reason}")]
    Restore { reason: String },
}
