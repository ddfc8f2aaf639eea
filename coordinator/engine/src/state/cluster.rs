//! The cluster itself: counters and clocks, members, alarms.

use trimaran_model::feature_level::{self, Levels};
use trimaran_model::id::{AgentName, CoordinatorName, Digest, Epoch, Fence, RunId};
use trimaran_model::time::{Timestamp, WallTime};

/// More assignments than any cluster makes of which a survivor, or whoever has a backup, does not know: at 10^5 a second it
/// takes half a day. With 2^16 epochs they fit the 48 bits that a fence has for its number.
const ASSIGNMENTS_SKIPPED: u64 = 1 << 32;

/// Identity, time and counters of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Empty before the first command.
    pub name: String,
    pub epoch: Epoch,
    /// Random; another one after every restore and recovery.
    pub incarnation: u64,
    pub now: Timestamp,
    /// Milliseconds: wall time is `now + offset`.
    pub offset_ms: i64,
    /// The last number of each kind.
    pub fence: u64,
    pub assignment: u64,
    pub sequence: u64,
    pub attach: u64,
    pub revocation: u64,
    pub audit_seq: u64,
    /// Of the last audit record.
    pub audit_hash: Digest,
    /// What the state machine does follows it ([`trimaran_model::feature_level`]).
    pub level: u16,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: String::new(),
            epoch: Epoch(0),
            incarnation: 0,
            now: Timestamp(0),
            offset_ms: 0,
            fence: 0,
            assignment: 0,
            sequence: 0,
            attach: 0,
            revocation: 0,
            audit_seq: 0,
            audit_hash: Digest([0; 32]),
            level: feature_level::FIRST,
        }
    }
}

impl Cluster {
    pub fn wall(&self) -> WallTime {
        self.wall_of(self.now)
    }

    /// The wall time of a moment of cluster time, as it looks now.
    pub fn wall_of(&self, at: Timestamp) -> WallTime {
        WallTime(i64::try_from(at.0).unwrap_or(i64::MAX).saturating_add(self.offset_ms))
    }

    /// The moment of cluster time at which wall time is `wall`, as it looks now.
    pub fn at_wall(&self, wall: WallTime) -> Timestamp {
        Timestamp(u64::try_from(wall.0.saturating_sub(self.offset_ms)).unwrap_or(0))
    }

    /// Another incarnation of the cluster begins, with numbers that no earlier one can have given: agents know their work by
    /// the number of its assignment. Numbers are skipped for each epoch between, so that two states that were made of one
    /// and have different epochs give different ones.
    pub(crate) fn begin_incarnation(&mut self, epoch: Epoch, incarnation: u64) {
        let skipped = u64::from(epoch.0.saturating_sub(self.epoch.0)) * ASSIGNMENTS_SKIPPED;
        (self.epoch, self.incarnation) = (epoch, incarnation);
        self.assignment += skipped;
        // Each assignment has a number and a fence.
        self.fence += skipped;
    }

    /// The largest fence that was ever assigned.
    pub fn last_fence(&self) -> Fence {
        Fence::new(self.epoch, self.fence)
    }
}

/// A coordinator, by its raft id, which is bound to one disk and never reused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub raft_id: u64,
    /// Random id of its disk.
    pub disk: [u8; 16],
    pub name: CoordinatorName,
    pub address: String,
    pub certificate: Digest,
    /// The public key with which it signs certificates.
    pub issuer: Digest,
    /// Kept for ever: its id is never used again, and what it certified while it was a member stays known.
    pub removed: bool,
    /// What its build supports, as it said at its last start.
    pub levels: Levels,
}

/// What a user should act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    pub subject: AlarmSubject,
    pub code: String,
    pub detail: AlarmDetail,
    pub since: WallTime,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmSubject {
    Cluster,
    Member { name: CoordinatorName },
    Run { run: RunId },
    Agent { name: AgentName },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlarmDetail {
    /// A defect stopped a command or a timer at a revision of the log.
    CommandBug {
        revision: u64,
    },
    RunBug {
        run: RunId,
        revision: u64,
    },
    ClockJump,
    /// An agent has seen another incarnation of this cluster: the incarnation and the epoch that it knows.
    OtherIncarnation {
        epoch: Epoch,
        incarnation: u64,
    },
    /// What a member reports of itself, in its words.
    Reported {
        message: String,
    },
    /// The cluster was restored from a backup: it only observes, or so many installations and runs wait for a decision.
    Restored {
        observes: bool,
        installations: u32,
        runs: u32,
    },
}

/// A defect stopped a command, a timer or a run.
pub const ALARM_BUG: &str = "bug";
/// An agent has seen a later state of the cluster than this one, or another one.
pub const ALARM_OTHER_INCARNATION: &str = "other_incarnation";
/// The wall clock jumped.
pub const ALARM_CLOCK_JUMP: &str = "clock_jump";
/// The cluster was restored from a backup, and something is not decided.
pub const ALARM_RESTORED: &str = "restored";
