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
    /// Releases that were verified here, newest first: the ways back.
    pub good: Vec<[u8; 32]>,
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
    Ending { broken: bool },
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WireChangePart {
    Stopping,
    Switching,
    Starting,
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
