//! The clocks of this crate's tasks: boot time for timers, and the cluster's wall time for certificates.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_process::clock::{boot_time, system_wall};

/// The instant of a boot time, for timers.
pub(crate) fn instant_of(at: Timestamp) -> Instant {
    Instant::now() + Duration::from_millis((at - boot_time()).0)
}

/// The cluster's date. Before the cluster sent it, the machine's own clock; certificates begin
/// ten minutes before their issue, for machines whose clock is behind.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClusterClock(Arc<Mutex<Option<(WallTime, Timestamp)>>>);

impl ClusterClock {
    pub(crate) fn now(&self) -> WallTime {
        match *self.0.lock() {
            Some((wall, at)) => wall + (boot_time() - at),
            None => system_wall(),
        }
    }

    /// The cluster's time, when it is known.
    pub(crate) fn known(&self) -> Option<WallTime> {
        let known = self.0.lock().is_some();
        known.then(|| self.now())
    }

    pub(crate) fn set(&self, wall: WallTime) {
        *self.0.lock() = Some((wall, boot_time()));
    }

    /// For handshakes.
    pub(crate) fn for_transport(&self) -> trimaran_transport::Clock {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}
