//! Everything that goes into a member and comes out of it. Plain data.
//!
//! `P` and `R` are whoever waits for the answer to a command and to a read: channels in the server, names in the
//! simulator. The member keeps them and hands each back once.

use std::collections::BTreeMap;

use bytes::Bytes;
use trimaran_engine::{Event, Outcome};
use trimaran_model::limits::QUORUM_LEASE;
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_replica::{Class, Fatal, InstallJob, Role, RoleChange, RowIter, WriteJob, Written};
use trimaran_wire::raft::{Message, Snapshot};
use trimaran_wire::v1::command::Command;
use trimaran_wire::v1::peer::{MembersRequest, PeerMessage};

use crate::disk_level::DiskLevel;

/// What happened outside.
pub enum Input<P, R> {
    /// [`crate::Member::next_deadline`] has come. Also right as the very first input.
    Due,
    /// A command to be decided by the log; `bytes` is its encoded size. It is only queued: commands of one moment travel together in the entry
    /// that the next [`Input::Due`] forms.
    Propose { requester: P, command: Command, bytes: usize },
    /// Asks from which revision on a view is linearizable.
    Read { requester: R },
    /// A change of the members, or of the leader; `context` travels with the change.
    Members { requester: P, request: MembersRequest, context: Bytes },
    /// A message of a verified peer.
    Peer(Message),
    /// What a verified peer passes on, answers or says.
    PeerMessage { from: u64, message: PeerMessage },
    /// A peer can't be reached: what it was passed may or may not have come.
    Unreachable { peer: u64 },
    /// The snapshot that [`Output::BuildSnapshot`] asked for.
    SnapshotBuilt { snapshot: Snapshot },
    /// It could not be built.
    SnapshotFailed,
    /// The transfer that [`Output::SendSnapshot`] asked for has ended.
    SnapshotSent { to: u64, ok: bool },
    /// The write job of this number, and with it every earlier one, is done.
    Written(Written),
    /// A write or sync failed: the process has to end.
    WriteFailed { reason: String },
    /// A snapshot is durably installed; these are its rows.
    SnapshotInstalled { number: u64, rows: RowIter },
    /// How much space the disk has from now on; [`DiskLevel::Enough`] until the first one.
    DiskSpace(DiskLevel),
    /// The process ends: whoever waits is answered now.
    Shutdown,
}

/// What has to happen outside, in the order of the list.
#[derive(Debug)]
pub enum Output<P, R> {
    Write(WriteJob),
    /// The answer to [`Input::Propose`] and [`Input::Members`].
    Proposed {
        requester: P,
        answer: Proposed,
    },
    /// The answer to [`Input::Read`].
    Read {
        requester: R,
        answer: ReadAnswer,
    },
    /// An entry was applied here.
    Applied(Applied),
    Send {
        to: u64,
        class: Class,
        message: Message,
    },
    /// To a peer, beside the messages of replication.
    SendPeer {
        to: u64,
        message: PeerMessage,
    },
    /// The leader's snapshot replaced the state, which ends at this revision: events between are not to be had.
    StateReplaced {
        revision: u64,
    },
    /// A peer needs a snapshot: build one from a read view with `applied >= min_index`.
    BuildSnapshot {
        min_index: u64,
    },
    /// Send the file of this snapshot to a peer and after it, on the same path, the message.
    SendSnapshot {
        to: u64,
        message: Message,
    },
    InstallSnapshot(InstallJob),
    /// The process must end.
    Fatal(Fatal),
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposed {
    /// Applied at this revision, with this outcome.
    Done { revision: u64, outcome: Outcome },
    /// Nothing happened; try again, or elsewhere.
    NotLeader,
    /// Nothing happened, for this reason; try again later.
    Busy(String),
    /// Nothing happened and nothing will: a change of the members that is not possible.
    Refused(String),
    /// Nothing happened, because the disk has too little space for such a command; see [`DiskLevel::accepts`].
    NoSpace,
    /// It may have happened or not.
    Indeterminate,
}

/// The revision from which on a view is linearizable, or why there is none now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadAnswer {
    At(u64),
    NotLeader,
    Busy(String),
}

/// One applied entry, for watchers on this member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub revision: u64,
    /// The state's, which every replica shows alike, also after a restart.
    pub wall: WallTime,
    pub events: Vec<Event>,
}

/// What happened to the state, for those who are notified of what it made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateChange<'a> {
    /// The next entry was applied.
    Applied(&'a Applied),
    /// What entries up to this revision made is not known here: a snapshot took their place, or they came too fast.
    Missed { revision: u64 },
}

/// What everyone may know about a member without asking its thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    pub id: u64,
    pub role: RoleChange,
    /// Boot time at which it was sure that a leader with a quorum was there, and would have known of it.
    pub quorum_at: Option<Timestamp>,
    /// Voters by raft id, and the boot time of the last sign of each other member.
    pub voters: Vec<u64>,
    pub last_sign: BTreeMap<u64, Timestamp>,
    /// Cluster time at `at`.
    pub now: Timestamp,
    /// The cluster's wall time at `at`.
    pub wall: WallTime,
    /// Boot time at which `now` and `wall` were taken.
    pub at: Timestamp,
}

impl MemberStatus {
    /// The cluster's wall time at a later boot time.
    pub fn wall_at(&self, boot: Timestamp) -> WallTime {
        self.wall + (boot - self.at)
    }

    /// Whether what this member says may keep an agent's lease: it knew of a quorum a moment ago.
    pub fn keeps_leases(&self, boot: Timestamp) -> bool {
        self.quorum_at.is_some_and(|at| boot - at <= QUORUM_LEASE)
    }

    /// Voters that gave a sign within `within`, this member included.
    pub fn voters_present(&self, boot: Timestamp, within: Millis) -> usize {
        let present =
            |id: &&u64| **id == self.id || self.last_sign.get(*id).is_some_and(|at| boot - *at <= within);
        self.voters.iter().filter(present).count()
    }

    /// Whether this member is the leader and its state has every entry of earlier leaders.
    pub fn leads(&self) -> bool {
        matches!(self.role.role, Role::Leader { ready: true })
    }
}
