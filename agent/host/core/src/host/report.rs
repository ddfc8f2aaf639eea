//! What the host says of an installation: derived from the journal, sent when it changed.

use trimaran_agent_core::driver::Effect;
use trimaran_model::assignment::{HostReport, HostState};
use trimaran_model::limits;
use trimaran_model::text::cut;

use super::call::HostFailure;
use super::journal::{Journal, Part, Step};
use super::machine::Move;
use super::phase::{Act, Life, Phase};

/// What a report is made of.
struct View<'a> {
    journal: &'a Journal,
    life: &'a Life,
}

impl Phase {
    /// The present report. `current` is known after the first look; before it, it is what should run.
    pub fn report(&self) -> HostReport {
        View { journal: &self.journal, life: &self.life }.report()
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
            current: self.life.facts.as_ref().map_or(journal.serving, |facts| facts.current),
            prepared: journal.prepared,
            code: failure.map(|it| it.code),
            message: cut(message, limits::MESSAGE_BYTES_MAX),
        }
    }

    fn state(&self) -> (HostState, Option<&'a HostFailure>) {
        let Journal { step, failure, serving, service_failure, .. } = self.journal;
        let (failure, down) = (failure.as_ref(), service_failure.as_ref());
        match step {
            Step::Accepted | Step::InPlace => (HostState::Preparing, None),
            Step::Changing { back, .. } => (HostState::Updating, failure.filter(|_| *back)),
            Step::Ending { .. } => (HostState::Updating, failure),
            Step::Prepared if down.is_some() => (HostState::Degraded, down),
            // What is prepared for later says nothing of what runs.
            Step::Prepared if serving.is_some() => (HostState::Healthy, None),
            Step::Prepared => (HostState::Prepared, None),
            Step::Committed if down.is_some() => (HostState::Degraded, down),
            Step::Committed => (HostState::Healthy, None),
            Step::Refused => (HostState::Refused, failure),
            Step::Failed if serving.is_some() && down.is_none() => (HostState::Reverted, failure),
            Step::Failed => (HostState::Broken, failure),
            Step::Stopped if self.is_empty() => (HostState::Empty, None),
            Step::Stopped => (HostState::Stopped, None),
        }
    }

    fn is_empty(&self) -> bool {
        let bare = self.life.facts.as_ref().is_some_and(|facts| facts.releases.is_empty());
        bare && self.journal.launch.is_none()
    }

    /// What is being done, for people who watch.
    fn doing(&self) -> &'static str {
        match (self.journal.step, self.life.act) {
            (Step::Accepted, Some((_, Act::Fetch))) => "fetching the artifact",
            (Step::Accepted, Some((_, Act::Unpack))) => "unpacking the artifact",
            (Step::Accepted, Some((_, Act::TakeTurn))) => "waiting for another installation on this host",
            (Step::InPlace, _) => "verifying what runs",
            (Step::Changing { part: Part::Stopping, .. }, _) => "stopping",
            (Step::Changing { part: Part::Switching, .. }, _) => "switching",
            (Step::Changing { part: Part::Starting, .. }, _) if self.life.process.is_some() => "verifying",
            (Step::Changing { part: Part::Starting, .. }, _) => "starting",
            (Step::Ending { .. }, _) => "stopping",
            _ => "",
        }
    }
}

impl Move<'_> {
    /// Reports a change. Before the first look nothing is known that would be worth it.
    pub(super) fn report(&mut self) {
        if self.life.facts.is_none() && self.journal.step != Step::Refused {
            return;
        }
        let report = View { journal: self.journal, life: self.life }.report();
        if self.life.reported.as_ref() != Some(&report) {
            self.life.reported = Some(report.clone());
            self.out.push(Effect::Report(report));
        }
    }
}
