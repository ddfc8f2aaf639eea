//! Who is observed: installations that the coordinators know, on which nothing works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use trimaran_agent_core::driver::Driver;
use trimaran_agent_core::platform::{Platform, Standing};
use trimaran_model::id::{Fence, InstallationId, TargetName};

use crate::inbox::{Inbox, ObserverSink};

#[derive(Default)]
pub(crate) struct Observers {
    known: BTreeMap<InstallationId, Observer>,
}

#[derive(Default)]
struct Observer {
    /// What the coordinators say; `None` before they said anything.
    standing: Option<Standing>,
    busy: bool,
    /// The fence of the last work: what the coordinators said before it is of no use any more.
    worked_under: Fence,
    running: Option<Running>,
}

struct Running {
    ended: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Observer {
    /// After this nothing more comes of it.
    fn stop(&mut self) {
        if let Some(Running { ended, task }) = self.running.take() {
            ended.store(true, Ordering::Release);
            task.abort();
        }
    }

    /// What can be observed now.
    fn observable(&self) -> Option<&Standing> {
        let standing = self.standing.as_ref()?;
        (!self.busy && standing.fence >= self.worked_under).then_some(standing)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Observers {
    /// Takes what the coordinators say; the installations whose observers have to start anew.
    pub(crate) fn set(&mut self, standing: Vec<Standing>, whole: bool) -> Vec<InstallationId> {
        if whole {
            let named: BTreeSet<&InstallationId> = standing.iter().map(|it| &it.installation).collect();
            for (_, observer) in self.known.iter_mut().filter(|(id, _)| !named.contains(id)) {
                observer.stop();
                observer.standing = None;
            }
            self.known.retain(|_, observer| observer.standing.is_some() || observer.busy);
        }
        let mut changed = Vec::new();
        for standing in standing {
            let installation = standing.installation.clone();
            let observer = self.known.entry(installation.clone()).or_default();
            if observer.standing.as_ref() != Some(&standing) {
                observer.stop();
                observer.standing = Some(standing);
                changed.push(installation);
            }
        }
        changed
    }

    pub(crate) fn busy(&mut self, installation: &InstallationId) {
        let observer = self.known.entry(installation.clone()).or_default();
        observer.busy = true;
        observer.stop();
    }

    pub(crate) fn quiet(&mut self, installation: &InstallationId, fence: Fence) {
        let observer = self.known.entry(installation.clone()).or_default();
        (observer.busy, observer.worked_under) = (false, fence);
    }

    /// Observers of a target whose platform goes.
    pub(crate) fn stop(&mut self, target: &TargetName) {
        for (_, observer) in self.known.iter_mut().filter(|(id, _)| id.target == *target) {
            observer.stop();
        }
    }

    /// Observers of a target whose platform came.
    pub(crate) fn start<D, P>(
        &mut self,
        runtime: &Handle,
        target: &TargetName,
        platform: &Arc<P>,
        inbox: &Arc<Inbox<D>>,
    ) where
        D: Driver<Reply: Send, Snapshot: Send> + 'static,
        P: Platform<D>,
    {
        let ids: Vec<InstallationId> = self.known.keys().filter(|id| id.target == *target).cloned().collect();
        for id in ids {
            self.start_one(runtime, &id, platform, inbox);
        }
    }

    pub(crate) fn start_one<D, P>(
        &mut self,
        runtime: &Handle,
        installation: &InstallationId,
        platform: &Arc<P>,
        inbox: &Arc<Inbox<D>>,
    ) where
        D: Driver<Reply: Send, Snapshot: Send> + 'static,
        P: Platform<D>,
    {
        let Some(observer) = self.known.get_mut(installation) else { return };
        observer.stop();
        let Some(standing) = observer.observable().cloned() else { return };
        let ended = Arc::new(AtomicBool::new(false));
        let sink = ObserverSink::new(standing.clone(), ended.clone(), inbox.clone());
        let platform = platform.clone();
        let task = runtime.spawn(async move { platform.observe(standing, sink).await }).abort_handle();
        observer.running = Some(Running { ended, task });
    }
}
