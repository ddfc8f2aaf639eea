//! What the parts of a coordinator share.

use std::sync::Arc;

use trimaran_model::id::CoordinatorName;
use trimaran_process::Tasks;
use trimaran_transport::authority::Issuer;
use trimaran_transport::{CertificateStore, Endpoint, RevokedKeys};

use crate::agent_wakeups::AgentWakeups;
use crate::data_dir::DataDir;
use crate::disk_space::DiskSpaceGuard;
use crate::events::EventLog;
use crate::node::Node;
use crate::reads::Reads;
use crate::refusals::Refusals;
use crate::soft_state::SharedSoftState;

/// One coordinator at work; a clone is another handle.
#[derive(Clone)]
pub(crate) struct Server(pub(crate) Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) name: CoordinatorName,
    /// The address that members and agents may dial.
    pub(crate) address: String,
    pub(crate) data: DataDir,
    pub(crate) node: Node,
    pub(crate) issuer: Issuer,
    pub(crate) endpoint: Endpoint,
    pub(crate) certificates: Arc<CertificateStore>,
    pub(crate) disk_space: DiskSpaceGuard,
    pub(crate) soft_state: SharedSoftState,
    pub(crate) events: EventLog,
    pub(crate) agent_wakeups: AgentWakeups,
    pub(crate) revoked: RevokedKeys,
    pub(crate) refusals: Refusals,
    pub(crate) reads: Reads,
    pub(crate) tasks: Tasks,
}

impl std::ops::Deref for Server {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}
