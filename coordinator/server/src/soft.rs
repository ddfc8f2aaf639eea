//! What this member knows and the log does not: who is connected, what was last seen, live progress.
//!
//! Lost with the process and rebuilt from the sessions that come back.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use trimaran_model::time::Wall;
use trimaran_transport::Session;
use trimaran_wire::v1::agent::{HeldAssignment, Progress, RefusedCounts, RunnerState};

/// One attached agent.
#[derive(Clone)]
pub(crate) struct AgentSoft {
    pub(crate) session: Session,
    pub(crate) incarnation: u64,
    pub(crate) address: String,
    pub(crate) last_seen: Wall,
    /// What the agent's own port refused.
    pub(crate) refused: RefusedCounts,
}

#[derive(Default)]
pub(crate) struct SoftState {
    pub(crate) agents: BTreeMap<String, AgentSoft>,
    pub(crate) runners: BTreeMap<String, RunnerState>,
    /// Progress of live assignments, by their number.
    pub(crate) progress: BTreeMap<u64, Progress>,
    /// What each agent holds and no coordinator knows, since when this member knows of it.
    pub(crate) held: BTreeMap<String, Vec<(HeldAssignment, Wall)>>,
}

/// The soft state, shared by the tasks of the process. Never held across an await.
#[derive(Default)]
pub(crate) struct Soft(Mutex<SoftState>);

impl Soft {
    pub(crate) fn lock(&self) -> MutexGuard<'_, SoftState> {
        self.0.lock().expect("no task panics while it holds the lock")
    }
}
