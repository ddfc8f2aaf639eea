//! The disruptive part: stop, switch, start, verify, commit, and the rollback.

use trimaran_agent_core::driver::Guard;
use trimaran_model::assignment::HostAction;
use trimaran_model::id::Digest;
use trimaran_model::limits;
use trimaran_model::pipeline::{Stop, StopSignal};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};

use super::call::{Call, HostFailure, Launch, Reply};
use super::driver::Transition;
use super::journal::{Part, Step, host_release};
use super::phase::Operation;

impl Transition<'_> {
    pub(super) fn begin_change(&mut self, to: Digest, reverting: bool) {
        self.journal.serving = None;
        self.journal.service_failure = None;
        self.volatile.restart_at = None;
        self.volatile.deadline = None;
        self.volatile.change_warning = None;
        // A release that failed before it took part has nothing to be left out of.
        let part = if reverting { Part::Stopping } else { self.first_part() };
        self.enter(Step::Changing { to, reverting, part });
    }

    /// The next operation of a change. Each part may be repeated.
    pub(super) fn change(&mut self, to: Digest, part: Part) {
        if self.volatile.service_call.is_some() {
            return;
        }
        if !self.volatile.slot {
            return self.acquire_slot();
        }
        match part {
            Part::BeforeStop(_) | Part::Draining | Part::Stopping if self.on_host(to).is_none() => {
                let message = format!("release {} is not on this host any more", to.short());
                self.change_failed(HostFailure::new(ReasonCode::NothingToRestore, message));
            }
            Part::Stopping => self.stop(None),
            Part::Switching => self.switch(to),
            Part::Starting if !self.is_current(to) => self.switch(to),
            Part::Starting if self.volatile.process.is_none() => self.start(to),
            // Verified by probes.
            Part::Starting | Part::Verifying => {}
            Part::BeforeStart(_) | Part::Reloading if !self.is_current(to) => self.switch(to),
            Part::BeforeStop(_)
            | Part::Draining
            | Part::AfterStop(_)
            | Part::BeforeStart(_)
            | Part::AfterStart(_)
            | Part::AfterHealthy(_)
            | Part::Undraining
            | Part::Reloading => self.run_part(part),
        }
    }

    fn is_current(&self, digest: Digest) -> bool {
        self.volatile.observation.as_ref().is_some_and(|observation| observation.current == Some(digest))
    }

    pub(super) fn stop(&mut self, except: Option<u64>) {
        let running = self.journal.launch.as_ref().and_then(|launch| self.on_host(launch.digest));
        let stop = match running {
            Some(release) => host_release(release).process.stop.clone(),
            None => Stop { signal: StopSignal::Term, grace: Millis::seconds(10) },
        };
        let deadline = Millis(stop.grace.0 + limits::HOST_CALL.0);
        self.begin_operation(
            Operation::Stop,
            Call::Stop { stop, except },
            deadline,
            Guard::Idempotent("stop".to_owned()),
        );
    }

    pub(super) fn switch(&mut self, to: Digest) {
        let guard = Guard::Idempotent(to.to_string());
        self.begin_operation(Operation::Switch, Call::Switch { to }, limits::HOST_CALL, guard);
    }

    fn start(&mut self, to: Digest) {
        let launch = self.journal.launch.clone().filter(|launch| launch.digest == to);
        let (Some(launch), Some(release)) = (launch, self.on_host(to).cloned()) else {
            let message = format!("release {} is not on this host any more", to.short());
            return self.change_failed(HostFailure::new(ReasonCode::StartFailed, message));
        };
        let guard = Guard::Idempotent(launch.number.to_string());
        self.begin_operation(Operation::Start, Call::Start { launch, release }, limits::HOST_START, guard);
    }

    /// A start gets its number, which is persisted, before it is made.
    pub(super) fn new_launch(&mut self, digest: Digest) {
        self.journal.last_launch += 1;
        self.journal.launch = Some(Launch::new(self.journal.last_launch, digest, &self.journal.goal));
    }

    pub(super) fn stopped(&mut self, reply: Reply) {
        self.volatile.orphans = false;
        if let Reply::Failed(failure) = reply {
            return self.stop_failed(failure);
        }
        match self.journal.step {
            Step::Changing { part: Part::Stopping, .. } | Step::Ending { part: Part::Stopping, .. } => {
                self.forget_process();
                let part = if self.goes_back_to_what_ran() { Part::Switching } else { Part::AfterStop(0) };
                self.enter_part(self.present_part(part));
            }
            // Processes of earlier services were ended.
            Step::Changing { .. }
            | Step::Ending { .. }
            | Step::Accepted
            | Step::Prepared
            | Step::InPlace
            | Step::Committed
            | Step::Refused
            | Step::Failed
            | Step::Stopped => {}
        }
    }

    /// A process that can't be ended holds the service where it is: nothing may be started beside it.
    fn stop_failed(&mut self, failure: HostFailure) {
        if !self.journal.step.is_disruptive() {
            self.volatile.repair_failed = true;
            return;
        }
        self.journal.serving = self.journal.launch.as_ref().map(|launch| launch.digest);
        self.journal.service_failure = Some(failure.clone());
        self.journal.failure = Some(failure);
        self.enter(Step::Failed);
    }

    pub(super) fn switched(&mut self, reply: Reply) {
        if let Reply::Failed(failure) = reply {
            match self.journal.step {
                Step::Changing { .. } => self.change_failed(failure),
                _ => self.volatile.repair_failed = true,
            }
            return;
        }
        let to = match self.journal.step {
            Step::Changing { to, .. } => Some(to),
            _ => self.journal.serving,
        };
        if let Some(observation) = &mut self.volatile.observation {
            observation.current = to;
        }
        if let Step::Changing { to, reverting, part: Part::Switching } = self.journal.step {
            // What another release used up says nothing of this one.
            self.journal.restarts.clear();
            self.new_launch(to);
            self.journal.serving = Some(to);
            let part = self.present_part(Part::BeforeStart(0));
            self.enter(Step::Changing { to, reverting, part });
        }
    }

    pub(super) fn started(&mut self, reply: Reply) {
        match reply {
            Reply::Started(started) => self.verify_started(started),
            Reply::Failed(failure) => self.change_failed(failure),
            _ => self.change_failed(HostFailure::new(
                ReasonCode::HostInternal,
                "the host answered another question",
            )),
        }
    }

    fn verify_started(&mut self, started: Timestamp) {
        self.has_process(started);
        if self.has_hooks_behind_start() {
            return self.enter_part(Part::AfterStart(0));
        }
        self.begin_verification(started);
    }

    /// The service was healthy for as long as it has to be.
    pub(super) fn verified(&mut self) {
        self.volatile.deadline = None;
        self.journal.service_failure = None;
        match self.journal.step {
            Step::Changing { .. } => match self.present_part(Part::AfterHealthy(0)) {
                Part::Undraining if !self.has_undrain() => self.change_done(),
                part => self.enter_part(part),
            },
            Step::InPlace => match self.journal.goal.action.clone() {
                HostAction::Apply(order) | HostAction::Restore(order) => self.commit(order.digest),
                HostAction::Prepare(_)
                | HostAction::Stop { .. }
                | HostAction::Verify
                | HostAction::Restart => {
                    self.enter(Step::Committed);
                }
            },
            _ => {}
        }
    }

    /// The change has come to its end.
    pub(super) fn change_done(&mut self) {
        match self.journal.step {
            Step::Changing { to, reverting: false, .. } => self.commit(to),
            _ => self.enter(Step::Failed),
        }
    }

    fn commit(&mut self, digest: Digest) {
        self.journal.remember_stable(digest);
        self.journal.failure = None;
        self.volatile.garbage_collected = false;
        self.enter(Step::Committed);
    }

    /// The first cause ends a verification.
    pub(super) fn verify_failed(&mut self, failure: HostFailure) {
        self.volatile.deadline = None;
        match (self.journal.step, &self.journal.goal.action) {
            (Step::InPlace, HostAction::Apply(_) | HostAction::Restore(_)) => {
                // It was running before; a new start is tried before anything is given up.
                self.journal.service_failure = Some(failure);
                self.enter(Step::Accepted);
            }
            (Step::InPlace, _) => {
                self.enter(Step::Committed);
                self.service_down(failure);
            }
            _ => self.change_failed(failure),
        }
    }

    /// Goes back to the last release that was verified here, if there is one and this was not the rollback.
    pub(super) fn change_failed(&mut self, failure: HostFailure) {
        let Step::Changing { to, reverting, part } = self.journal.step else { return };
        self.volatile.deadline = None;
        self.volatile.garbage_collected = false;
        if reverting {
            return self.revert_failed(to, failure);
        }
        self.journal.failure = Some(failure.clone());
        match self.journal.stable_releases.first().copied() {
            Some(stable) if stable != to && self.on_host(stable).is_some() => {
                let took_part = part == Part::Undraining;
                self.begin_change(stable, true);
                if took_part {
                    self.enter_part(self.present_part(Part::Draining));
                }
            }
            Some(stable) if stable == to => {
                self.enter(Step::Failed);
                self.service_down(failure);
            }
            _ => {
                self.journal.serving = None;
                self.enter(Step::Ending { broken: true, part: Part::Stopping });
            }
        }
    }

    /// Nothing is left to go back to. What was verified before stays and is watched.
    fn revert_failed(&mut self, to: Digest, second: HostFailure) {
        let first = self.journal.failure.take();
        let cause = first.map_or_else(String::new, |it| format!("{}: {}; ", it.code.as_str(), it.message));
        let message = format!("{cause}then the rollback to {} failed: {}", to.short(), second.message);
        self.journal.failure = Some(HostFailure::new(ReasonCode::RevertFailed, message));
        self.journal.serving = self.on_host(to).is_some().then_some(to);
        self.enter(Step::Failed);
        self.service_down(second);
    }

    /// Ends every process of the installation.
    pub(super) fn end_everything(&mut self, part: Part) {
        if self.volatile.service_call.is_some() {
            return;
        }
        if !self.volatile.slot {
            return self.acquire_slot();
        }
        match part {
            Part::BeforeStop(_) | Part::Draining | Part::AfterStop(_) => self.run_part(part),
            Part::Stopping => self.stop(None),
            Part::Switching
            | Part::BeforeStart(_)
            | Part::Starting
            | Part::AfterStart(_)
            | Part::Verifying
            | Part::AfterHealthy(_)
            | Part::Undraining
            | Part::Reloading => unreachable!("an end starts nothing"),
        }
    }

    pub(super) fn ended(&mut self, broken: bool) {
        self.journal.serving = None;
        self.volatile.garbage_collected = false;
        if broken {
            return self.enter(Step::Failed);
        }
        if let HostAction::Stop { only } = self.journal.goal.action {
            self.journal.stable_releases.retain(|stable| *stable != only);
        }
        self.enter(Step::Stopped);
    }
}
