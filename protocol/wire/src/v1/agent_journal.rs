//! The journal of an agent: what it took on, how far it came, and what it answered.
//!
//! A file is a sequence of frames of [`JournalRecords`]. One frame is what was written and synced at once, so
//! that a crash can damage the last frame only.

use bincode::{Decode, Encode};

use super::agent::Progress;
use super::assignment::{WireAssignment, WireFailure, WireOutcome};
use super::common::WireInstallation;
use crate::codec::{Message, kind};

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JournalRecords(pub Vec<JournalRecord>);

impl Message for JournalRecords {
    const KIND: u16 = kind::AGENT_JOURNAL;
    const VERSION: u16 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum JournalRecord {
    /// The cluster, and the highest epoch that was seen of it.
    Epoch { cluster: String, epoch: u16 },
    /// The largest fence of an installation. Kept after its assignment is forgotten.
    Fence { installation: WireInstallation, fence: u64, assignment: u64 },
    /// An assignment was taken, with its fence.
    Taken(WireAssignment),
    /// Its driver came so far; the bytes are the driver's own envelope.
    Phase { assignment: u64, bytes: Vec<u8> },
    /// It ended. Repeated to the coordinators until they answer.
    Ended { assignment: u64, outcome: WireOutcome, progress: Progress },
    /// The coordinators don't know it: the installation is held.
    Held { assignment: u64 },
    /// Its result was answered: nothing of it is needed any more.
    Forgotten { assignment: u64 },
}

/// What a fleet's machine keeps of an assignment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FleetPhase {
    /// The reason, when it was told to end.
    pub abort: Option<String>,
    /// Hosts that were told to act.
    pub ordered: Vec<String>,
    pub failures: Vec<WireFailure>,
    pub fault: Option<WireFailure>,
}

impl Message for FleetPhase {
    const KIND: u16 = kind::FLEET_JOURNAL;
    const VERSION: u16 = 1;
}
