//! The service region: probes, degraded and healthy again, restarts by the policy and by liveness probes.

use trimaran_agent_core::driver::{CallId, Guard};
use trimaran_model::limits;
use trimaran_model::pipeline::{Condition, HealthCheck, RestartOn};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use super::call::{Call, Exit, HostFailure, Reply};
use super::driver::Transition;
use super::journal::{Step, host_release};
use super::phase::{Operation, ServiceCall};

impl Transition<'_> {
    /// Probes what runs, or starts it again when that is due.
    pub(super) fn serve(&mut self) {
        let watched = match self.journal.step {
            Step::Changing { part, .. } => part.is_after_start(),
            step => !step.is_disruptive(),
        };
        if !watched || self.serving_release().is_none() {
            return;
        }
        self.restart_by_hand();
        if self.volatile.process.is_some() {
            return self.probe();
        }
        let due = self.volatile.restart_at.is_some_and(|at| at <= self.now);
        if due && self.may_act_apart() {
            self.restart();
        }
    }

    /// Asks every probe that is due.
    fn probe(&mut self) {
        // A process of which nothing is known is not probed; it is ended as an orphan.
        let Some(launch) = self.journal.launch.clone() else { return };
        let Some(release) = self.serving_release().map(host_release).cloned() else { return };
        self.volatile.watch.load(self.now, &release.health);
        while let Some((place, probe)) = self.volatile.watch.due(self.now) {
            let deadline = Millis(probe.timeout.0 + limits::PROBE_GAP.0);
            let call = Call::Probe {
                launch: launch.clone(),
                process: release.process.clone(),
                probe: probe.clone(),
            };
            let id = self.call(call, deadline, Guard::Read);
            self.volatile.watch.asked(place, id);
        }
    }

    /// Whether the service may be ended or started beside what the goal does.
    fn may_act_apart(&self) -> bool {
        let apart = match self.volatile.operation {
            // A service that is down does not wait until an artifact has arrived.
            None
            | Some((
                _,
                Operation::Fetch
                | Operation::Unpack
                | Operation::AcquireSlot
                | Operation::Preflight
                | Operation::MayStop,
            )) => true,
            Some((
                _,
                Operation::Inspect
                | Operation::FreeSpace
                | Operation::Errand(_)
                | Operation::Stop
                | Operation::Switch
                | Operation::Start
                | Operation::CollectGarbage,
            )) => false,
        };
        apart && self.volatile.service_call.is_none() && !self.journal.step.is_disruptive()
    }

    /// The answer of a probe.
    pub(super) fn probed(&mut self, place: usize, answer: Result<(), &str>) {
        let Some(health) = self.serving_release().map(|release| host_release(release).health.clone()) else {
            return;
        };
        if self.volatile.process.is_none() {
            return;
        }
        let unwatched = self.volatile.watch.answered(self.now, place, answer);
        match self.volatile.deadline {
            Some(deadline) => self.judge(deadline + unwatched, &health),
            None if self.journal.step.is_disruptive() => {}
            None => self.judge_service(&health),
        }
        if self.volatile.process.is_some() {
            let verifying = self.volatile.deadline.map(|_| health.min_healthy);
            self.volatile.watch.schedule(self.now, place, verifying);
        }
    }

    /// Verification: done, still possible, or not possible any more.
    fn judge(&mut self, deadline: Timestamp, health: &HealthCheck) {
        self.volatile.deadline = Some(deadline);
        let watch = &self.volatile.watch;
        let earliest = watch.healthy_at(health.min_healthy).unwrap_or(self.now + health.min_healthy);
        let (last, check) = watch.last_failure();
        if watch.is_failing(Condition::Liveness) {
            let message = format!("{last} ({check})");
            self.verify_failed(HostFailure::new(ReasonCode::LivenessFailed, message));
        } else if earliest > deadline {
            let code = if watch.flaps() { ReasonCode::ProbeFlap } else { ReasonCode::ProbeFailed };
            let message = format!(
                "not healthy for {} within {} of its start: {last} (last of {} probes of {check})",
                health.min_healthy,
                health.deadline,
                watch.answers(),
            );
            self.verify_failed(HostFailure::new(code, message));
        } else if watch.healthy_for(health.min_healthy) {
            self.verified();
        }
    }

    fn judge_service(&mut self, health: &HealthCheck) {
        let known = self.journal.service_failure.as_ref().map(|failure| failure.code);
        let watch = &self.volatile.watch;
        if known.is_some() && watch.healthy_for(health.min_healthy) {
            self.journal.service_failure = None;
            return self.persist();
        }
        let (last, check) = watch.last_failure();
        let message = format!("{last} ({check})");
        if watch.is_failing(Condition::Liveness) {
            return self.liveness_failed(message);
        }
        let failing = watch.is_failing(Condition::Readiness) || watch.is_failing(Condition::Startup);
        if failing && !matches!(known, Some(ReasonCode::ProbeFailed | ReasonCode::LivenessFailed)) {
            self.service_down(HostFailure::new(ReasonCode::ProbeFailed, message));
        }
    }

    /// What runs does not work any more: it is ended, and started again as its policy says. Without a policy, or while
    /// that allows no restart, it stays as it is: a service that works badly is more than none.
    fn liveness_failed(&mut self, message: String) {
        let known = self.journal.service_failure.as_ref().map(|failure| failure.code);
        if known != Some(ReasonCode::LivenessFailed) {
            self.set_service_failure(HostFailure::new(ReasonCode::LivenessFailed, message));
        }
        let delay = self.serving_release().map_or(Millis::ZERO, |it| host_release(it).process.restart.delay);
        let soon = self.next_restart(false).is_some_and(|at| at <= self.now + delay);
        if soon && self.may_act_apart() {
            self.end_service();
        }
    }

    /// A user asked for it: whatever the policy says, and without counting for it.
    fn restart_by_hand(&mut self) {
        if !self.volatile.restart_requested || !self.may_act_apart() {
            return;
        }
        if self.volatile.process.is_none() {
            self.volatile.restart_at = Some(self.now);
            return;
        }
        let known = self.journal.service_failure.as_ref().map(|failure| failure.code);
        if known != Some(ReasonCode::Interrupted) {
            // No fault of the release: it says nothing against it in its bake.
            let message = "the service is restarted by hand";
            self.set_service_failure(HostFailure::new(ReasonCode::Interrupted, message));
        }
        self.end_service();
    }

    /// Ends what runs, to be started again, once no other installation is disrupted. Its end is seen by the watch.
    fn end_service(&mut self) {
        if !self.volatile.slot {
            if self.volatile.slot_call.is_none() {
                let id = self.call(Call::AcquireSlot, limits::HOST_SLOT_TIMEOUT, Guard::Read);
                self.volatile.slot_call = Some(id);
            }
            return;
        }
        let Some(release) = self.serving_release().map(host_release) else { return };
        let stop = release.process.stop.clone();
        let deadline = Millis(stop.grace.0 + limits::HOST_CALL.0);
        let guard = Guard::Idempotent("stop".to_owned());
        let id = self.call(Call::Stop { stop, except: None }, deadline, guard);
        self.volatile.service_call = Some((id, ServiceCall::End));
    }

    /// The service ended while nothing was changing it.
    pub(super) fn service_ended(&mut self, exit: Exit) {
        let known = self.journal.service_failure.as_ref().map(|failure| failure.code);
        // It was ended to be started again: how it ended then says nothing.
        let by_host = matches!(known, Some(ReasonCode::LivenessFailed | ReasonCode::Interrupted));
        if !by_host {
            self.set_service_failure(exit.failure());
        }
        self.plan_restart(exit.is_success() && !by_host);
        if self.volatile.restart_requested {
            self.volatile.restart_at = Some(self.now);
        }
    }

    /// The service is not healthy; when it does not run either, the policy decides on a restart.
    pub(super) fn service_down(&mut self, failure: HostFailure) {
        self.set_service_failure(failure);
        if self.volatile.process.is_none() {
            self.plan_restart(false);
        }
    }

    fn set_service_failure(&mut self, failure: HostFailure) {
        self.journal.service_failure = Some(failure);
        self.persist();
    }

    fn plan_restart(&mut self, success: bool) {
        if let Some(at) = self.next_restart(success) {
            let delay =
                self.serving_release().map_or(Millis::ZERO, |it| host_release(it).process.restart.delay);
            self.volatile.restart_is_late = at > self.now + delay;
            self.volatile.restart_at = Some(at);
        }
    }

    /// When the process may be started again, by its policy: at most `max` times in `per`, never sooner than `delay`.
    fn next_restart(&mut self, success: bool) -> Option<Timestamp> {
        let policy = self.serving_release().map(|release| host_release(release).process.restart.clone())?;
        let wanted = match policy.on {
            RestartOn::Never => false,
            RestartOn::Failure => !success,
            RestartOn::Always => true,
        };
        let max = usize::try_from(policy.max).unwrap_or(usize::MAX).min(limits::RESTARTS_COUNTED_MAX);
        if !wanted || max == 0 {
            return None;
        }
        let now = self.now;
        self.journal.restarts.retain(|at| *at + policy.per > now);
        let counted = self.journal.restarts.len();
        let free = (counted >= max).then(|| self.journal.restarts[counted - max] + policy.per);
        Some((now + policy.delay).max(free.unwrap_or_default()))
    }

    fn restart(&mut self) {
        self.volatile.restart_at = None;
        let Some(digest) = self.journal.serving else { return };
        let Some(release) = self.on_host(digest).cloned() else { return };
        self.new_launch(digest);
        if !self.volatile.restart_requested {
            self.journal.restarts.push(self.now);
            let surplus = self.journal.restarts.len().saturating_sub(limits::RESTARTS_COUNTED_MAX);
            self.journal.restarts.drain(..surplus);
        }
        self.persist();
        let Some(launch) = self.journal.launch.clone() else { return };
        let guard = Guard::Idempotent(launch.number.to_string());
        let id = self.call(Call::Start { launch, release }, limits::HOST_START, guard);
        self.volatile.service_call = Some((id, ServiceCall::Start));
    }

    /// The slot is there: what it was wanted for may be over by now.
    fn slot_granted(&mut self) {
        self.volatile.slot = true;
        let known = self.journal.service_failure.as_ref().map(|failure| failure.code);
        let wanted = self.volatile.restart_requested || known == Some(ReasonCode::LivenessFailed);
        if wanted && self.volatile.process.is_some() && self.may_act_apart() {
            self.end_service();
        } else {
            self.release_slot();
        }
    }

    /// A change of the goal keeps the slot; a goal that has not begun one takes it again.
    fn release_slot(&mut self) {
        if self.volatile.slot && !self.journal.step.is_disruptive() {
            self.volatile.slot = false;
            self.call(Call::ReleaseSlot, limits::HOST_CALL, Guard::Read);
        }
    }

    /// The answer of a call of this region; whether there was one with this id.
    pub(super) fn service_replied(&mut self, id: CallId, reply: &Reply) -> bool {
        if self.volatile.slot_call.take_if(|pending| *pending == id).is_some() {
            self.slot_granted();
            return true;
        }
        let Some((_, call)) = self.volatile.service_call.take_if(|(pending, _)| *pending == id) else {
            return false;
        };
        if call == ServiceCall::End {
            self.release_slot();
        }
        match (call, reply) {
            (ServiceCall::Start, Reply::Started(started)) => self.has_process(*started),
            (ServiceCall::Start | ServiceCall::End, Reply::Failed(failure)) => {
                self.service_down(failure.clone())
            }
            // What a stop has ended is seen by the watch; what it found ended already, by an inspection.
            (ServiceCall::Start | ServiceCall::End, _) => self.volatile.observation = None,
        }
        true
    }
}
