//! What the parts of a coordinator share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trimaran_model::id::CoordinatorName;
use trimaran_transport::authority::Issuer;
use trimaran_transport::{CertificateStore, Endpoint};

use crate::data_dir::DataDir;
use crate::events::EventLog;
use crate::node::Node;
use crate::refusals::Refusals;
use crate::revoked::RevokedKeys;
use crate::room::Room;
use crate::soft::Soft;

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
    pub(crate) room: Room,
    pub(crate) soft: Soft,
    pub(crate) events: EventLog,
    pub(crate) revoked: Arc<RevokedKeys>,
    pub(crate) refusals: Refusals,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl std::ops::Deref for Server {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Server {
    /// Starts a task that the process waits for at its end.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            // `None` says that the process ends; nothing has to be done about it.
            let _ = stop.run_until_cancelled(task).await;
        });
    }
}
