//! Plays orders of the driver on a real cluster: its calls become requests, its watch becomes looks at what is there.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_agent_core::driver::{Driver as _, Effect, Found, Input, Journaled as _};
use trimaran_kubernetes_core::config::{Options, References, render};
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_driver::{
    Call, Goal, KubernetesDriver, Moment, Observation, Observer, OnConflict, Order, Phase, Query, Release,
};
use trimaran_model::action::{Commit, Outcome, Progress};
use trimaran_model::id::{AssignmentId, Digest, Fence, InstallationId, PipelineName, TargetName};
use trimaran_model::time::{Millis, Timestamp, WallTime};
use trimaran_test_support::wait::until;

use crate::api::Api;

/// One installation in one namespace, with what the coordinators would know of it.
pub(crate) struct Installation<'a> {
    api: &'a Api,
    namespace: String,
    committed: Option<Commit>,
    orders: u64,
    began: Instant,
    /// Of a prod target: a stop does not end what serves.
    pub(crate) keep_serving: bool,
}

/// How an order ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) calls: u64,
}

/// An order that is being played.
struct Play<'a, 'b> {
    installation: &'a mut Installation<'b>,
    order: Order,
    phase: Phase,
    effects: VecDeque<Effect<Call, Query, Progress>>,
    observer: Option<Observer>,
    seen: Option<Observation>,
    wake: Option<Timestamp>,
    /// Bytes of the last phase that was made durable.
    durable: Option<Vec<u8>>,
    calls: u64,
    /// The process dies when this call has had its effect, before its answer.
    crash_after: Option<u64>,
}

impl<'a> Installation<'a> {
    pub(crate) fn new(api: &'a Api, namespace: String) -> Self {
        Self { api, namespace, committed: None, orders: 0, began: Instant::now(), keep_serving: false }
    }

    /// A release of these objects, rendered as a coordinator does it.
    pub(crate) fn release(&self, number: u8, objects: Vec<Value>, stability: Millis) -> Arc<Release> {
        let options = Options { namespace: Some(&self.namespace), references: References::builtin() };
        let mut objects = render(objects, options).objects;
        for object in &mut objects {
            object["metadata"]["namespace"] = self.namespace.clone().into();
        }
        let release = Release::new(Digest([number; 32]), objects, stability, OnConflict::Refuse);
        Arc::new(release.expect("the objects of a test are a release"))
    }

    pub(crate) fn perform(&mut self, goal: Goal) -> Ended {
        self.perform_with(goal, None)
    }

    /// As [`Installation::perform`] by an agent that dies after a call and is started again on the same directory.
    pub(crate) fn perform_with(&mut self, goal: Goal, crash_after: Option<u64>) -> Ended {
        self.orders += 1;
        let order = Order {
            installation: InstallationId {
                pipeline: PipelineName::new("web").expect("a name"),
                target: TargetName::new("real").expect("a name"),
            },
            assignment: AssignmentId(self.orders),
            fence: Fence(self.orders),
            goal,
            progress_deadline: Millis::seconds(120),
            retained: BTreeSet::new(),
            keep_serving: self.keep_serving,
            committed: self.committed.clone(),
        };
        let mut play = Play::begin(self, order, None, 0);
        play.crash_after = crash_after;
        let outcome = until("the order ends", Duration::from_secs(180), || play.advance());
        Ended { outcome, calls: play.calls }
    }
}

impl<'a, 'b> Play<'a, 'b> {
    fn begin(installation: &'a mut Installation<'b>, order: Order, found: Option<Phase>, calls: u64) -> Self {
        let mut effects = Vec::new();
        let now = now(installation);
        let found = found.map(Found::Resumed);
        let mut phase = KubernetesDriver.begin(now, &order, found, &mut effects);
        KubernetesDriver.step(&mut phase, now, Input::LeaseBack, &mut effects);
        Self {
            installation,
            order,
            phase,
            effects: effects.into(),
            observer: None,
            seen: None,
            wake: None,
            durable: None,
            calls,
            crash_after: None,
        }
    }

    fn feed(&mut self, input: Input<trimaran_kubernetes_driver::Reply, Observation>) {
        let mut effects = Vec::new();
        KubernetesDriver.step(&mut self.phase, now(self.installation), input, &mut effects);
        self.effects.extend(effects);
    }

    /// Performs what is asked for, then looks once; the outcome when there is one.
    fn advance(&mut self) -> Option<Outcome> {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Persist => self.durable = Some(KubernetesDriver.save(&self.phase)),
                Effect::Call { id, call, .. } => {
                    let reply = self.installation.api.call(call);
                    self.calls += 1;
                    if self.crash_after == Some(self.calls) {
                        self.crash();
                        return None;
                    }
                    self.feed(Input::Reply(id, reply));
                }
                Effect::Watch(query) => {
                    self.observer = Some(Observer { query, rules: RuleSet::builtin() });
                }
                Effect::Report(_) => {}
                Effect::Commit { n, body, .. } => {
                    let assignment = self.order.assignment;
                    self.installation.committed = Some(Commit { assignment, n, body });
                    self.feed(Input::Committed(n));
                }
                Effect::WakeAt(at) => self.wake = Some(at),
                Effect::Done(outcome) => return Some(outcome),
            }
        }
        if self.wake.is_some_and(|at| at <= now(self.installation)) {
            self.wake = None;
            self.feed(Input::Due);
        }
        if let Some(observer) = &self.observer {
            let documents = self.installation.api.evidence(&self.installation.namespace);
            let wall = WallTime(jiff::Timestamp::now().as_millisecond());
            let moment = Moment { now: now(self.installation), wall, since: None };
            let seen = observer.observe(&documents.iter().collect::<Vec<_>>(), moment);
            if self.seen.as_ref() != Some(&seen) {
                self.seen = Some(seen.clone());
                self.feed(Input::Observed(seen));
            }
        }
        None
    }

    /// What is left of the agent is its directory and what it committed.
    fn crash(&mut self) {
        let found = self
            .durable
            .as_ref()
            .map(|bytes| KubernetesDriver.load(&self.order, bytes).expect("it was saved by the same driver"));
        self.order.committed.clone_from(&self.installation.committed);
        let again = Play::begin(self.installation, self.order.clone(), found, self.calls);
        let (phase, effects) = (again.phase, again.effects);
        (self.phase, self.effects) = (phase, effects);
        (self.observer, self.seen, self.wake, self.crash_after) = (None, None, None, None);
    }
}

fn now(installation: &Installation<'_>) -> Timestamp {
    Timestamp(
        u64::try_from(installation.began.elapsed().as_millis()).expect("a test does not take that long"),
    )
}
