//! Between coordinators, beside the messages of replication (`crate::raft`): the first frame of each stream, what is
//! passed on to the leader with its answers, and what one coordinator asks another.
//!
//! Streams carry in one direction; answers come on the other side's own streams. Only [`PeerQuestion`] is answered on
//! the stream that asked.

use bincode::{Decode, Encode};

use super::agent::{AgentQuery, HeldAssignment, Progress, RefusedAssignment, RunnerState};
use super::command::Command;
use super::common::WireIdentity;
use super::row::StoredOutcome;
use crate::codec::{Message, kind};

/// The version of this protocol that this build speaks.
pub const PEER_VERSION: u16 = 1;

/// Who opens a stream. Checked against the certificate of the session and the rows of the members.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PeerHello {
    pub cluster_id: [u8; 16],
    pub raft_id: u64,
    /// The disk that the raft id is bound to.
    pub disk_id: [u8; 16],
    pub name: String,
    /// Where it is dialed, `HOST:PORT`.
    pub address: String,
    /// The oldest and the newest version of this protocol that it speaks.
    pub versions: (u16, u16),
    /// The lowest and the highest feature level that its build supports.
    pub levels: (u16, u16),
}

/// What a stream is for. Each has a priority of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum PeerStream {
    /// Votes, heartbeats and their answers: small, and late is as bad as lost.
    Control,
    /// Entries of the log.
    Append,
    /// [`PeerMessage`]s.
    Request,
    /// The frames of one snapshot file, and behind them the message of replication that announces it.
    Snapshot,
    /// One [`PeerQuestion`], whose answer comes back on the same stream.
    Question,
}

/// The first frame of every stream between coordinators.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PeerOpen {
    pub hello: PeerHello,
    /// The raft id that is meant. Another member may have the address by now.
    pub to: u64,
    pub stream: PeerStream,
}

impl Message for PeerOpen {
    const KIND: u16 = kind::PEER_OPEN;
    const VERSION: u16 = 1;
}

/// What is passed on to the leader, and its answers. `number` is the asker's, unique over its restarts. Nothing is ever
/// passed on a second time: who is not the leader answers so.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PeerMessage {
    /// A command whose identity the sender has verified. Its request key holds the SHA-256 over the bytes that the
    /// client sent. The sender waits for `wait_ms` at most.
    Command { number: u64, wait_ms: u32, command: Command },
    /// A change of the members or of the leader; `context` travels with the change.
    Members { number: u64, wait_ms: u32, request: MembersRequest, context: Vec<u8> },
    /// From which revision on is a view linearizable?
    Read { number: u64 },
    /// The answer to `Command` and `Members`.
    Proposed { number: u64, answer: WireProposed },
    /// The answer to `Read`.
    ReadAnswer { number: u64, answer: WireReadAnswer },
    /// The sender is there, with this wall clock and this much space on its disk: for the leader.
    Present { wall_ms: i64, disk: WireDiskLevel },
}

/// How much space a coordinator's disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WireDiskLevel {
    Full,
    Low,
    Enough,
}

impl Message for PeerMessage {
    const KIND: u16 = kind::PEER_MESSAGE;
    const VERSION: u16 = 1;
}

/// A change of the members or of the leader, by raft ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum MembersRequest {
    AddLearner {
        id: u64,
    },
    /// Adds a voter, or promotes a learner.
    AddVoter {
        id: u64,
    },
    Remove {
        id: u64,
    },
    Replace {
        old: u64,
        new: u64,
    },
    /// Leadership goes to this voter; to whoever is closest behind when it is 0.
    Transfer {
        to: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireProposed {
    Done {
        revision: u64,
        outcome: WireOutcomeOfCommand,
    },
    NotLeader,
    Busy {
        why: String,
    },
    Refused {
        why: String,
    },
    Indeterminate,
    /// The leader's disk has too little space for such a command.
    NoSpace,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireOutcomeOfCommand {
    Stored(StoredOutcome),
    Enrolled {
        identity: WireIdentity,
    },
    Attached {
        attach: u64,
    },
    ReportApplied,
    ResultSuperseded {
        by: u64,
    },
    ReportUnknown,
    /// So many parts of a content are stored.
    ContentStored {
        parts: u32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireReadAnswer {
    At { revision: u64 },
    NotLeader,
    Busy { why: String },
}

/// What one coordinator asks another.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum PeerQuestion {
    /// How are you? Answered with one [`MemberReport`].
    Report,
    /// What do you know of your agents? Answered with [`SessionsReport`]s, the last of which says so.
    Sessions,
    /// Ask an agent that has its session with you: answered with the agent's own frames.
    /// What follows the question on the stream is the agent's too.
    Agent { agent: String, query: AgentQuery },
    /// Live progress of your agents as it comes: answered with [`SessionsReport`]s until the asker goes.
    Progress,
}

impl Message for PeerQuestion {
    const KIND: u16 = kind::PEER_QUESTION;
    const VERSION: u16 = 1;
}

/// What a coordinator says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MemberReport {
    pub raft_id: u64,
    pub leader: Option<u64>,
    pub term: u64,
    pub applied: u64,
    pub hash: u128,
    pub first_index: u64,
    pub snapshot_index: u64,
    pub disk_free: u64,
    pub refused_handshakes: u64,
    pub refused_frames: u64,
    /// Its system's clock.
    pub wall_ms: i64,
    /// It has too little disk space: how little there is and what helps.
    pub disk_low: Option<MemberAlarm>,
    /// Its wall clock is not the cluster's: by how much it is wrong.
    pub clock_wrong: Option<MemberAlarm>,
}

/// What is wrong with a coordinator, and is no row because it is its own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct MemberAlarm {
    /// For people.
    pub message: String,
    /// Wall time.
    pub since_ms: i64,
}

impl Message for MemberReport {
    const KIND: u16 = kind::MEMBER_REPORT;
    const VERSION: u16 = 1;
}

/// What a coordinator knows of the agents whose sessions it has, and the log does not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct SessionsReport {
    pub agents: Vec<SessionReport>,
    pub runners: Vec<RunnerState>,
    pub progress: Vec<Progress>,
    /// By agent, each with the wall time since which it is known.
    pub held: Vec<(String, HeldAssignment, i64)>,
    pub refused: Vec<(String, RefusedAssignment, i64)>,
    pub last: bool,
}

impl Message for SessionsReport {
    const KIND: u16 = kind::SESSIONS_REPORT;
    const VERSION: u16 = 1;
}

/// One agent's session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SessionReport {
    pub name: String,
    pub incarnation: u64,
    pub address: String,
    pub last_seen_ms: i64,
    pub refused_handshakes: u64,
    pub refused_frames: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;
    use crate::v1::command::CommandBody;

    #[test]
    fn golden_bytes_of_version_1() {
        let hello = PeerHello {
            cluster_id: [7; 16],
            raft_id: 3,
            disk_id: [8; 16],
            name: "c1".to_owned(),
            address: "h:1".to_owned(),
            versions: (1, 2),
            levels: (5, 6),
        };
        let open = PeerOpen { hello, to: 4, stream: PeerStream::Request };
        let mut expected = [[7; 16].as_slice(), &[3], &[8; 16]].concat();
        expected.extend([2, b'c', b'1', 3, b'h', b':', b'1', 1, 2, 5, 6, 4, 2]);
        assert_eq!(encode(&open), expected);
        let command = Command { identity: WireIdentity::System, request: None, body: CommandBody::Advance };
        let inner = encode(&command);
        let message = PeerMessage::Command { number: 5, wait_ms: 6, command };
        assert_eq!(encode(&message), [[0, 5, 6].as_slice(), &inner].concat());
        let request = MembersRequest::Replace { old: 1, new: 2 };
        let message = PeerMessage::Members { number: 5, wait_ms: 6, request, context: vec![9] };
        assert_eq!(encode(&message), [1, 5, 6, 3, 1, 2, 1, 9]);
        assert_eq!(encode(&PeerMessage::Read { number: 5 }), [2, 5]);
        let answer =
            WireProposed::Done { revision: 7, outcome: WireOutcomeOfCommand::Attached { attach: 8 } };
        assert_eq!(encode(&PeerMessage::Proposed { number: 5, answer }), [3, 5, 0, 7, 2, 8]);
        let answer = WireReadAnswer::At { revision: 7 };
        assert_eq!(encode(&PeerMessage::ReadAnswer { number: 5, answer }), [4, 5, 0, 7]);
        let message = PeerMessage::Present { wall_ms: -1, disk: WireDiskLevel::Low };
        assert_eq!(encode(&message), [5, 1, 1]);
        assert_eq!(encode(&PeerQuestion::Sessions), [1]);
    }
}
