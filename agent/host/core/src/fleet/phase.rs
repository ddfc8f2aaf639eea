//! The state of one assignment: what is kept over a crash, and what the hosts say again after it.

use std::collections::BTreeMap;

use trimaran_agent_core::driver::{CallId, Effect, EffectOf, Guard, Input};
use trimaran_model::action::{Action, Failure, Progress};
use trimaran_model::assignment::{Assignment, HostAction, HostGoal, HostOrder};
use trimaran_model::id::{Digest, HostName, ServiceName};
use trimaran_model::limits::UNGUARDED_CALL;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::host_state::{Desired, HostProgress, HostRecord, is_fault, is_silence};
use super::journal::Kept;
use super::{Effects, Fleet, GoalAck, HostObservation, OrderKind, SendGoal, Sent, Watched};

/// The state of one assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    pub(crate) assignment: Assignment,
    pub(crate) kept: Kept,
    pub(crate) hosts: BTreeMap<HostName, HostRecord>,
    pub(crate) lease: bool,
    /// Failures were reported and are not yet known to be in the log.
    pub(crate) committing: bool,
    /// Since when nothing can be started although something has to.
    pub(crate) stuck_since: Option<Timestamp>,
    pub(crate) reported: Option<Progress>,
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
            lease: false,
            committing: false,
            stuck_since: None,
            reported: None,
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
        for host in &self.assignment.hosts {
            let mut record = HostRecord::new(now);
            if self.kept.ordered.contains(host) {
                record.execute = Sent::Uncertain;
            }
            self.hosts.insert(host.clone(), record);
        }
        out.push(Effect::Persist);
        let Assignment { installation, hosts, .. } = &self.assignment;
        out.push(Effect::Watch(Watched { installation: installation.clone(), hosts: hosts.clone() }));
        if let Some(failure) = self.impossible() {
            self.kept.fault.get_or_insert(failure);
        }
        if !self.kept.failures.is_empty() && !self.is_over_budget() {
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
            Input::Observed(observation) => {
                let fence = self.assignment.fence;
                if let Some(record) = self.hosts.get_mut(&observation.host) {
                    record.observe(now, observation, fence);
                }
            }
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
            Input::Committed(n) => self.committing &= (n as usize) < self.kept.failures.len(),
        }
        self.detect_failures(out);
        self.schedule(now, out);
    }

    /// The answer of a call, for whichever order it carried.
    fn answered(&mut self, call: CallId, sent: Sent) {
        for record in self.hosts.values_mut() {
            for order in [&mut record.prepare, &mut record.execute] {
                if *order == Sent::Calling(call) {
                    *order = sent;
                }
            }
        }
    }

    /// What can't be prepared counts once the host is next; an order to execute that is refused counts at once.
    fn refused(&mut self, call: CallId, failure: Failure, out: &mut Effects) {
        let preparing = self.hosts.values_mut().find(|record| record.prepare == Sent::Calling(call));
        match preparing {
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

    /// Failed before this assignment or in it.
    pub(crate) fn has_failed(&self, host: &HostName) -> bool {
        self.assignment.wave.failed.contains(host) || self.failure_of(host).is_some()
    }

    pub(crate) fn failure_of(&self, host: &HostName) -> Option<&Failure> {
        self.kept.failures.iter().find(|failure| failure.is_of(host))
    }

    /// More hosts failed than the wave survives.
    pub(crate) fn is_over_budget(&self) -> bool {
        // What a coordinator charged meanwhile is in `wave.failed`, and no more in `failures_left`.
        let wave = &self.assignment.wave;
        let failed = self.kept.failures.iter().filter_map(|failure| failure.instance.as_ref());
        failed.filter(|name| !wave.failed.iter().any(|host| *name == host)).count()
            > wave.failures_left as usize
    }

    /// Takes new failures and faults that the hosts' words show.
    fn detect_failures(&mut self, out: &mut Effects) {
        let mut found = Vec::new();
        let desired = Desired::of(&self.assignment);
        let failed = |host: &HostName| {
            self.assignment.wave.failed.contains(host)
                || self.kept.failures.iter().any(|failure| failure.is_of(host))
        };
        let left = |host: &HostName, connected: bool| {
            let fault = self.kept.lost.iter().find(|it| it.host().as_ref() == Some(host));
            fault.is_some_and(|fault| !is_silence(fault.code) || !connected)
        };
        for (host, record) in &mut self.hosts {
            match record.progress(host, desired) {
                HostProgress::Bad(failure) if !failed(host) && !left(host, record.connected) => {
                    found.push(failure)
                }
                HostProgress::Done => record.was_done = true,
                HostProgress::Bad(_) | HostProgress::InFlight => {}
                HostProgress::Open | HostProgress::Unprepared(_) => {}
                HostProgress::Absent | HostProgress::Elsewhere => {}
            }
        }
        for failure in found {
            self.judge(failure, out);
        }
    }

    /// A failure ends the assignment or costs budget; a fault leaves its host behind, or ends it as a pause. Each is kept
    /// first.
    pub(crate) fn judge(&mut self, failure: Failure, out: &mut Effects) {
        if is_fault(&failure) {
            return self.leave_behind(failure, out);
        }
        if failure.host().is_some_and(|host| self.has_failed(&host)) {
            return;
        }
        self.kept.failures.push(failure);
        out.push(Effect::Persist);
        if !self.is_over_budget() {
            self.committing = true;
            out.push(self.commit());
        }
    }

    /// The failures so far, numbered by their count: what a replaced agent must not forget.
    fn commit(&self) -> EffectOf<Fleet> {
        let n = u32::try_from(self.kept.failures.len()).unwrap_or(u32::MAX);
        Effect::Commit { n, body: self.kept.committed_bytes(), progress: self.progress() }
    }

    /// Whether an order of this phase has no answer yet.
    pub(crate) fn has_calls(&self) -> bool {
        let calling = |sent: Sent| matches!(sent, Sent::Calling(_));
        self.hosts.values().any(|host| calling(host.prepare) || calling(host.execute))
    }

    /// Orders a host; the answer comes with the call's number.
    pub(crate) fn order(&mut self, host: &HostName, kind: OrderKind, out: &mut Effects) {
        let Some(action) = self.action(kind) else { return };
        self.calls += 1;
        let id = CallId(self.calls);
        let Some(record) = self.hosts.get_mut(host) else { return };
        // A host refuses a lower fence and takes an equal one once, so bytes may be prepared at any time. It
        // can't know how many other hosts are down: acting needs the lease.
        let guard = match kind {
            OrderKind::Prepare => {
                record.prepare = Sent::Calling(id);
                Guard::CompareAndSet
            }
            OrderKind::Execute => {
                record.execute = Sent::Calling(id);
                if self.kept.ordered.insert(host.clone()) {
                    out.push(Effect::Persist);
                }
                Guard::Unguarded
            }
        };
        let assignment = &self.assignment;
        let goal = HostGoal {
            installation: assignment.installation.clone(),
            service: ServiceName::from(&assignment.installation.pipeline),
            assignment: assignment.id,
            fence: assignment.fence,
            run: assignment.run.clone(),
            attempt: assignment.attempt,
            action,
            retained: assignment.retained.clone(),
        };
        let call = SendGoal { host: host.clone(), goal };
        out.push(Effect::Call { id, call, deadline: UNGUARDED_CALL, guard });
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
