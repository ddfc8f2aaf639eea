//! What the host says of an installation: derived from the journal, sent when it changed.

use trimaran_agent_core::driver::Effect;
use trimaran_model::assignment::{HostReport, HostState};
use trimaran_model::limits;
use trimaran_model::text::cut;

use super::call::HostFailure;
use super::driver::Transition;
use super::journal::{Journal, Part, Step};
use super::phase::{Operation, Phase, VolatileState};

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
}

impl<'a> View<'a> {
    fn report(&self) -> HostReport {
        let (state, failure) = self.state();
        let journal = self.journal;
        let message = failure.map_or_else(|| self.doing().to_owned(), |it| it.message.clone());
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
        }
    }

    fn state(&self) -> (HostState, Option<&'a HostFailure>) {
        let Journal { step, failure, serving, service_failure, .. } = self.journal;
        let (failure, down) = (failure.as_ref(), service_failure.as_ref());
        let warning = self.volatile.warning.as_ref();
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

    fn is_empty(&self) -> bool {
        let bare =
            self.volatile.observation.as_ref().is_some_and(|observation| observation.releases.is_empty());
        bare && self.journal.launch.is_none()
    }

    /// What is being done, for people who watch.
    fn doing(&self) -> &'static str {
        match (self.journal.step, self.volatile.operation) {
            (Step::Accepted, Some((_, Operation::Fetch))) => "fetching the artifact",
            (Step::Accepted, Some((_, Operation::Unpack))) => "unpacking the artifact",
            (Step::Accepted, Some((_, Operation::AcquireSlot))) => {
                "waiting for another installation on this host"
            }
            (Step::InPlace, _) => "verifying what runs",
            (Step::Changing { part: Part::Stopping, .. }, _) => "stopping",
            (Step::Changing { part: Part::Switching, .. }, _) => "switching",
            (Step::Changing { part: Part::Starting, .. }, _) if self.volatile.process.is_some() => {
                "verifying"
            }
            (Step::Changing { part: Part::Starting, .. }, _) => "starting",
            (Step::Ending { .. }, _) => "stopping",
            _ => "",
        }
    }
}

impl Transition<'_> {
    /// Reports a change. Before the first inspection nothing is known that would be worth it.
    pub(super) fn report(&mut self) {
        if self.volatile.observation.is_none() && self.journal.step != Step::Refused {
            return;
        }
        let report = View { journal: self.journal, volatile: self.volatile }.report();
        if self.volatile.reported.as_ref() != Some(&report) {
            self.volatile.reported = Some(report.clone());
            self.out.push(Effect::Report(report));
        }
    }
}
