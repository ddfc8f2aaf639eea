//! The state of one assignment: what is kept over a crash, and what the hosts say again after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use trimaran_agent_core::driver::{CallId, Effect, EffectOf, Guard, Input};
use trimaran_model::action::{Action, Failure, Progress};
use trimaran_model::assignment::{Assignment, HostAction, HostGoal, HostOrder};
use trimaran_model::id::{Digest, HostName, ServiceName};
use trimaran_model::limits::UNGUARDED_CALL;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::host_index::{HostIndex, Turn};
use super::host_state::{Desired, HostProgress, HostRecord, is_fault, of_present_host};
use super::journal::Kept;
use super::{Effects, Fleet, GoalAck, HostObservation, OrderKind, SendGoal, Sent, Watched};

/// With each host that is kept as ordered, one more for so many that are kept already.
const KEPT_AHEAD_SHARE: usize = 32;

/// The state of one assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    pub(crate) assignment: Assignment,
    pub(crate) kept: Kept,
    pub(crate) hosts: BTreeMap<HostName, HostRecord>,
    pub(crate) index: HostIndex,
    pub(crate) lease: bool,
    /// Failures were committed and are not yet known to be in the log.
    pub(crate) committing: bool,
    /// Since when nothing can be started although something has to.
    pub(crate) stuck_since: Option<Timestamp>,
    pub(crate) reported: Option<Progress>,
    /// When progress was last made, and whether something happened since.
    pub(crate) reported_at: Option<Timestamp>,
    pub(crate) is_unreported: bool,
    /// What hosts are ordered, made once for all of them: of bytes, and to execute.
    goals: [Option<Arc<HostGoal>>; 2],
    pub(crate) wake: Option<Timestamp>,
    pub(crate) ended: bool,
    pub(crate) calls: u64,
}

impl Phase {
    pub(crate) fn new(assignment: Assignment) -> Self {
        Self {
            assignment,
            kept: Kept::default(),
            hosts: BTreeMap::new(),
            index: HostIndex::default(),
            lease: false,
            committing: false,
            stuck_since: None,
            reported: None,
            reported_at: None,
            is_unreported: true,
            goals: [None, None],
            wake: None,
            ended: false,
            calls: 0,
        }
    }

    /// Continues from what was kept.
    pub(crate) fn resumed(assignment: Assignment, kept: Kept) -> Self {
        Self { kept, ..Self::new(assignment) }
    }

    /// Starts, or continues after a crash: asks the hosts before anything else.
    pub(crate) fn begin(&mut self, now: Timestamp, out: &mut Effects) {
        self.index = HostIndex::new(&self.assignment, &self.kept);
        for host in self.assignment.hosts.clone() {
            let mut record = HostRecord::new(now);
            if self.kept.ordered.contains(&host) {
                record.execute = Sent::Uncertain;
            }
            self.hosts.insert(host.clone(), record);
            self.refresh(&host);
        }
        out.push(Effect::Persist);
        let Assignment { installation, hosts, .. } = &self.assignment;
        out.push(Effect::Watch(Watched { installation: installation.clone(), hosts: hosts.clone() }));
        if let Some(failure) = self.impossible() {
            self.kept.fault.get_or_insert(failure);
        }
        if !self.kept.failures.is_empty() && !self.is_over_budget() {
            // It may not be in the log yet.
            self.committing = true;
            out.push(self.commit());
        }
        self.schedule(now, out);
    }

    /// What no waiting resolves.
    fn impossible(&self) -> Option<Failure> {
        let (code, message) = if self.assignment.hosts.is_empty() {
            let target = &self.assignment.installation.target;
            (ReasonCode::NoHosts, format!("target `{target}` has no hosts"))
        } else if self.digest().is_some() && self.assignment.release.is_none() {
            (ReasonCode::HostInternal, "the order came without the content of its release".to_owned())
        } else if let Action::Scale { .. } = self.assignment.action {
            let target = &self.assignment.installation.target;
            let message = format!(
                "target `{target}` has as many instances as it has hosts, so it can't be scaled by an order; add or remove hosts"
            );
            (ReasonCode::OrderRefused, message)
        } else {
            return None;
        };
        Some(Failure { code, message, instance: None })
    }

    pub(crate) fn step(&mut self, now: Timestamp, input: Input<GoalAck, HostObservation>, out: &mut Effects) {
        if self.ended {
            return;
        }
        match input {
            Input::Observed(observation) => self.observe(now, observation, out),
            Input::Reply(call, GoalAck::Accepted) => self.answered(call, Sent::Accepted),
            Input::Reply(call, GoalAck::Refused(failure)) => self.refused(call, failure, out),
            Input::Lost(call) => self.answered(call, Sent::Uncertain),
            Input::Unmade(call) => self.answered(call, Sent::No),
            Input::Due => self.wake = None,
            Input::Abort(code) => {
                // A later order is more urgent than a cancel.
                if self.kept.abort.is_none() || code == ReasonCode::Fenced {
                    self.kept.abort = Some(code);
                    out.push(Effect::Persist);
                }
            }
            Input::LeaseLost => self.lease = false,
            Input::LeaseBack => self.lease = true,
            Input::Committed(n) => self.committing &= n < self.kept.commits,
        }
        self.schedule(now, out);
    }

    /// Takes what a host says, and the failure or fault that it shows.
    fn observe(&mut self, now: Timestamp, observation: HostObservation, out: &mut Effects) {
        let (host, fence) = (observation.host.clone(), self.assignment.fence);
        let Some(record) = self.hosts.get_mut(&host) else { return };
        let before = record.calls();
        record.observe(now, observation, fence);
        // Calls of a session that is over have no answer any more.
        for call in before.filter(|call| !record.calls().any(|it| it == *call)) {
            self.index.calls.remove(&call);
        }
        let desired = Desired::of(&self.assignment);
        let progress = record.progress(&host, desired);
        record.was_done |= progress == HostProgress::Done;
        self.is_unreported = true;
        let in_flight =
            record.failure_in_flight(&host, desired).filter(|_| progress == HostProgress::InFlight);
        let failed_before = std::mem::replace(&mut record.fails, in_flight.is_some());
        self.refresh(&host);
        let failure = match progress {
            HostProgress::Bad(failure) if failed_before => return self.amend(&host, failure, out),
            HostProgress::Bad(failure) => Some(failure),
            HostProgress::InFlight => in_flight,
            HostProgress::Done | HostProgress::Open | HostProgress::Unprepared(_) => None,
            HostProgress::Absent | HostProgress::Elsewhere => None,
        };
        if let Some(failure) = failure
            && !self.has_failed(&host)
            && !self.is_left_behind(&host)
        {
            self.judge(failure, out);
        }
    }

    /// A host that reverted says how that ended, as by a service that is down now.
    fn amend(&mut self, host: &HostName, failure: Failure, out: &mut Effects) {
        let Some(place) = self.index.charges.failure(host) else { return };
        let kept = &mut self.kept.failures[place];
        if *kept != failure {
            *kept = failure;
            self.keep_failures(out);
        }
    }

    /// The answer of a call, for whichever order it carried.
    fn answered(&mut self, call: CallId, sent: Sent) {
        let Some(host) = self.index.calls.remove(&call) else { return };
        let record = self.hosts.get_mut(&host).expect("its calls are of a host of the assignment");
        for order in [&mut record.prepare, &mut record.execute] {
            if *order == Sent::Calling(call) {
                *order = sent;
            }
        }
        self.is_unreported = true;
        self.refresh(&host);
    }

    /// What can't be prepared counts once the host is next; an order to execute that is refused counts at once.
    fn refused(&mut self, call: CallId, failure: Failure, out: &mut Effects) {
        let host = self.index.calls.get(&call);
        // Whatever it says of others, it answers for itself.
        let instance = host.map(Into::into).or(failure.instance);
        let failure = Failure { code: of_present_host(failure.code), message: failure.message, instance };
        let record = host.and_then(|host| self.hosts.get_mut(host));
        match record.filter(|record| record.prepare == Sent::Calling(call)) {
            Some(record) => record.refused = Some(failure),
            None => self.judge(failure, out),
        }
        self.answered(call, Sent::No);
    }

    pub(crate) fn desired(&self) -> Desired<'_> {
        Desired::of(&self.assignment)
    }

    /// The release that the job brings or brings back.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self.assignment.action {
            Action::Release(digest) | Action::Restore(digest) => Some(digest),
            Action::Verify | Action::Stop(_) | Action::Scale { .. } | Action::Restart(_) => None,
        }
    }

    /// More hosts failed than the wave survives.
    pub(crate) fn is_over_budget(&self) -> bool {
        self.index.charges.new_failures > self.assignment.wave.failures_left
    }

    /// A failure ends the assignment or costs budget; a fault leaves its host behind, or ends it as a pause. Each is kept
    /// first.
    pub(crate) fn judge(&mut self, failure: Failure, out: &mut Effects) {
        if is_fault(&failure) {
            return self.leave_behind(failure, out);
        }
        let host = failure.host();
        if host.as_ref().is_some_and(|host| self.has_failed(host)) {
            return;
        }
        self.index.charges.add_failure(&failure, self.kept.failures.len());
        self.kept.failures.push(failure);
        if let Some(host) = host {
            self.refresh(&host);
        }
        self.keep_failures(out);
    }

    /// Failures that are others now are kept, and committed where the result does not follow at once.
    fn keep_failures(&mut self, out: &mut Effects) {
        self.is_unreported = true;
        let commits = !self.is_over_budget();
        self.kept.commits += u32::from(commits);
        out.push(Effect::Persist);
        if commits {
            self.committing = true;
            out.push(self.commit());
        }
    }

    /// The failures so far: what a replaced agent must not forget.
    fn commit(&self) -> EffectOf<Fleet> {
        Effect::Commit { n: self.kept.commits, body: self.kept.committed_bytes(), progress: self.progress() }
    }

    /// Whether an order of this phase has no answer yet.
    pub(crate) fn has_calls(&self) -> bool {
        !self.index.calls.is_empty()
    }

    /// Orders a host; the answer comes with the call's number.
    pub(crate) fn order(&mut self, host: &HostName, kind: OrderKind, out: &mut Effects) {
        let Some(goal) = self.goal(kind) else { return };
        let Some(record) = self.hosts.get_mut(host) else { return };
        self.calls += 1;
        let id = CallId(self.calls);
        // A host refuses a lower fence and takes an equal one once, so bytes may be prepared at any time. It
        // can't know how many other hosts are down: acting needs the lease.
        let (order, guard) = match kind {
            OrderKind::Prepare => (&mut record.prepare, Guard::CompareAndSet),
            OrderKind::Execute => (&mut record.execute, Guard::Unguarded),
        };
        let earlier = std::mem::replace(order, Sent::Calling(id));
        if let Some(earlier) = earlier.call() {
            self.index.calls.remove(&earlier);
        }
        self.index.calls.insert(id, host.clone());
        self.is_unreported = true;
        self.refresh(host);
        let call = SendGoal { host: host.clone(), goal };
        out.push(Effect::Call { id, call, deadline: UNGUARDED_CALL, guard });
    }

    /// A host is kept as ordered before it is. In a large wave some of those that are next are kept with it: each write holds
    /// all of them, so their bytes grow with the fleet and not with its square. One that was not ordered after all says so
    /// itself when it is asked after a crash.
    pub(super) fn keep_ordered(&mut self, host: &HostName, wave: Turn, out: &mut Effects) {
        if self.kept.ordered.contains(host) {
            return;
        }
        let ahead = self.kept.ordered.len() / KEPT_AHEAD_SHARE;
        self.kept.ordered.insert(host.clone());
        let HostIndex { ready, preparing, without_bytes, .. } = &self.index;
        let next = [ready, preparing, without_bytes].into_iter().flat_map(|turns| turns.range(..wave));
        let next =
            next.map(|turn| self.index.host_of(*turn)).filter(|host| !self.kept.ordered.contains(*host));
        let next: Vec<HostName> = next.take(ahead).cloned().collect();
        self.kept.ordered.extend(next);
        out.push(Effect::Persist);
    }

    /// What a host is ordered, which is the same for all of them.
    fn goal(&mut self, kind: OrderKind) -> Option<Arc<HostGoal>> {
        if let Some(goal) = &self.goals[kind as usize] {
            return Some(goal.clone());
        }
        let action = self.action(kind)?;
        let assignment = &self.assignment;
        let goal = Arc::new(HostGoal {
            installation: assignment.installation.clone(),
            service: ServiceName::from(&assignment.installation.pipeline),
            assignment: assignment.id,
            fence: assignment.fence,
            run: assignment.run.clone(),
            attempt: assignment.attempt,
            action,
            retained: assignment.retained.clone(),
        });
        self.goals[kind as usize] = Some(goal.clone());
        Some(goal)
    }

    fn action(&self, kind: OrderKind) -> Option<HostAction> {
        let order = |digest: Digest| {
            let release = self.assignment.release.clone()?;
            Some(HostOrder { digest, release })
        };
        Some(match (&self.assignment.action, kind) {
            (Action::Release(digest), OrderKind::Prepare) => HostAction::Prepare(order(*digest)?),
            (Action::Release(digest), OrderKind::Execute) => HostAction::Apply(order(*digest)?),
            (Action::Restore(digest), OrderKind::Execute) => HostAction::Restore(order(*digest)?),
            (Action::Stop(digest), OrderKind::Execute) => HostAction::Stop { only: *digest },
            (Action::Verify, OrderKind::Execute) => HostAction::Verify,
            (Action::Restart(_), OrderKind::Execute) => HostAction::Restart,
            (Action::Restore(_) | Action::Stop(_) | Action::Verify, OrderKind::Prepare) => return None,
            (Action::Restart(_), OrderKind::Prepare) => return None,
            // The phase has ended by its fault.
            (Action::Scale { .. }, _) => return None,
        })
    }
}
