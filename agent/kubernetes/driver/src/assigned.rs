//! The driver as an agent runs it: its orders are assignments of the coordinators.
//!
//! An assignment names its release; the objects of it are loaded first, from wherever the platform keeps them. Until they
//! are there nothing is looked at and nothing is changed, and a later order takes over at once.

use std::sync::Arc;

use trimaran_agent_core::driver::{
    CallId, Driver, Effect, EffectOf, Found, FoundOf, Guard, Input, Journaled,
};
use trimaran_model::action::{Action, Failure, Outcome, Progress};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{KubernetesRelease, ReleaseWorkload};
use trimaran_model::target::PlatformKind;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::Fault;
use trimaran_wire::codec::CodecError;

use crate::decide::failure;
use crate::driver::{self, KubernetesDriver};
use crate::order::{Goal, Order, Release};
use crate::phase::{Kept, Phase};
use crate::platform::{Call, Observation, Query, Reply};
use crate::saved;

/// How long a rollout may make no progress: what Deployments have by default.
const PROGRESS_DEADLINE: Millis = Millis::minutes(10);
/// A release has at most some megabytes, and may come from the coordinators.
const LOAD_DEADLINE: Millis = Millis::seconds(60);
const LOAD_RETRY: Millis = Millis::seconds(2);
/// Numbers of calls begin behind it.
const LOAD_CALL: CallId = CallId(0);

/// Deploys of installations on Kubernetes, ordered by coordinators.
#[derive(Debug, Clone, Copy, Default)]
pub struct Assigned;

/// What is asked of the platform.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// The objects of a release. Answer: `Answered::Loaded`.
    Load {
        digest: Digest,
        release: Box<KubernetesRelease>,
    },
    Cluster(Call),
}

#[derive(Debug, Clone)]
pub enum Answered {
    Loaded(Loaded),
    Cluster(Reply),
}

/// What became of a release that was to be loaded.
#[derive(Debug, Clone)]
pub enum Loaded {
    Release(Arc<Release>),
    /// It can't be had now.
    Unavailable {
        message: String,
    },
    /// It is none that can be applied.
    Invalid {
        message: String,
    },
}

#[derive(Debug, Clone)]
pub enum AssignedPhase {
    Loading(Loading),
    Working(Phase),
    /// The order was ended where it began.
    Ended(Ended),
}

/// What is remembered while the release is not there.
#[derive(Debug, Clone)]
pub struct Loading {
    goal: GoalKind,
    order: Box<Assignment>,
    kept: Kept,
    since: Timestamp,
    lease: bool,
    is_asking: bool,
    retry_at: Option<Timestamp>,
    obstacle: Option<String>,
}

/// What an order that did nothing leaves to the next one.
#[derive(Debug, Clone)]
pub struct Ended(Kept);

/// A goal without its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoalKind {
    Release,
    Restore,
    Restart,
    Scale(u32),
}

impl GoalKind {
    fn with(self, release: Arc<Release>) -> Goal {
        match self {
            Self::Release => Goal::Release(release),
            Self::Restore => Goal::Restore(release),
            Self::Restart => Goal::Restart(release),
            Self::Scale(replicas) => Goal::Scale(release, replicas),
        }
    }
}

type Effects = Vec<EffectOf<Assigned>>;

impl Driver for Assigned {
    type Order = Assignment;
    type Phase = AssignedPhase;
    type Call = Ask;
    type Reply = Answered;
    type Snapshot = Observation;
    type Query = Query;
    type Progress = Progress;

    fn begin(
        &self,
        now: Timestamp,
        order: &Assignment,
        found: Option<FoundOf<Self>>,
        out: &mut Effects,
    ) -> AssignedPhase {
        let kept = match found {
            Some(Found::Resumed(phase)) => phase.into_kept(),
            Some(Found::Superseded { order, phase }) => {
                let forward = match order.action {
                    Action::Release(release) => Some(release),
                    _ => None,
                };
                Kept::new(phase.into_kept().inventory(forward))
            }
            None => Kept::new(driver::committed(order.committed.as_ref())),
        };
        let goal = match order.action {
            Action::Release(_) => GoalKind::Release,
            Action::Restore(_) => GoalKind::Restore,
            Action::Stop(digest) => return work(now, order, Goal::Stop(digest), kept, out),
            Action::Restart(_) => GoalKind::Restart,
            Action::Scale { instances, .. } => GoalKind::Scale(instances),
            Action::Verify => {
                let message = "this agent can't do that with objects of Kubernetes".to_owned();
                return end(failure(ReasonCode::UnsupportedWorkload, message), kept, out);
            }
        };
        let mut loading = Loading {
            goal,
            order: Box::new(order.clone()),
            kept,
            since: now,
            lease: false,
            is_asking: false,
            retry_at: None,
            obstacle: None,
        };
        if !loading.ask(out) {
            let message = "the order holds no release of objects".to_owned();
            return end(failure(ReasonCode::OrderRefused, message), loading.kept, out);
        }
        AssignedPhase::Loading(loading)
    }

    fn step(
        &self,
        phase: &mut AssignedPhase,
        now: Timestamp,
        input: Input<Answered, Observation>,
        out: &mut Effects,
    ) {
        match phase {
            AssignedPhase::Loading(loading) => {
                if let Some(next) = loading.step(now, input, out) {
                    *phase = next;
                }
            }
            AssignedPhase::Working(working) => {
                let Some(input) = of_cluster(input) else { return };
                let mut effects = Vec::new();
                KubernetesDriver.step(working, now, input, &mut effects);
                pass_on(effects, out);
            }
            AssignedPhase::Ended(_) => {}
        }
    }

    fn accepts(&self, order: &Assignment) -> bool {
        order.platform == PlatformKind::Kubernetes
    }
}

impl Journaled for Assigned {
    fn save(&self, phase: &AssignedPhase) -> Vec<u8> {
        saved::save(&phase.clone().into_kept())
    }

    fn load(&self, _: &Assignment, bytes: &[u8]) -> Result<AssignedPhase, CodecError> {
        Ok(AssignedPhase::Ended(Ended(saved::load(bytes)?)))
    }
}

impl AssignedPhase {
    fn into_kept(self) -> Kept {
        match self {
            Self::Loading(loading) => loading.kept,
            Self::Working(phase) => phase.into_kept(),
            Self::Ended(Ended(kept)) => kept,
        }
    }

    /// Whether the phase names what a call changes, so that whoever finds it looks there.
    pub fn covers(&self, ask: &Ask) -> bool {
        match (self, ask) {
            (_, Ask::Load { .. }) => true,
            (Self::Working(phase), Ask::Cluster(call)) => phase.covers(call),
            (Self::Loading(_), Ask::Cluster(_)) => false,
            // As it was read back from its bytes.
            (Self::Ended(Ended(kept)), Ask::Cluster(call)) => kept.covers(call),
        }
    }
}

impl Loading {
    /// Asks for the release; false when the order has none.
    fn ask(&mut self, out: &mut Effects) -> bool {
        let Some(digest) = self.order.action.release() else { return false };
        let workload = self.order.release.as_ref().map(|release| &release.workload);
        let Some(ReleaseWorkload::Kubernetes(release)) = workload else { return false };
        self.is_asking = true;
        self.retry_at = None;
        let call = Ask::Load { digest, release: Box::new(release.clone()) };
        out.push(Effect::Call { id: LOAD_CALL, call, deadline: LOAD_DEADLINE, guard: Guard::Read });
        true
    }

    fn step(
        &mut self,
        now: Timestamp,
        input: Input<Answered, Observation>,
        out: &mut Effects,
    ) -> Option<AssignedPhase> {
        match input {
            Input::Reply(_, Answered::Loaded(Loaded::Release(release))) => {
                let goal = self.goal.with(release);
                let (order, kept) = (self.order.clone(), self.kept.clone());
                let mut phase = work(now, &order, goal, kept, out);
                if self.lease {
                    Assigned.step(&mut phase, now, Input::LeaseBack, out);
                }
                return Some(phase);
            }
            Input::Reply(_, Answered::Loaded(Loaded::Invalid { message })) => {
                let why = failure(ReasonCode::ObjectRefused, message);
                return Some(end(why, self.kept.clone(), out));
            }
            Input::Reply(_, Answered::Loaded(Loaded::Unavailable { message })) => {
                self.is_asking = false;
                return self.later(now, message, out);
            }
            Input::Reply(_, Answered::Cluster(_)) => unreachable!("nothing else was asked for yet"),
            Input::Lost(_) | Input::Unmade(_) => {
                self.is_asking = false;
                return self.later(now, "the release was not loaded in time".to_owned(), out);
            }
            Input::Due if !self.is_asking && self.retry_at.is_some_and(|at| at <= now) => {
                self.ask(out);
            }
            Input::Abort(_) => {
                out.push(Effect::Done(Outcome::Stopped));
                return Some(AssignedPhase::Ended(Ended(self.kept.clone())));
            }
            Input::LeaseLost => self.lease = false,
            Input::LeaseBack => self.lease = true,
            Input::Due | Input::Observed(_) | Input::Committed(_) => {}
        }
        None
    }

    fn later(&mut self, now: Timestamp, message: String, out: &mut Effects) -> Option<AssignedPhase> {
        let why = failure(ReasonCode::FetchUnreachable, message);
        if now >= self.since + PROGRESS_DEADLINE {
            return Some(end(why, self.kept.clone(), out));
        }
        if self.obstacle.as_ref() != Some(&why.message) {
            self.obstacle = Some(why.message.clone());
            out.push(Effect::Report(Progress { failure: Some(why), ..Progress::default() }));
        }
        self.retry_at = Some(now + LOAD_RETRY);
        out.push(Effect::WakeAt(now + LOAD_RETRY));
        None
    }
}

/// Begins the work with everything that it needs.
fn work(now: Timestamp, order: &Assignment, goal: Goal, kept: Kept, out: &mut Effects) -> AssignedPhase {
    let order = Order {
        installation: order.installation.clone(),
        assignment: order.id,
        fence: order.fence,
        goal,
        progress_deadline: PROGRESS_DEADLINE,
        retained: order.retained.clone(),
        keep_serving: order.wave.keep_serving,
        committed: order.committed.clone(),
    };
    let mut effects = Vec::new();
    let phase = driver::begin(now, &order, kept, &mut effects);
    pass_on(effects, out);
    AssignedPhase::Working(phase)
}

fn end(why: Failure, kept: Kept, out: &mut Effects) -> AssignedPhase {
    let is_release = why.code.fault() == Some(Fault::Release);
    out.push(Effect::Done(if is_release { Outcome::Failed(why) } else { Outcome::Fault(why) }));
    AssignedPhase::Ended(Ended(kept))
}

fn pass_on(effects: crate::effects::Effects, out: &mut Effects) {
    out.extend(effects.into_iter().map(|effect| effect.map(Ask::Cluster, |query| query)));
}

/// An input for the work itself; an answer that comes behind the load's is of no use to it.
fn of_cluster(input: Input<Answered, Observation>) -> Option<Input<Reply, Observation>> {
    Some(match input {
        Input::Reply(id, Answered::Cluster(reply)) => Input::Reply(id, reply),
        Input::Reply(_, Answered::Loaded(_)) => return None,
        Input::Observed(observation) => Input::Observed(observation),
        Input::Lost(id) => Input::Lost(id),
        Input::Unmade(id) => Input::Unmade(id),
        Input::Due => Input::Due,
        Input::Abort(reason) => Input::Abort(reason),
        Input::LeaseLost => Input::LeaseLost,
        Input::LeaseBack => Input::LeaseBack,
        Input::Committed(n) => Input::Committed(n),
    })
}
