//! After an inspection: what is really there decides where the machine continues.
//!
//! Order of trust: the identity of live processes, then the `current` link, then the journal.

use trimaran_model::assignment::{HostAction, HostGoal};
use trimaran_model::id::{Attempt, Digest, InstallationId, RunId, ServiceName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::call::{Exit, HostFailure, Launch, Observation, ProcessStatus};
use super::driver::Transition;
use super::journal::{Journal, Part, Step};

impl Transition<'_> {
    /// Takes what an inspection found and brings the journal in line with it.
    pub(super) fn reconcile(&mut self, observation: Observation) {
        let rebooted = self.journal.boot.as_ref() != Some(&observation.boot);
        if rebooted {
            self.journal.restarts.clear();
        }
        self.journal.boot = Some(observation.boot.clone());
        self.journal.stable_releases.retain(|stable| observation.releases.contains_key(stable));
        if self.journal.prepared.is_some_and(|prepared| !observation.releases.contains_key(&prepared)) {
            self.journal.prepared = None;
        }
        let newest = observation.releases.values().map(|stored| stored.sequence).max().unwrap_or(0);
        self.journal.last_sequence = self.journal.last_sequence.max(newest);
        let last = observation.processes.keys().max().copied().unwrap_or(0);
        self.journal.last_launch = self.journal.last_launch.max(last);
        let ended = self.adopt_process(&observation);
        self.volatile.observation = Some(observation);
        match self.journal.step {
            Step::Changing { to, reverting, part } => {
                self.resume_change(to, reverting, part, ended, rebooted)
            }
            // What is gone has nothing to be left out of.
            Step::Ending { broken, part } if part.is_before_stop() && self.volatile.process.is_none() => {
                self.enter(Step::Ending { broken, part: Part::Stopping });
            }
            Step::Ending { .. } => {}
            Step::InPlace if self.volatile.process.is_some() => self.begin_verification(self.now),
            Step::InPlace => {
                let exit = ended.unwrap_or(Exit::LOST);
                self.verify_failed(exit.failure());
            }
            Step::Stopped => self.volatile.orphans |= self.volatile.process.take().is_some(),
            Step::Accepted | Step::Prepared | Step::Committed | Step::Refused | Step::Failed => {
                self.resume_serving(ended, rebooted);
            }
        }
    }

    /// Finds the process that counts, and how the journal's launch ended when it does not run.
    fn adopt_process(&mut self, observation: &Observation) -> Option<Exit> {
        let running: Vec<(u64, Option<Digest>, Timestamp)> = observation
            .processes
            .iter()
            .filter_map(|(number, process)| match process.status {
                ProcessStatus::Running { started } => Some((*number, process.digest, started)),
                ProcessStatus::Ended(_) | ProcessStatus::Nothing => None,
            })
            .collect();
        let known = self.journal.launch.as_ref().map(|launch| launch.number);
        let chosen = running.iter().find(|(number, ..)| Some(*number) == known).or(running.last()).copied();
        self.volatile.orphans = running.len() > 1;
        let Some((number, digest, started)) = chosen else {
            if self.volatile.process.is_some() {
                self.forget_process();
            }
            let process = observation.processes.get(&known?)?;
            return match process.status {
                ProcessStatus::Ended(exit) => Some(exit),
                ProcessStatus::Running { .. } | ProcessStatus::Nothing => None,
            };
        };
        if Some(number) != known {
            match digest {
                Some(digest) => {
                    self.journal.launch = Some(Launch::new(number, digest, &self.journal.goal));
                }
                None => self.volatile.orphans = true,
            }
        }
        if self.volatile.process != Some(started) {
            self.has_process(started);
        }
        None
    }

    fn resume_change(
        &mut self,
        to: Digest,
        reverting: bool,
        part: Part,
        ended: Option<Exit>,
        rebooted: bool,
    ) {
        let stopping = Step::Changing { to, reverting, part: Part::Stopping };
        let runs_it = self.volatile.process.is_some()
            && !self.volatile.orphans
            && self.journal.launch.as_ref().is_some_and(|launch| launch.digest == to);
        match part {
            Part::BeforeStop(_) | Part::Draining if self.volatile.process.is_none() => self.enter(stopping),
            Part::BeforeStop(_) | Part::Draining | Part::Stopping => {}
            Part::AfterStop(_) | Part::Switching | Part::BeforeStart(_)
                if self.volatile.process.is_some() =>
            {
                self.enter(stopping);
            }
            Part::AfterStop(_) | Part::Switching | Part::BeforeStart(_) => {}
            Part::Starting if runs_it && self.has_hooks_behind_start() => {
                self.enter_part(Part::AfterStart(0));
            }
            Part::Starting | Part::Verifying if runs_it => self.begin_verification(self.now),
            Part::AfterStart(_) | Part::AfterHealthy(_) | Part::Undraining | Part::Reloading if runs_it => {}
            Part::Starting
            | Part::AfterStart(_)
            | Part::Verifying
            | Part::AfterHealthy(_)
            | Part::Undraining
            | Part::Reloading
                if self.volatile.process.is_some() || rebooted =>
            {
                self.enter(stopping);
            }
            Part::Starting
            | Part::AfterStart(_)
            | Part::Verifying
            | Part::AfterHealthy(_)
            | Part::Undraining
            | Part::Reloading => {
                // Not started yet, or its first end was its failure.
                if let Some(exit) = ended {
                    self.verify_failed(exit.failure());
                }
            }
        }
    }

    fn resume_serving(&mut self, ended: Option<Exit>, rebooted: bool) {
        let launched = self.journal.launch.as_ref().map(|launch| launch.digest);
        match (self.journal.serving, self.volatile.process) {
            (Some(_), Some(_)) => self.journal.serving = launched,
            // It should not run: nothing that was verified here is running.
            (None, Some(_)) => {
                self.forget_process();
                self.volatile.orphans = true;
            }
            (Some(_), None) if self.volatile.service_call.is_some() || self.volatile.restart_at.is_some() => {
            }
            (Some(_), None) if rebooted => {
                // No fault of the release: it says nothing against it in its bake.
                let message = "the host was shut down; the service is started again";
                self.journal.service_failure = Some(HostFailure::new(ReasonCode::Interrupted, message));
                self.volatile.restart_at = Some(self.now);
                self.persist();
            }
            (Some(_), None) => self.service_ended(ended.unwrap_or(Exit::LOST)),
            (None, None) => {}
        }
    }

    /// Ends what should not run and repairs the link. Returns whether something was asked for.
    pub(super) fn repair(&mut self) -> bool {
        if self.volatile.repair_failed {
            return false;
        }
        if self.volatile.orphans {
            let except = self.volatile.process.and(self.journal.launch.as_ref()).map(|launch| launch.number);
            self.stop(except);
            return true;
        }
        let current = self.volatile.observation.as_ref().and_then(|observation| observation.current);
        match self.journal.serving {
            Some(serving) if current != Some(serving) && self.on_host(serving).is_some() => {
                self.switch(serving);
                true
            }
            _ => false,
        }
    }
}

impl Journal {
    /// A journal made from what is on the disk, when the file and its predecessor can't be read. `None` when
    /// nothing was ever deployed.
    pub fn from_observation(installation: &InstallationId, observation: &Observation) -> Option<Self> {
        let newest = observation.releases.values().max_by_key(|stored| stored.fence)?;
        let goal = HostGoal {
            installation: installation.clone(),
            service: ServiceName::from(&installation.pipeline),
            assignment: newest.assignment,
            fence: newest.fence,
            run: RunId { pipeline: installation.pipeline.clone(), number: 0 },
            attempt: Attempt(0),
            action: HostAction::Verify,
            retained: std::collections::BTreeSet::new(),
        };
        let mut running = observation.processes.iter().filter_map(|(number, process)| match process.status {
            ProcessStatus::Running { .. } => process.digest.map(|digest| (*number, digest)),
            ProcessStatus::Ended(_) | ProcessStatus::Nothing => None,
        });
        let mut journal = Self::new(goal);
        if let Some((number, digest)) = running.next_back() {
            journal.launch = Some(Launch::new(number, digest, &journal.goal));
            journal.serving = Some(digest);
        } else {
            journal.serving = observation.current;
        }
        let mut by_age: Vec<_> = observation.releases.values().collect();
        by_age.sort_by_key(|stored| std::cmp::Reverse(stored.sequence));
        let older = by_age.iter().map(|stored| stored.digest).filter(|it| Some(*it) != journal.serving);
        journal.stable_releases = journal.serving.into_iter().chain(older).collect();
        journal.step = Step::Committed;
        journal.boot = Some(observation.boot.clone());
        Some(journal)
    }
}
