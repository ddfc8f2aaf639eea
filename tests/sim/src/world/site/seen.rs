//! What a process of the agent knows of one host.

use std::collections::BTreeMap;

use trimaran_agent_core::driver::CallId;
use trimaran_model::assignment::HostReport;
use trimaran_model::id::{AssignmentId, InstallationId};
use trimaran_model::time::{Timestamp, WallTime};

/// What was asked for in a session, until it is answered.
pub(super) struct Asked {
    /// `None`: outside of assignments, and no one waits for the answer.
    pub(super) call: Option<(AssignmentId, CallId)>,
    pub(super) until: Timestamp,
}

/// A host that was ever connected to the process.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) link: Option<u64>,
    /// The number of its last session.
    pub(super) session: u64,
    pub(super) incarnation: u64,
    pub(super) address: String,
    /// Since when it is connected or away.
    pub(super) since: Timestamp,
    pub(super) last_seen: WallTime,
    pub(super) reports: BTreeMap<InstallationId, HostReport>,
    pub(super) sequence: u64,
    pub(super) asked: BTreeMap<u64, Asked>,
}

impl Seen {
    /// When an order has to be answered at the latest.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.link?;
        self.asked.values().map(|asked| asked.until).min()
    }
}
