//! What the parts of a coordinator share.

use std::sync::Arc;

use tokio::sync::{Semaphore, broadcast};
use trimaran_model::feature_level::Levels;
use trimaran_model::id::CoordinatorName;
use trimaran_process::Tasks;
use trimaran_transport::authority::Issuer;
use trimaran_transport::{CertificateStore, Endpoint};
use trimaran_wire::v1::agent::Progress;

use crate::agent_attachments::AgentAttachments;
use crate::agent_wakeups::AgentWakeups;
use crate::disk_space::DiskSpaceGuard;
use crate::events::EventLog;
use crate::node::Node;
use crate::own_clock::OwnClock;
use crate::quotas::Quotas;
use crate::reads::Reads;
use crate::refusals::Refusals;
use crate::revocations::Revocations;
use crate::soft_state::SharedSoftState;
use trimaran_process::DataDir;

/// One coordinator at work; a clone is another handle.
#[derive(Clone)]
pub(crate) struct Server(pub(crate) Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) name: CoordinatorName,
    /// The address that members and agents may dial.
    pub(crate) address: String,
    /// The feature levels that it supports.
    pub(crate) levels: Levels,
    pub(crate) data: DataDir,
    pub(crate) node: Node,
    pub(crate) issuer: Issuer,
    pub(crate) endpoint: Endpoint,
    pub(crate) certificates: Arc<CertificateStore>,
    pub(crate) disk_space: DiskSpaceGuard,
    pub(crate) own_clock: OwnClock,
    pub(crate) soft_state: SharedSoftState,
    pub(crate) events: EventLog,
    /// Of agents whose sessions are here, for coordinators where someone watches.
    pub(crate) live_progress: broadcast::Sender<Arc<Progress>>,
    pub(crate) agent_attachments: AgentAttachments,
    pub(crate) agent_wakeups: AgentWakeups,
    pub(crate) revocations: Revocations,
    pub(crate) refusals: Refusals,
    pub(crate) quotas: Quotas,
    /// Of operators.
    pub(crate) reads: Reads,
    /// Of what changes are compiled from: no viewer delays a rollback.
    pub(crate) change_reads: Reads,
    /// Of sessions of agents, which must not wait for operators.
    pub(crate) agent_reads: Reads,
    /// One backup is read at a time: its view keeps on the disk what is deleted meanwhile.
    pub(crate) backups: Arc<Semaphore>,
    pub(crate) tasks: Tasks,
}

impl std::ops::Deref for Server {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}
