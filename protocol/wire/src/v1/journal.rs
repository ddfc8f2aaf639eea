//! What hosts store: the journal of one installation and the record beside each unpacked release.
//!
//! The cores convert these structs from and to their phases; nothing here decides.

use bincode::{Decode, Encode};

use super::assignment::WireHostGoal;
use super::common::WireRun;
use super::release::WireRelease;
use crate::codec::{Message, kind};

/// The state file of one installation on one host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHostJournal {
    /// The goal that the machine works on or has reached.
    pub goal: WireHostGoal,
    /// A later goal that was accepted and waits until the host is at a safe place.
    pub next: Option<WireHostGoal>,
    pub step: WireHostStep,
    /// Why the goal failed.
    pub failure: Option<WireHostFailure>,
    /// The release that should run now.
    pub serving: Option<[u8; 32]>,
    /// Why the service is not healthy although it should be.
    pub service_failure: Option<WireHostFailure>,
    /// Releases that were verified here, newest first: what can be rolled back to.
    pub stable_releases: Vec<[u8; 32]>,
    pub prepared: Option<[u8; 32]>,
    pub launch: Option<WireLaunch>,
    pub last_launch: u64,
    pub last_sequence: u64,
    /// Boot-time milliseconds of restarts that the policy still counts.
    pub restarts: Vec<u64>,
    /// The boot during which this was written; `None`: whatever ran was ended on purpose, as by a shutdown.
    pub boot: Option<String>,
}

impl Message for WireHostJournal {
    const KIND: u16 = kind::HOST_JOURNAL;
    const VERSION: u16 = 1;
}

/// Where a host is with its goal.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum WireHostStep {
    Accepted,
    Prepared,
    Changing { to: [u8; 32], back: bool, part: WireChangePart },
    InPlace,
    Committed,
    Refused,
    Failed,
    Ending { broken: bool, part: WireChangePart },
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WireChangePart {
    Stopping,
    Switching,
    Starting,
    /// Hooks by their place.
    BeforeStop(u8),
    Draining,
    AfterStop(u8),
    BeforeStart(u8),
    AfterStart(u8),
    Verifying,
    AfterHealthy(u8),
    Undraining,
    Reloading,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireHostFailure {
    pub code: String,
    pub message: String,
}

/// One start of a service, numbered before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireLaunch {
    pub number: u64,
    pub digest: [u8; 32],
    pub run: WireRun,
    pub attempt: u32,
}

/// The record beside an unpacked release: what it is, even when the journal is lost.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireStoredRelease {
    pub sequence: u64,
    pub digest: [u8; 32],
    /// Fence and assignment for which it was unpacked.
    pub fence: u64,
    pub assignment: u64,
    pub release: WireRelease,
}

impl Message for WireStoredRelease {
    const KIND: u16 = kind::HOST_RELEASE;
    const VERSION: u16 = 1;
}

#[cfg(test)]
mod tests {
    use super::super::assignment::WireHostAction;
    use super::super::common::WireInstallation;
    use super::*;
    use crate::codec::encode;

    fn journal() -> WireHostJournal {
        let run = WireRun { pipeline: "w".to_owned(), number: 4 };
        let goal = WireHostGoal {
            installation: WireInstallation { pipeline: "w".to_owned(), target: "t".to_owned() },
            service: "w".to_owned(),
            assignment: 5,
            fence: 6,
            run: run.clone(),
            attempt: 1,
            action: WireHostAction::Stop { only: [7; 32] },
            retained: vec![],
        };
        WireHostJournal {
            next: Some(WireHostGoal { fence: 9, action: WireHostAction::Verify, ..goal.clone() }),
            goal,
            step: WireHostStep::Changing { to: [8; 32], back: true, part: WireChangePart::Starting },
            failure: Some(WireHostFailure { code: "c".to_owned(), message: "m".to_owned() }),
            serving: Some([8; 32]),
            service_failure: None,
            stable_releases: vec![[8; 32]],
            prepared: None,
            launch: Some(WireLaunch { number: 3, digest: [8; 32], run, attempt: 1 }),
            last_launch: 3,
            last_sequence: 2,
            restarts: vec![300],
            boot: Some("b".to_owned()),
        }
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let head = |fence| [1, b'w', 1, b't', 1, b'w', 5, fence, 1, b'w', 4, 1];
        let mut expected = head(6).to_vec();
        expected.push(3);
        expected.extend([7; 32]);
        // No release is kept; the next goal follows, a `Verify`.
        expected.extend([0, 1]);
        expected.extend(head(9));
        expected.extend([4, 0, 2]);
        expected.extend([8; 32]);
        // Back, starting; the failure; what should run.
        expected.extend([1, 2, 1, 1, b'c', 1, b'm', 1]);
        expected.extend([8; 32]);
        expected.extend([0, 1]);
        expected.extend([8; 32]);
        expected.extend([0, 1, 3]);
        expected.extend([8; 32]);
        // Run and attempt; counters; one restart at 300 (251: a u16 follows); the boot.
        expected.extend([1, b'w', 4, 1, 3, 2, 1, 251, 44, 1, 1, 1, b'b']);
        assert_eq!(encode(&journal()), expected);
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = journal().to_bytes();
        assert_eq!(WireHostJournal::from_bytes(&bytes).expect("whole"), journal());
        for cut in 0..bytes.len() {
            assert!(WireHostJournal::from_bytes(&bytes[..cut]).is_err(), "{cut} bytes");
        }
    }
}
