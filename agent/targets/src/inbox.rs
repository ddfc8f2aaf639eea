//! What platforms found and the loop has not taken yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use trimaran_agent_core::driver::{CallId, Driver};
use trimaran_agent_core::platform::{Answer, Judgment, JudgmentSink, SnapshotSink, Standing};
use trimaran_model::id::{AssignmentId, InstallationId};

/// One thing that a platform found.
pub enum Happened<D: Driver> {
    Answered {
        assignment: AssignmentId,
        call: CallId,
        answer: Answer<D::Reply>,
    },
    Observed {
        assignment: AssignmentId,
        snapshot: D::Snapshot,
    },
    /// Of what the coordinators said to be standing there.
    Judged {
        standing: Standing,
        judgment: Judgment,
    },
}

pub(crate) struct Inbox<D: Driver> {
    found: Mutex<Found<D>>,
    changed: Notify,
}

struct Found<D: Driver> {
    answers: Vec<(AssignmentId, CallId, Answer<D::Reply>)>,
    snapshots: BTreeMap<(AssignmentId, String), D::Snapshot>,
    judgments: BTreeMap<InstallationId, Judged>,
}

struct Judged {
    standing: Standing,
    judgment: Judgment,
    /// The loop has it.
    taken: bool,
}

impl<D: Driver> Default for Inbox<D> {
    fn default() -> Self {
        let found = Found { answers: Vec::new(), snapshots: BTreeMap::new(), judgments: BTreeMap::new() };
        Self { found: Mutex::new(found), changed: Notify::new() }
    }
}

impl<D: Driver> Inbox<D> {
    /// Every step under the lock is one insertion or removal: a panic leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Found<D>> {
        self.found.lock()
    }

    pub(crate) fn answer(&self, assignment: AssignmentId, call: CallId, answer: Answer<D::Reply>) {
        self.lock().answers.push((assignment, call, answer));
        self.changed.notify_one();
    }

    pub(crate) fn forget_snapshots(&self, assignment: AssignmentId) {
        self.lock().snapshots.retain(|(of, _), _| *of != assignment);
    }

    pub(crate) fn forget_judgment(&self, installation: &InstallationId) {
        self.lock().judgments.remove(installation);
    }

    /// All judgments, taken or not.
    pub(crate) fn judgments(&self) -> Vec<(Standing, Judgment)> {
        let judged = |it: &Judged| (it.standing.clone(), it.judgment.clone());
        self.lock().judgments.values().map(judged).collect()
    }

    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn take(&self) -> Vec<Happened<D>> {
        let mut found = self.lock();
        let answers = std::mem::take(&mut found.answers).into_iter();
        let snapshots = std::mem::take(&mut found.snapshots).into_iter();
        let fresh = found.judgments.values_mut().filter(|it| !it.taken);
        let judged = fresh.map(|it| {
            it.taken = true;
            Happened::Judged { standing: it.standing.clone(), judgment: it.judgment.clone() }
        });
        let answered =
            answers.map(|(assignment, call, answer)| Happened::Answered { assignment, call, answer });
        let observed =
            snapshots.map(|((assignment, _), snapshot)| Happened::Observed { assignment, snapshot });
        answered.chain(observed).chain(judged).collect()
    }
}

/// Where the watch of an assignment shows what it sees.
pub(crate) struct WatchSink<D: Driver> {
    assignment: AssignmentId,
    inbox: Arc<Inbox<D>>,
}

impl<D: Driver> WatchSink<D> {
    pub(crate) fn new(assignment: AssignmentId, inbox: Arc<Inbox<D>>) -> Self {
        Self { assignment, inbox }
    }
}

impl<D: Driver> Clone for WatchSink<D> {
    fn clone(&self) -> Self {
        Self { assignment: self.assignment, inbox: self.inbox.clone() }
    }
}

impl<D: Driver<Reply: Send, Snapshot: Send> + 'static> SnapshotSink<D::Snapshot> for WatchSink<D> {
    fn show(&self, key: &str, snapshot: D::Snapshot) {
        self.inbox.lock().snapshots.insert((self.assignment, key.to_owned()), snapshot);
        self.inbox.changed.notify_one();
    }
}

/// Where the observer of an installation puts its judgments.
pub(crate) struct ObserverSink<D: Driver> {
    standing: Standing,
    /// Its observer was ended: a task that is being ended may still be in the middle of a judgment.
    ended: Arc<AtomicBool>,
    inbox: Arc<Inbox<D>>,
}

impl<D: Driver> ObserverSink<D> {
    pub(crate) fn new(standing: Standing, ended: Arc<AtomicBool>, inbox: Arc<Inbox<D>>) -> Self {
        Self { standing, ended, inbox }
    }
}

impl<D: Driver> Clone for ObserverSink<D> {
    fn clone(&self) -> Self {
        let Self { standing, ended, inbox } = self;
        Self { standing: standing.clone(), ended: ended.clone(), inbox: inbox.clone() }
    }
}

impl<D: Driver<Reply: Send, Snapshot: Send> + 'static> JudgmentSink for ObserverSink<D> {
    fn judge(&self, judgment: Judgment) {
        let mut found = self.inbox.lock();
        let installation = self.standing.installation.clone();
        // What was said already is not said again.
        let is_known = found.judgments.get(&installation).is_some_and(|it| it.judgment == judgment);
        if is_known || self.ended.load(Ordering::Acquire) {
            return;
        }
        let judged = Judged { standing: self.standing.clone(), judgment, taken: false };
        found.judgments.insert(installation, judged);
        drop(found);
        self.inbox.changed.notify_one();
    }
}
