//! What this member knows and the log does not: who is connected, what was last seen, live progress.
//!
//! Lost with the process and rebuilt from the sessions that come back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::OwnedMutexGuard;
use trimaran_model::time::WallTime;
use trimaran_transport::Session;
use trimaran_wire::v1::agent::{HeldAssignment, Progress, RefusedAssignment, RefusedCounts, RunnerState};

/// One attached agent.
#[derive(Clone)]
pub(crate) struct AttachedAgent {
    pub(crate) session: Session,
    pub(crate) incarnation: u64,
    pub(crate) address: String,
    pub(crate) last_seen: WallTime,
    /// What the agent's own port refused.
    pub(crate) refused: RefusedCounts,
}

#[derive(Default)]
pub(crate) struct SoftState {
    pub(crate) agents: BTreeMap<String, AttachedAgent>,
    pub(crate) runners: BTreeMap<String, RunnerState>,
    /// Progress of live assignments, by their number.
    pub(crate) progress: BTreeMap<u64, Progress>,
    /// What each agent holds and no coordinator knows, since when this member knows of it.
    pub(crate) held: BTreeMap<String, Vec<(HeldAssignment, WallTime)>>,
    /// Orders that each agent refused, by their assignment, since when this member knows of it.
    pub(crate) refused: BTreeMap<String, BTreeMap<u64, (RefusedAssignment, WallTime)>>,
    /// One a name, for [`SharedSoftState::attachment`]; as many as agents are enrolled.
    attachments: BTreeMap<String, Arc<tokio::sync::Mutex<()>>>,
}

/// The soft state, shared by the tasks of the process. Never held across an await.
#[derive(Default)]
pub(crate) struct SharedSoftState(Mutex<SoftState>);

impl SharedSoftState {
    /// Held while an agent's session comes or goes, so that the log and `agents` change together. Otherwise the
    /// end of an old session could be written behind the beginning of the next one of the same incarnation, and a
    /// connected agent would count as away for ever.
    pub(crate) async fn attachment(&self, agent: &str) -> OwnedMutexGuard<()> {
        let attachment = self.lock().attachments.entry(agent.to_owned()).or_default().clone();
        attachment.lock_owned().await
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SoftState> {
        self.0.lock().expect("no task panics while it holds the lock")
    }
}
