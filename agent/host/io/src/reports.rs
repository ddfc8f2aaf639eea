//! The latest report of each installation, and a bounded way out for changes: a slow reader sees the newest.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use trimaran_model::assignment::HostReport;
use trimaran_model::id::InstallationId;
use trimaran_model::limits;

#[derive(Debug, Default)]
pub(crate) struct Reports {
    state: Mutex<State>,
    changed: Notify,
    /// Something was said for the first time.
    first: Notify,
}

#[derive(Debug, Default)]
struct State {
    latest: BTreeMap<InstallationId, HostReport>,
    unsent: BTreeMap<InstallationId, HostReport>,
}

impl Reports {
    pub(crate) fn set(&self, report: HostReport) {
        let mut state = self.state.lock();
        let installation = report.installation.clone();
        if state.latest.get(&installation) == Some(&report) {
            return;
        }
        if state.latest.insert(installation.clone(), report.clone()).is_none() {
            self.first.notify_waiters();
        }
        state.unsent.insert(installation, report);
        self.changed.notify_one();
    }

    pub(crate) fn all(&self) -> Vec<HostReport> {
        self.state.lock().latest.values().cloned().collect()
    }

    /// Waits until something was said of each of these.
    pub(crate) async fn all_of(&self, installations: &[InstallationId]) {
        loop {
            // Registered before the check, so that nothing reported in between is missed.
            let said = self.first.notified();
            let missing = {
                let latest = &self.state.lock().latest;
                installations.iter().any(|installation| !latest.contains_key(installation))
            };
            if !missing {
                return;
            }
            said.await;
        }
    }

    pub(crate) fn channel() -> (mpsc::Sender<HostReport>, mpsc::Receiver<HostReport>) {
        mpsc::channel(limits::HOST_REPORTS_QUEUED_MAX)
    }

    /// Sends changes until the reader is gone.
    pub(crate) async fn forward(&self, sender: mpsc::Sender<HostReport>) {
        loop {
            let unsent = std::mem::take(&mut self.state.lock().unsent);
            if unsent.is_empty() {
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = sender.closed() => return,
                }
            }
            for report in unsent.into_values() {
                if sender.send(report).await.is_err() {
                    return;
                }
            }
        }
    }
}
