//! After a look: what is really there decides where the machine goes on.
//!
//! Order of trust: the identity of live processes, then the `current` link, then the journal.

use trimaran_model::assignment::{HostAction, HostGoal};
use trimaran_model::id::{Attempt, Digest, InstallationId, RunId, ServiceName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::call::{Exit, Facts, HostFailure, Launch, ProcessStatus};
use super::journal::{Journal, Part, Step};
use super::machine::Move;

impl Move<'_> {
    /// Takes what a look found and brings the journal in line with it.
    pub(super) fn reconcile(&mut self, facts: Facts) {
        let rebooted = self.journal.boot.as_ref() != Some(&facts.boot);
        if rebooted {
            self.journal.restarts.clear();
        }
        self.journal.boot = Some(facts.boot.clone());
        self.journal.stable_releases.retain(|stable_releases| facts.releases.contains_key(stable_releases));
        if self.journal.prepared.is_some_and(|prepared| !facts.releases.contains_key(&prepared)) {
            self.journal.prepared = None;
        }
        let newest = facts.releases.values().map(|stored| stored.sequence).max().unwrap_or(0);
        self.journal.last_sequence = self.journal.last_sequence.max(newest);
        let last = facts.processes.keys().max().copied().unwrap_or(0);
        self.journal.last_launch = self.journal.last_launch.max(last);
        let ended = self.adopt_process(&facts);
        self.life.facts = Some(facts);
        match self.journal.step {
            Step::Changing { to, back, part } => self.go_on_changing(to, back, part, ended, rebooted),
            Step::Ending { .. } => {}
            Step::InPlace if self.life.process.is_some() => self.begin_verification(self.now),
            Step::InPlace => {
                let exit = ended.unwrap_or(Exit::LOST);
                self.verify_failed(HostFailure::new(ReasonCode::ProcessExited, exit.to_string()));
            }
            Step::Stopped => self.life.strays |= self.life.process.take().is_some(),
            Step::Accepted | Step::Prepared | Step::Committed | Step::Refused | Step::Failed => {
                self.go_on_serving(ended, rebooted);
            }
        }
    }

    /// Finds the process that counts, and how the journal's launch ended when it does not run.
    fn adopt_process(&mut self, facts: &Facts) -> Option<Exit> {
        let running: Vec<(u64, Option<Digest>, Timestamp)> = facts
            .processes
            .iter()
            .filter_map(|(number, fact)| match fact.status {
                ProcessStatus::Running { started } => Some((*number, fact.digest, started)),
                ProcessStatus::Ended(_) | ProcessStatus::Nothing => None,
            })
            .collect();
        let known = self.journal.launch.as_ref().map(|launch| launch.number);
        let chosen = running.iter().find(|(number, ..)| Some(*number) == known).or(running.last()).copied();
        self.life.strays = running.len() > 1;
        let Some((number, digest, started)) = chosen else {
            if self.life.process.is_some() {
                self.forget_process();
            }
            let fact = facts.processes.get(&known?)?;
            return match fact.status {
                ProcessStatus::Ended(exit) => Some(exit),
                ProcessStatus::Running { .. } | ProcessStatus::Nothing => None,
            };
        };
        if Some(number) != known {
            match digest {
                Some(digest) => {
                    self.journal.launch = Some(Launch::new(number, digest, &self.journal.goal));
                }
                None => self.life.strays = true,
            }
        }
        if self.life.process != Some(started) {
            self.has_process(started);
        }
        None
    }

    fn go_on_changing(&mut self, to: Digest, back: bool, part: Part, ended: Option<Exit>, rebooted: bool) {
        let stopping = Step::Changing { to, back, part: Part::Stopping };
        let runs_it = self.life.process.is_some()
            && !self.life.strays
            && self.journal.launch.as_ref().is_some_and(|launch| launch.digest == to);
        match part {
            Part::Stopping => {}
            Part::Switching if self.life.process.is_some() => self.enter(stopping),
            Part::Switching => {}
            Part::Starting if runs_it => self.begin_verification(self.now),
            Part::Starting if self.life.process.is_some() || rebooted => self.enter(stopping),
            Part::Starting => {
                // Not started yet, or its first end was its failure.
                if let Some(exit) = ended {
                    self.verify_failed(HostFailure::new(ReasonCode::ProcessExited, exit.to_string()));
                }
            }
        }
    }

    fn go_on_serving(&mut self, ended: Option<Exit>, rebooted: bool) {
        let launched = self.journal.launch.as_ref().map(|launch| launch.digest);
        match (self.journal.serving, self.life.process) {
            (Some(_), Some(_)) => self.journal.serving = launched,
            // It should not run: nothing that was verified here is running.
            (None, Some(_)) => {
                self.forget_process();
                self.life.strays = true;
            }
            (Some(_), None) if self.life.restart.is_some() || self.life.restart_at.is_some() => {}
            (Some(_), None) if rebooted => {
                // No fault of the release: it says nothing against it in its bake.
                let message = "the host was shut down; the service is started again";
                self.journal.service_failure = Some(HostFailure::new(ReasonCode::Interrupted, message));
                self.life.restart_at = Some(self.now);
                self.persist();
            }
            (Some(_), None) => self.service_ended(ended.unwrap_or(Exit::LOST)),
            (None, None) => {}
        }
    }

    /// Ends what should not run and mends the link. Returns whether something was asked for.
    pub(super) fn repair(&mut self) -> bool {
        if self.life.repair_failed {
            return false;
        }
        if self.life.strays {
            let except = self.life.process.and(self.journal.launch.as_ref()).map(|launch| launch.number);
            self.stop(except);
            return true;
        }
        let current = self.life.facts.as_ref().and_then(|facts| facts.current);
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
    pub fn from_facts(installation: &InstallationId, facts: &Facts) -> Option<Self> {
        let newest = facts.releases.values().max_by_key(|stored| stored.fence)?;
        let goal = HostGoal {
            installation: installation.clone(),
            service: ServiceName::from(&installation.pipeline),
            assignment: newest.assignment,
            fence: newest.fence,
            run: RunId { pipeline: installation.pipeline.clone(), number: 0 },
            attempt: Attempt(0),
            action: HostAction::Verify,
            keep: std::collections::BTreeSet::new(),
        };
        let mut running = facts.processes.iter().filter_map(|(number, fact)| match fact.status {
            ProcessStatus::Running { .. } => fact.digest.map(|digest| (*number, digest)),
            ProcessStatus::Ended(_) | ProcessStatus::Nothing => None,
        });
        let mut journal = Self::new(goal);
        if let Some((number, digest)) = running.next_back() {
            journal.launch = Some(Launch::new(number, digest, &journal.goal));
            journal.serving = Some(digest);
        } else {
            journal.serving = facts.current;
        }
        let mut by_age: Vec<_> = facts.releases.values().collect();
        by_age.sort_by_key(|stored| std::cmp::Reverse(stored.sequence));
        let older = by_age.iter().map(|stored| stored.digest).filter(|it| Some(*it) != journal.serving);
        journal.stable_releases = journal.serving.into_iter().chain(older).collect();
        journal.step = Step::Committed;
        journal.boot = Some(facts.boot.clone());
        Some(journal)
    }
}
