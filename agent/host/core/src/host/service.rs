//! The service region: probes, degraded and healthy again, restarts by the policy.

use trimaran_agent_core::driver::Guard;
use trimaran_model::limits;
use trimaran_model::pipeline::{HealthCheck, RestartOn};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use super::call::{Call, Exit, HostFailure, Reply};
use super::driver::Transition;
use super::journal::{Part, Step, host_release};
use super::phase::Operation;

impl Transition<'_> {
    /// Probes what runs, or starts it again when that is due.
    pub(super) fn serve(&mut self) {
        let watched = match self.journal.step {
            Step::Changing { part: Part::Starting, .. } => true,
            step => !step.is_disruptive(),
        };
        let Some(release) = self.serving_release().filter(|_| watched) else { return };
        if self.volatile.process.is_some() {
            let health = host_release(release).health.clone();
            if self.volatile.probe.is_none() && self.volatile.probe_at.is_some_and(|at| at <= self.now) {
                // A process of which nothing is known is not probed; it is ended as an orphan.
                let Some(launch) = self.journal.launch.as_ref().map(|launch| launch.number) else { return };
                let deadline = Millis(health.timeout.0 + limits::PROBE_GAP.0);
                self.volatile.probe_at = None;
                let id = self.call(Call::Probe { launch, health }, deadline, Guard::Read);
                self.volatile.probe = Some((id, launch));
            }
            return;
        }
        let due = self.volatile.restart_at.is_some_and(|at| at <= self.now);
        let apart = match self.volatile.operation {
            // A service that is down does not wait until an artifact has arrived.
            None
            | Some((
                _,
                Operation::Fetch | Operation::Unpack | Operation::AcquireSlot | Operation::CheckPort,
            )) => true,
            Some((
                _,
                Operation::Inspect
                | Operation::FreeSpace
                | Operation::Stop
                | Operation::Switch
                | Operation::Start
                | Operation::CollectGarbage,
            )) => false,
        };
        if due && apart && self.volatile.restart.is_none() && !self.journal.step.is_disruptive() {
            self.restart();
        }
    }

    /// The answer of a probe.
    pub(super) fn probed(&mut self, answer: Result<(), &str>) {
        let Some(health) = self.serving_release().map(|release| host_release(release).health.clone()) else {
            return;
        };
        if self.volatile.process.is_none() {
            return;
        }
        let unwatched = self.volatile.window.answered(self.now, &health, answer);
        match self.volatile.deadline {
            Some(deadline) => self.judge(deadline + unwatched, &health),
            None if self.journal.step.is_disruptive() => {}
            None => self.judge_service(&health),
        }
        if self.volatile.process.is_some() {
            self.volatile.probe_at = Some(self.next_probe(&health));
        }
    }

    /// Verification: done, still possible, or not possible any more.
    fn judge(&mut self, deadline: Timestamp, health: &HealthCheck) {
        self.volatile.deadline = Some(deadline);
        let earliest =
            self.volatile.window.healthy_at(health.min_healthy).unwrap_or(self.now + health.min_healthy);
        if earliest > deadline {
            let window = &self.volatile.window;
            let code = if window.flaps() { ReasonCode::ProbeFlap } else { ReasonCode::ProbeFailed };
            let message = format!(
                "not healthy for {} within {} of its start: {} (last of {} probes of {})",
                health.min_healthy,
                health.deadline,
                window.last_failure(),
                window.probes(),
                health.http,
            );
            self.verify_failed(HostFailure::new(code, message));
        } else if self.volatile.window.healthy_for(health.min_healthy) {
            self.verified();
        }
    }

    fn judge_service(&mut self, health: &HealthCheck) {
        let known = self.journal.service_failure.as_ref().map(|failure| failure.code);
        if known.is_some() && self.volatile.window.healthy_for(health.min_healthy) {
            self.journal.service_failure = None;
            self.persist();
        } else if self.volatile.window.is_failing() && known != Some(ReasonCode::ProbeFailed) {
            let message = format!("{} ({})", self.volatile.window.last_failure(), health.http);
            self.service_down(HostFailure::new(ReasonCode::ProbeFailed, message));
        }
    }

    /// A verification probes at its possible end, and more often until the first success: a service that
    /// starts at once is seen at once, and one that takes its time is not asked all the time.
    fn next_probe(&self, health: &HealthCheck) -> Timestamp {
        let regular = self.now + health.interval;
        if self.volatile.deadline.is_none() {
            return regular;
        }
        match self.volatile.window.healthy_at(health.min_healthy) {
            Some(end) => regular.min(end.max(self.now)),
            None => {
                let share = Millis(self.volatile.window.watched_for(self.now).0 / limits::PROBE_FIRST_SHARE);
                regular.min(self.now + share.max(limits::PROBE_FIRST_INTERVAL))
            }
        }
    }

    /// The service ended while nothing was changing it.
    pub(super) fn service_ended(&mut self, exit: Exit) {
        self.set_service_failure(HostFailure::new(ReasonCode::ProcessExited, exit.to_string()));
        self.plan_restart(exit.is_success());
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

    /// When the process is started again, by its policy: at most `max` times in `per`, never sooner than `delay`.
    fn plan_restart(&mut self, success: bool) {
        let Some(policy) =
            self.serving_release().map(|release| host_release(release).process.restart.clone())
        else {
            return;
        };
        let wanted = match policy.on {
            RestartOn::Never => false,
            RestartOn::Failure => !success,
            RestartOn::Always => true,
        };
        let max = usize::try_from(policy.max).unwrap_or(usize::MAX).min(limits::RESTARTS_COUNTED_MAX);
        if !wanted || max == 0 {
            return;
        }
        let now = self.now;
        self.journal.restarts.retain(|at| *at + policy.per > now);
        let counted = self.journal.restarts.len();
        let free = (counted >= max).then(|| self.journal.restarts[counted - max] + policy.per);
        let at = (now + policy.delay).max(free.unwrap_or_default());
        self.volatile.restart_at = Some(at);
    }

    fn restart(&mut self) {
        self.volatile.restart_at = None;
        let Some(digest) = self.journal.serving else { return };
        let Some(release) = self.on_host(digest).cloned() else { return };
        self.new_launch(digest);
        self.journal.restarts.push(self.now);
        let surplus = self.journal.restarts.len().saturating_sub(limits::RESTARTS_COUNTED_MAX);
        self.journal.restarts.drain(..surplus);
        self.persist();
        let Some(launch) = self.journal.launch.clone() else { return };
        let guard = Guard::Idempotent(launch.number.to_string());
        self.volatile.restart = Some(self.call(Call::Start { launch, release }, limits::HOST_START, guard));
    }

    pub(super) fn restarted(&mut self, reply: Reply) {
        match reply {
            Reply::Started(started) => self.has_process(started),
            Reply::Failed(failure) => self.service_down(failure),
            _ => self.volatile.observation = None,
        }
    }
}
