//! What a machine holds in memory: its journal, and what one life of it knows beside that.

use trimaran_agent_core::driver::CallId;
use trimaran_model::assignment::HostReport;
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::call::{Facts, StoredRelease};
use super::health::Window;
use super::journal::{Journal, Step};

/// The journal with what one life of the machine knows beside it.
#[derive(Debug, Clone)]
pub struct Phase {
    pub journal: Journal,
    pub(super) life: Life,
}

impl Phase {
    /// The phase of a journal beside what a look found, for showing; nothing is done with it.
    pub fn shown(journal: Journal, facts: Facts) -> Self {
        Self { journal, life: Life::knowing(facts) }
    }

    /// A release on this host, as the last look found it.
    pub fn stored(&self, digest: Digest) -> Option<&StoredRelease> {
        self.life.facts.as_ref()?.releases.get(&digest)
    }

    /// Whether this life has looked at the host yet.
    pub fn has_looked(&self) -> bool {
        self.life.facts.is_some()
    }

    /// The goal has come to its end, and what it left behind is tidied up.
    pub fn is_settled(&self) -> bool {
        let underway = match self.journal.step {
            Step::Accepted | Step::InPlace | Step::Changing { .. } | Step::Ending { .. } => true,
            Step::Prepared | Step::Committed | Step::Refused | Step::Failed | Step::Stopped => false,
        };
        !underway && self.life.act.is_none() && self.life.restart.is_none() && self.life.tidied
    }
}

impl From<Journal> for Phase {
    /// The phase of a machine that has just woken up.
    fn from(journal: Journal) -> Self {
        Self { journal, life: Life::default() }
    }
}

/// What one life of the machine knows beside its journal. Lost in a crash.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    pub(super) last_call: u64,
    /// `None` until the first look, and again after a lost answer.
    pub(super) facts: Option<Facts>,
    /// The next look, after one that failed.
    pub(super) look_at: Option<Timestamp>,
    /// The one call of the goal that has no answer yet.
    pub(super) act: Option<(CallId, Act)>,
    /// A restart by the policy that has no answer yet.
    pub(super) restart: Option<CallId>,
    pub(super) restart_at: Option<Timestamp>,
    pub(super) probe: Option<CallId>,
    pub(super) probe_at: Option<Timestamp>,
    /// The process of the journal's launch, while it lives.
    pub(super) process: Option<Timestamp>,
    /// The launch whose end is being watched.
    pub(super) watched: Option<u64>,
    pub(super) window: Window,
    /// End of the present verification.
    pub(super) deadline: Option<Timestamp>,
    /// The host's turn is held. Whoever begins a machine in the middle of a change holds it already, so that
    /// nothing else can be changed before that change is done.
    pub(super) turn: bool,
    pub(super) fetched: bool,
    pub(super) port_checked: bool,
    pub(super) room_made: bool,
    pub(super) blob_losses: u8,
    pub(super) losses: u8,
    /// Processes run that should not.
    pub(super) strays: bool,
    /// What a look found can't be repaired; not tried again in this life.
    pub(super) repair_failed: bool,
    pub(super) tidied: bool,
    pub(super) abort: Option<ReasonCode>,
    pub(super) done: bool,
    pub(super) reported: Option<HostReport>,
    pub(super) woken: Option<Timestamp>,
}

impl Life {
    /// A life that does nothing but know.
    pub(super) fn knowing(facts: Facts) -> Self {
        Self { facts: Some(facts), ..Self::default() }
    }
}

/// A call of the goal region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Look,
    Fetch,
    Unpack,
    MakeRoom,
    TakeTurn,
    CheckPort,
    Stop,
    Switch,
    Start,
    Tidy,
}
