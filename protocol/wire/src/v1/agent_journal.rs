//! The journal of an agent: what it took on, how far it came, and what it answered.
//!
//! A file is a sequence of frames of [`JournalRecords`]. One frame is what was written and synced at once, so
//! that a crash can damage the last frame only.

use bincode::{Decode, Encode};

use super::agent::Progress;
use super::assignment::{WireAssignment, WireFailure, WireOutcome};
use super::common::WireInstallation;
use super::target::WireTarget;
use crate::codec::{Message, kind};

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct JournalRecords(pub Vec<JournalRecord>);

impl Message for JournalRecords {
    const KIND: u16 = kind::AGENT_JOURNAL;
    const VERSION: u16 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum JournalRecord {
    /// The cluster, the highest epoch that was seen of it, and the incarnation that had it.
    Epoch { cluster: String, epoch: u16, incarnation: u64 },
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
    /// The assignment superseded `order`, whose driver had come so far; until its own first `Phase`.
    Found { assignment: u64, order: WireAssignment, bytes: Vec<u8> },
    /// A target that the agent serves, with the settings of its platform: work goes on without a coordinator.
    Target(WireTarget),
    /// The agent serves the target of this name no more.
    TargetRemoved { name: String },
}

/// What a fleet's machine keeps of an assignment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FleetPhase {
    /// The reason, when it was canceled.
    pub abort: Option<String>,
    /// Hosts that got orders.
    pub ordered: Vec<String>,
    pub failures: Vec<WireFailure>,
    pub fault: Option<WireFailure>,
    /// Hosts that were left behind, each with its fault.
    pub lost: Vec<WireFailure>,
    /// How often failures were committed: the number of the last commit.
    pub commits: u32,
}

impl Message for FleetPhase {
    const KIND: u16 = kind::FLEET_JOURNAL;
    const VERSION: u16 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;

    fn records() -> JournalRecords {
        let installation = WireInstallation { pipeline: "w".to_owned(), target: "t".to_owned() };
        JournalRecords(vec![
            JournalRecord::Epoch { cluster: "c".to_owned(), epoch: 2, incarnation: 9 },
            JournalRecord::Fence { installation, fence: 9, assignment: 4 },
            JournalRecord::Phase { assignment: 4, bytes: vec![7, 8] },
            JournalRecord::Held { assignment: 4 },
            JournalRecord::Forgotten { assignment: 300 },
        ])
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let mut expected = vec![5];
        expected.extend([0, 1, b'c', 2, 9]);
        expected.extend([1, 1, b'w', 1, b't', 9, 4]);
        expected.extend([3, 4, 2, 7, 8]);
        // 300 does not fit a byte: 251, then a u16.
        expected.extend([5, 4, 6, 251, 44, 1]);
        assert_eq!(encode(&records()), expected);
        let failure =
            |code: &str| WireFailure { code: code.to_owned(), message: "m".to_owned(), instance: None };
        let phase = FleetPhase {
            abort: Some("a".to_owned()),
            ordered: vec!["h".to_owned()],
            failures: vec![WireFailure { instance: Some("h".to_owned()), ..failure("f") }],
            fault: Some(failure("p")),
            lost: vec![failure("l")],
            commits: 3,
        };
        let mut expected = vec![1, 1, b'a', 1, 1, b'h'];
        expected.extend([1, 1, b'f', 1, b'm', 1, 1, b'h']);
        expected.extend([1, 1, b'p', 1, b'm', 0]);
        expected.extend([1, 1, b'l', 1, b'm', 0, 3]);
        assert_eq!(encode(&phase), expected);
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = records().to_bytes();
        assert_eq!(JournalRecords::from_bytes(&bytes).expect("whole"), records());
        for cut in 0..bytes.len() {
            assert!(JournalRecords::from_bytes(&bytes[..cut]).is_err(), "{cut} bytes");
        }
    }
}
