//! What a machine holds in memory: its journal, and its volatile state.

use trimaran_agent_core::driver::CallId;
use trimaran_model::assignment::HostReport;
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::call::{HostFailure, Observation, StoredRelease};
use super::health::Window;
use super::journal::{Journal, Step};

/// The journal and the volatile state.
#[derive(Debug, Clone)]
pub struct Phase {
    pub journal: Journal,
    pub(super) volatile: VolatileState,
}

impl Phase {
    /// The phase of a journal beside what an inspection found, for showing; nothing is done with it.
    pub fn shown(journal: Journal, observation: Observation) -> Self {
        Self { journal, volatile: VolatileState::observed(observation) }
    }

    /// A release on this host, as the last inspection found it.
    pub fn stored(&self, digest: Digest) -> Option<&StoredRelease> {
        self.volatile.observation.as_ref()?.releases.get(&digest)
    }

    /// Whether the host was inspected since the machine began.
    pub fn is_inspected(&self) -> bool {
        self.volatile.observation.is_some()
    }

    /// The goal has come to its end, and what it left behind is tidied up.
    pub fn is_settled(&self) -> bool {
        let underway = match self.journal.step {
            Step::Accepted | Step::InPlace | Step::Changing { .. } | Step::Ending { .. } => true,
            Step::Prepared | Step::Committed | Step::Refused | Step::Failed | Step::Stopped => false,
        };
        !underway
            && self.volatile.operation.is_none()
            && self.volatile.restart.is_none()
            && self.volatile.garbage_collected
    }
}

impl From<Journal> for Phase {
    /// The phase of a machine that has just woken up.
    fn from(journal: Journal) -> Self {
        Self { journal, volatile: VolatileState::default() }
    }
}

/// What the machine knows beside its journal. Lost in a crash.
#[derive(Debug, Clone, Default)]
pub(super) struct VolatileState {
    pub(super) last_call: u64,
    /// `None` until the first inspection, and again after a lost answer.
    pub(super) observation: Option<Observation>,
    /// The next inspection, after one that failed.
    pub(super) inspect_at: Option<Timestamp>,
    /// The one call of the goal that has no answer yet.
    pub(super) operation: Option<(CallId, Operation)>,
    /// A restart by the policy that has no answer yet.
    pub(super) restart: Option<CallId>,
    pub(super) restart_at: Option<Timestamp>,
    /// The probe that has no answer yet, and the launch that it is of.
    pub(super) probe: Option<(CallId, u64)>,
    pub(super) probe_at: Option<Timestamp>,
    /// The process of the journal's launch, while it runs.
    pub(super) process: Option<Timestamp>,
    /// The launch whose end is being watched.
    pub(super) watched: Option<u64>,
    pub(super) window: Window,
    /// What the last successful probe could not prove.
    pub(super) warning: Option<HostFailure>,
    /// End of the present verification.
    pub(super) deadline: Option<Timestamp>,
    /// The host's disruption slot is held. Whoever begins a machine in the middle of a change holds it already, so that
    /// nothing else can be changed before that change is done.
    pub(super) slot: bool,
    pub(super) fetched: bool,
    pub(super) port_checked: bool,
    pub(super) space_freed: bool,
    pub(super) blob_losses: u8,
    pub(super) losses: u8,
    /// Processes run that should not.
    pub(super) orphans: bool,
    /// What an inspection found can't be repaired; not tried again by this process.
    pub(super) repair_failed: bool,
    pub(super) garbage_collected: bool,
    pub(super) abort: Option<ReasonCode>,
    pub(super) done: bool,
    pub(super) reported: Option<HostReport>,
    pub(super) wake_requested: Option<Timestamp>,
}

impl VolatileState {
    /// A state that only knows what was observed.
    pub(super) fn observed(observation: Observation) -> Self {
        Self { observation: Some(observation), ..Self::default() }
    }
}

/// A call of the goal region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Inspect,
    Fetch,
    Unpack,
    FreeSpace,
    AcquireSlot,
    CheckPort,
    Stop,
    Switch,
    Start,
    CollectGarbage,
}
