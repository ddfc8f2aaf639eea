//! What a machine holds in memory: its journal, and its volatile state.

use trimaran_agent_core::driver::CallId;
use trimaran_model::assignment::HostReport;
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::call::{HostFailure, Observation, StoredRelease};
use super::health::Watch;
use super::journal::{Journal, Part, Step};

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

    /// Whether a process of it runs, as far as the machine knows.
    pub fn is_running(&self) -> bool {
        self.volatile.process.is_some()
    }

    /// What the probes of what runs say; `None` before any was answered.
    pub fn probed(&self) -> Option<Result<(), String>> {
        self.volatile.watch.present()
    }

    /// Whether the host was inspected since the machine began.
    pub fn is_inspected(&self) -> bool {
        self.volatile.observation.is_some()
    }

    /// Why the host can't be inspected, since its last attempt.
    pub fn inspection_failure(&self) -> Option<&HostFailure> {
        self.volatile.inspection_failure.as_ref()
    }

    /// The goal has come to its end, and what it left behind is tidied up.
    pub fn is_settled(&self) -> bool {
        let in_progress = match self.journal.step {
            Step::Accepted | Step::InPlace | Step::Changing { .. } | Step::Ending { .. } => true,
            Step::Prepared | Step::Committed | Step::Refused | Step::Failed | Step::Stopped => false,
        };
        // Of what can't be inspected nothing more will be known: it is reported, and tried again beside.
        let unknown = self.volatile.observation.is_none() && self.volatile.inspection_failures > 0;
        !in_progress
            && self.volatile.operation.is_none()
            && self.volatile.service_call.is_none()
            && (self.volatile.garbage_collected || unknown)
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
    /// Inspections that failed in a row, and the last failure.
    pub(super) inspection_failures: u8,
    pub(super) inspection_failure: Option<HostFailure>,
    /// The next inspection, after one that failed.
    pub(super) inspect_at: Option<Timestamp>,
    /// The one call of the goal that has no answer yet.
    pub(super) operation: Option<(CallId, Operation)>,
    /// A call of the service region that has no answer yet.
    pub(super) service_call: Option<(CallId, ServiceCall)>,
    /// The service region waits for the host's disruption slot, to end what runs.
    pub(super) slot_call: Option<CallId>,
    pub(super) restart_at: Option<Timestamp>,
    /// The policy allows that restart only later than its delay: there were too many.
    pub(super) restart_is_late: bool,
    /// A user asked for a restart that has not been made yet.
    pub(super) restart_requested: bool,
    /// The process of the journal's launch, while it runs.
    pub(super) process: Option<Timestamp>,
    /// The launch whose end is being watched.
    pub(super) watched: Option<u64>,
    /// The probes of that process.
    pub(super) watch: Watch,
    /// What the last successful probe warned of.
    pub(super) warning: Option<HostFailure>,
    /// End of the present verification.
    pub(super) deadline: Option<Timestamp>,
    /// The host's disruption slot is held. Whoever begins a machine in the middle of a change holds it already, so that
    /// nothing else can be changed before that change is done.
    pub(super) slot: bool,
    pub(super) fetched: bool,
    /// The host can run the release as it asks for.
    pub(super) preflight_passed: bool,
    /// The service has allowed its stop.
    pub(super) stop_allowed: bool,
    /// When it was asked first for the present goal, and when it is asked again.
    pub(super) stop_asked_since: Option<Timestamp>,
    pub(super) stop_asked_again_at: Option<Timestamp>,
    /// What the present change could do only in part.
    pub(super) change_warning: Option<HostFailure>,
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
    Preflight,
    /// Whether the service allows its stop.
    MayStop,
    /// What a part of a change asks for beside the service.
    Errand(Part),
    Stop,
    Switch,
    Start,
    CollectGarbage,
}

/// A call of the service region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceCall {
    /// What runs does not work any more.
    End,
    Start,
}
