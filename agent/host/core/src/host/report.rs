//! What the host says of an installation: derived from the journal, sent when it changed.

use trimaran_agent_core::driver::Effect;
use trimaran_model::assignment::{HostGoal, HostReport, HostState};
use trimaran_model::id::Digest;
use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::HostRelease;
use trimaran_model::text::cut;

use super::call::HostFailure;
use super::driver::Transition;
use super::journal::{Journal, Part, Step, host_release};
use super::phase::{Operation, Phase, ServiceCall, VolatileState};

/// What a report is made of.
struct View<'a> {
    journal: &'a Journal,
    volatile: &'a VolatileState,
}

impl Phase {
    /// The present report. `current` is known after the first inspection; before it, it is what should run.
    pub fn report(&self) -> HostReport {
        View { journal: &self.journal, volatile: &self.volatile }.report()
    }

    /// The present report while a goal waits behind the machine's: that one is named, and what was said of the one before
    /// is not.
    pub fn report_with(&self, next: Option<&HostGoal>) -> HostReport {
        let report = self.report();
        let Some(next) = next else { return report };
        HostReport {
            fence: next.fence,
            assignment: next.assignment,
            disruptive: next.action.is_disruptive(),
            state: match self.journal.step.is_disruptive() {
                true => HostState::Updating,
                false => HostState::Preparing,
            },
            code: None,
            message: "waiting until an earlier order is at a safe place".to_owned(),
            ..report
        }
    }
}

impl<'a> View<'a> {
    fn report(&self) -> HostReport {
        let (state, failure) = self.state();
        let journal = self.journal;
        let message = failure.map_or_else(|| self.doing(), |it| it.message.clone());
        HostReport {
            installation: journal.goal.installation.clone(),
            fence: journal.goal.fence,
            assignment: journal.goal.assignment,
            disruptive: journal.goal.action.is_disruptive(),
            state,
            current: self
                .volatile
                .observation
                .as_ref()
                .map_or(journal.serving, |observation| observation.current),
            prepared: journal.prepared,
            code: failure.map(|it| it.code),
            message: cut(message, limits::MESSAGE_BYTES_MAX),
            restarting: state == HostState::Degraded && self.is_restarting(failure),
        }
    }

    /// The process ended, and its restart policy is about to have it back.
    fn is_restarting(&self, failure: Option<&HostFailure>) -> bool {
        let ended = failure.is_some_and(|failure| !matches!(failure.code, ReasonCode::ProbeFailed));
        let volatile = self.volatile;
        let starts = matches!(volatile.service_call, Some((_, ServiceCall::Start)));
        let soon = volatile.restart_at.is_some() && !volatile.restart_is_late;
        let runs_again = volatile.process.is_some()
            && failure.is_some_and(|failure| failure.code != ReasonCode::LivenessFailed);
        ended && (starts || soon || runs_again)
    }

    fn state(&self) -> (HostState, Option<&'a HostFailure>) {
        let Journal { step, failure, serving, service_failure, .. } = self.journal;
        let (failure, down) = (failure.as_ref(), service_failure.as_ref());
        let warning = self.volatile.warning.as_ref().or(self.volatile.change_warning.as_ref());
        if self.is_unknown() && !step.is_disruptive() && *step != Step::Refused {
            return (HostState::Broken, self.volatile.inspection_failure.as_ref());
        }
        match step {
            Step::Accepted | Step::InPlace => (HostState::Preparing, None),
            Step::Changing { reverting, .. } => (HostState::Updating, failure.filter(|_| *reverting)),
            Step::Ending { .. } => (HostState::Updating, failure),
            Step::Prepared if down.is_some() => (HostState::Degraded, down),
            // What is prepared for later says nothing of what runs.
            Step::Prepared if serving.is_some() => (HostState::Healthy, warning),
            Step::Prepared => (HostState::Prepared, None),
            Step::Committed if down.is_some() => (HostState::Degraded, down),
            Step::Committed => (HostState::Healthy, warning),
            Step::Refused => (HostState::Refused, failure),
            Step::Failed if serving.is_some() && down.is_none() => (HostState::Reverted, failure),
            Step::Failed => (HostState::Broken, failure),
            Step::Stopped if self.is_empty() => (HostState::Empty, None),
            Step::Stopped => (HostState::Stopped, None),
        }
    }

    /// The host can't be inspected, and not by a passing fault: nothing is known of what runs.
    fn is_unknown(&self) -> bool {
        self.volatile.observation.is_none()
            && self.volatile.inspection_failures >= limits::HOST_INSPECTION_FAILURES_MAX
    }

    fn is_empty(&self) -> bool {
        let bare =
            self.volatile.observation.as_ref().is_some_and(|observation| observation.releases.is_empty());
        bare && self.journal.launch.is_none()
    }

    /// What is being done, and how long it may take at most, for people who watch.
    fn doing(&self) -> String {
        format!("{}{}", self.activity(), self.limit().unwrap_or_default())
    }

    fn limit(&self) -> Option<String> {
        let (Step::Changing { part, .. } | Step::Ending { part, .. }) = self.journal.step else {
            return None;
        };
        let launched = self.journal.launch.as_ref().map(|launch| launch.digest);
        match part {
            Part::Starting if self.volatile.process.is_none() => None,
            Part::Starting | Part::Verifying => {
                let health = &self.on_host(self.journal.serving)?.health;
                Some(format!(", needs {} of health within {}", health.min_healthy, health.deadline))
            }
            Part::Stopping => Some(format!(", killed after {}", self.on_host(launched)?.process.stop.grace)),
            Part::Draining => {
                Some(format!(", at most {}", self.on_host(launched)?.lifecycle.drain.as_ref()?.wait))
            }
            _ => None,
        }
    }

    /// The host's section of a release that is there.
    fn on_host(&self, digest: Option<Digest>) -> Option<&'a HostRelease> {
        let stored = self.volatile.observation.as_ref()?.releases.get(&digest?)?;
        Some(host_release(&stored.release))
    }

    fn activity(&self) -> &'static str {
        match (self.journal.step, self.volatile.operation) {
            (Step::Accepted, Some((_, Operation::Fetch))) => "fetching the artifact",
            (Step::Accepted, Some((_, Operation::Unpack))) => "unpacking the artifact",
            (Step::Accepted, Some((_, Operation::AcquireSlot))) => {
                "waiting for another installation on this host"
            }
            (Step::Accepted, _)
                if self.volatile.stop_asked_since.is_some() && !self.volatile.stop_allowed =>
            {
                "waiting until the service allows its stop"
            }
            (Step::InPlace, _) => "verifying what runs",
            (Step::Changing { part, .. } | Step::Ending { part, .. }, _) => match part {
                Part::BeforeStop(_) => "running hooks before_stop",
                Part::Draining => "draining",
                Part::Stopping => "stopping",
                Part::AfterStop(_) => "running hooks after_stop",
                Part::Switching => "switching",
                Part::BeforeStart(_) => "running hooks before_start",
                Part::Starting if self.volatile.process.is_none() => "starting",
                Part::AfterStart(_) => "running hooks after_start",
                Part::Starting | Part::Verifying => "verifying",
                Part::AfterHealthy(_) => "running hooks after_healthy",
                Part::Undraining => "undraining",
                Part::Reloading => "reloading",
            },
            _ => "",
        }
    }
}

impl Transition<'_> {
    /// Reports a change. Before the first inspection nothing is known that would be worth it.
    pub(super) fn report(&mut self) {
        let view = View { journal: self.journal, volatile: self.volatile };
        if self.volatile.observation.is_none() && self.journal.step != Step::Refused && !view.is_unknown() {
            return;
        }
        let report = view.report();
        if self.volatile.reported.as_ref() != Some(&report) {
            self.volatile.reported = Some(report.clone());
            self.out.push(Effect::Report(report));
        }
    }
}
