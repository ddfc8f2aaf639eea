//! The targets of an agent at work: calls, watches, observers and queries of an executor, performed by the platforms of
//! [`trimaran_agent_core::platform`].
//!
//! Each target has a worker, which makes the target's calls in the order in which they come and waits for all of them at
//! once; each watch and each observer is a task. What they find waits in one inbox for the loop that owns the executor:
//! answers in order, of snapshots and judgments the latest of each key.
//!
//! Architecture invariants:
//! - nothing here waits for a platform: one that hangs holds its own calls until their permits end, and no other's;
//! - every call is answered, also one whose platform panics or whose target went;
//! - what the inbox holds is bounded by what was asked: one answer a call, one snapshot a key, one judgment an
//!   installation.
//!
//! Deliberately not here: how many calls a target may have at once and what waits (`Executor`), what a platform does.
#![forbid(unsafe_code)]

mod inbox;
mod observers;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use trimaran_agent_core::Permit;
use trimaran_agent_core::driver::{CallId, Driver};
use trimaran_agent_core::platform::{
    Connect, Judgment, PartSink, Platform, PlatformError, Question, Standing,
};
use trimaran_model::id::{AssignmentId, Fence, InstallationId, TargetName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::{Target, TargetPlatform};

pub use inbox::Happened;
use inbox::{Inbox, WatchSink};
use observers::Observers;
use worker::{Call, Worker};

/// The targets of one agent.
pub struct Targets<D: Driver, C: Connect<D>> {
    connect: C,
    runtime: Handle,
    workers: BTreeMap<TargetName, Connected<D>>,
    platforms: Platforms<C::Platform>,
    watches: BTreeMap<AssignmentId, Watch<D>>,
    observers: Observers,
    inbox: Arc<Inbox<D>>,
}

struct Connected<D: Driver> {
    settings: TargetPlatform,
    worker: Worker<D>,
}

struct Watch<D: Driver> {
    target: TargetName,
    query: D::Query,
    /// While its target is connected.
    task: Option<AbortHandle>,
}

impl<D, C> Targets<D, C>
where
    D: Driver<Call: Send, Reply: Send, Snapshot: Send, Query: Clone + Send> + 'static,
    C: Connect<D>,
{
    /// No targets yet. Platforms work on `runtime`.
    pub fn new(connect: C, runtime: Handle) -> Self {
        Self {
            connect,
            runtime,
            workers: BTreeMap::new(),
            platforms: Platforms::default(),
            watches: BTreeMap::new(),
            observers: Observers::default(),
            inbox: Arc::new(Inbox::default()),
        }
    }

    /// The platforms, for queries beside the loop.
    pub fn platforms(&self) -> Platforms<C::Platform> {
        self.platforms.clone()
    }

    /// Connects to targets that are new or whose platform has other settings, and lets go of those that are not among
    /// them: their calls in flight are lost.
    pub fn set_targets(&mut self, targets: Vec<Target>) {
        let wanted: BTreeMap<TargetName, Target> =
            targets.into_iter().map(|target| (target.name.clone(), target)).collect();
        let stale = |(name, known): (&TargetName, &Connected<D>)| {
            let same = wanted.get(name).is_some_and(|target| target.platform == known.settings);
            (!same).then(|| name.clone())
        };
        let gone: Vec<TargetName> = self.workers.iter().filter_map(stale).collect();
        for name in gone {
            self.workers.remove(&name);
            self.platforms.set(&name, None);
            self.stop_watches(&name);
            self.observers.stop(&name);
        }
        for (name, target) in wanted {
            if !self.workers.contains_key(&name) {
                self.connect(name, &target);
            }
        }
    }

    fn connect(&mut self, name: TargetName, target: &Target) {
        let platform = match self.connect.connect(target) {
            Some(Ok(platform)) => Ok(Arc::new(platform)),
            Some(Err(error)) => {
                tracing::error!(target = %name, %error, "the platform can't be used");
                Err(error)
            }
            None => unreachable!("the last driver of an agent takes every target"),
        };
        let worker = Worker::start(&self.runtime, platform.clone().ok());
        self.workers.insert(name.clone(), Connected { settings: target.platform.clone(), worker });
        for (assignment, watch) in self.watches.iter_mut().filter(|(_, watch)| watch.target == name) {
            watch.task = platform.as_ref().ok().map(|platform| {
                start_watch(&self.runtime, platform, *assignment, watch.query.clone(), &self.inbox)
            });
        }
        if let Ok(platform) = &platform {
            self.observers.start(&self.runtime, &name, platform, &self.inbox);
        }
        self.platforms.set(&name, Some(platform));
    }

    /// Makes a call; its answer is in the inbox when its permit ends at the latest.
    pub fn call(
        &mut self,
        assignment: AssignmentId,
        target: &TargetName,
        id: CallId,
        call: D::Call,
        permit: Permit,
    ) {
        let call = Call::new(assignment, id, call, permit, self.inbox.clone());
        // Dropped, it is answered as not made.
        if let Some(known) = self.workers.get(target) {
            known.worker.make(call);
        }
    }

    /// Watches for an assignment until [`Targets::unwatch`], also while its target is not known yet.
    pub fn watch(&mut self, assignment: AssignmentId, target: TargetName, query: D::Query) {
        self.unwatch(assignment);
        let platform = self.platforms.get(&target).and_then(Result::ok);
        let task = platform
            .map(|platform| start_watch(&self.runtime, &platform, assignment, query.clone(), &self.inbox));
        self.watches.insert(assignment, Watch { target, query, task });
    }

    pub fn unwatch(&mut self, assignment: AssignmentId) {
        if let Some(watch) = self.watches.remove(&assignment)
            && let Some(task) = watch.task
        {
            task.abort();
        }
        self.inbox.forget_snapshots(assignment);
    }

    fn stop_watches(&mut self, target: &TargetName) {
        for watch in self.watches.values_mut().filter(|watch| watch.target == *target) {
            if let Some(task) = watch.task.take() {
                task.abort();
            }
        }
    }

    /// What the coordinators know of installations: all of them when `whole`, otherwise those that changed. Each is
    /// observed from now on while nothing works on it.
    pub fn set_standing(&mut self, standing: Vec<Standing>, whole: bool) {
        for installation in self.observers.set(standing, whole) {
            self.observe(&installation);
        }
    }

    /// Work on an installation begins: its outcome is reported, not its health.
    pub fn busy(&mut self, installation: &InstallationId) {
        self.observers.busy(installation);
        self.inbox.forget_judgment(installation);
    }

    /// Nothing works on an installation any more: it is observed as soon as the coordinators say what that work left.
    pub fn quiet(&mut self, installation: &InstallationId, fence: Fence) {
        self.observers.quiet(installation, fence);
        self.observe(installation);
    }

    fn observe(&mut self, installation: &InstallationId) {
        self.inbox.forget_judgment(installation);
        let platform = self.platforms.get(&installation.target).and_then(Result::ok);
        if let Some(platform) = platform {
            self.observers.start_one(&self.runtime, installation, &platform, &self.inbox);
        }
    }

    /// The latest judgment of each installation: what a new session has to be sent.
    pub fn judgments(&self) -> Vec<(Standing, Judgment)> {
        self.inbox.judgments()
    }

    /// Comes when [`Targets::take`] has something.
    pub fn changed(&self) -> impl Future<Output = ()> + use<D, C> {
        let inbox = self.inbox.clone();
        async move { inbox.changed().await }
    }

    /// What happened since the last time: answers first, so that what a call changed is seen behind its answer.
    pub fn take(&self) -> Vec<Happened<D>> {
        self.inbox.take()
    }
}

impl<D: Driver, C: Connect<D>> Drop for Targets<D, C> {
    fn drop(&mut self) {
        for task in self.watches.values().filter_map(|watch| watch.task.as_ref()) {
            task.abort();
        }
    }
}

fn start_watch<D, P>(
    runtime: &Handle,
    platform: &Arc<P>,
    assignment: AssignmentId,
    query: D::Query,
    inbox: &Arc<Inbox<D>>,
) -> AbortHandle
where
    D: Driver<Reply: Send, Snapshot: Send, Query: Send> + 'static,
    P: Platform<D>,
{
    let (platform, sink) = (platform.clone(), WatchSink::new(assignment, inbox.clone()));
    runtime.spawn(async move { platform.watch(query, sink).await }).abort_handle()
}

/// The platforms of an agent by target, shared with whoever answers questions.
pub struct Platforms<P>(Arc<RwLock<ByTarget<P>>>);

/// Also of a target whose platform can't be used, and why.
type ByTarget<P> = BTreeMap<TargetName, Result<Arc<P>, PlatformError>>;

impl<P> Clone for Platforms<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P> Default for Platforms<P> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<P> Platforms<P> {
    fn set(&self, target: &TargetName, platform: Option<Result<Arc<P>, PlatformError>>) {
        let mut all = self.0.write();
        match platform {
            Some(platform) => drop(all.insert(target.clone(), platform)),
            None => drop(all.remove(target)),
        }
    }

    fn get(&self, target: &TargetName) -> Option<Result<Arc<P>, PlatformError>> {
        self.0.read().get(target).cloned()
    }

    /// Asks the platform of a target.
    ///
    /// # Errors
    /// When the agent does not serve the target, can't use its platform, or the platform does not answer.
    pub async fn query<D: Driver>(
        &self,
        target: &TargetName,
        question: Question,
        answer: impl PartSink,
    ) -> Result<(), PlatformError>
    where
        P: Platform<D>,
    {
        let unknown = || PlatformError {
            code: ReasonCode::OrderRefused,
            message: format!("this agent does not serve target `{target}`"),
        };
        self.get(target).ok_or_else(unknown)??.query(question, answer).await
    }
}
