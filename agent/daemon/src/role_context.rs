//! What both roles start with.

use tokio_util::sync::CancellationToken;

use crate::certificate::Own;
use crate::clock::ClusterClock;
use crate::settings::Settings;
use crate::state::State;
use trimaran_process::DataDir;

/// What both roles start with.
pub(crate) struct RoleContext {
    pub(crate) data: DataDir,
    /// Where its identity and journal are.
    pub(crate) state: State,
    pub(crate) settings: Settings,
    pub(crate) own: Own,
    pub(crate) clock: ClusterClock,
    /// The process was asked to end.
    pub(crate) stop: CancellationToken,
}
