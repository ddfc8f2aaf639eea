//! What is done around a stop and a start: permission, hooks, drain and undrain.
//!
//! Until the stop everything is of the release that runs; what fails there leaves the service as it was, and lets it take
//! part again. Behind the stop a failure is one of the change. A part that was interrupted is done again.

use trimaran_agent_core::driver::Guard;
use trimaran_model::id::Digest;
use trimaran_model::limits;
use trimaran_model::pipeline::{HookEvent, Lifecycle};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;

use super::call::{Call, Errand, HostFailure, Launch, Reply};
use super::driver::Transition;
use super::journal::{Part, Step, host_release};
use super::phase::Operation;

impl Transition<'_> {
    /// Whether what runs may be stopped now; otherwise the service is asked, again and again until its deadline. One that
    /// is not well is not asked.
    pub(super) fn stop_is_allowed(&mut self) -> bool {
        if self.volatile.stop_allowed
            || self.volatile.process.is_none()
            || self.journal.service_failure.is_some()
        {
            return true;
        }
        let asked = self.running().and_then(|(launch, it)| Some((launch, it.may_stop?)));
        let Some((launch, rule)) = asked else { return true };
        self.volatile.stop_asked_since.get_or_insert(self.now);
        if self.volatile.stop_asked_again_at.is_none_or(|at| at <= self.now) {
            self.run(Operation::MayStop, launch, Errand::MayStop(rule.http), Guard::Read);
        }
        false
    }

    /// The service's answer: not yet, for as long as it may say so.
    pub(super) fn stop_answered(&mut self, reply: Reply) {
        let Reply::Failed(failure) = reply else {
            self.volatile.stop_allowed = true;
            return;
        };
        let Some(rule) = self.running().and_then(|(_, it)| it.may_stop) else { return };
        let since = self.volatile.stop_asked_since.unwrap_or(self.now);
        if self.now - since >= rule.deadline {
            let (deadline, last) = (rule.deadline, failure.message);
            let message =
                format!("the service did not allow its stop within {deadline}: {last} ({})", rule.http);
            return self.refuse(HostFailure::new(ReasonCode::StopVetoed, message));
        }
        self.volatile.stop_asked_again_at = Some(self.now + rule.every);
    }

    /// Whether what runs becomes the release by reading its configuration anew.
    pub(super) fn reloads_to(&self, to: Digest) -> bool {
        let serves = self.journal.serving.filter(|_| self.volatile.process.is_some());
        let is_well = self.journal.service_failure.is_none();
        let releases = serves.and_then(|serving| self.on_host(serving)).zip(self.on_host(to));
        is_well && releases.is_some_and(|(from, to)| host_release(to).is_reload_of(host_release(from)))
    }

    /// The process stays; its launch is one of the new release from now on.
    pub(super) fn begin_reload(&mut self, to: Digest) {
        if let Some(launch) = &mut self.journal.launch {
            launch.digest = to;
        }
        self.journal.serving = Some(to);
        self.volatile.deadline = None;
        self.enter(Step::Changing { to, reverting: false, part: Part::Reloading });
    }

    /// What runs, with what its release does around a change.
    fn running(&self) -> Option<(Launch, Lifecycle)> {
        let launch = self.journal.launch.clone()?;
        let lifecycle = self.lifecycle_of(launch.digest)?.clone();
        Some((launch, lifecycle))
    }

    fn lifecycle_of(&self, digest: Digest) -> Option<&Lifecycle> {
        self.on_host(digest).map(|release| &host_release(release).lifecycle)
    }

    /// Where the end of what runs begins.
    pub(super) fn first_part(&self) -> Part {
        match self.volatile.process {
            Some(_) => self.present_part(Part::BeforeStop(0)),
            None => Part::Stopping,
        }
    }

    /// `part`, or the first one behind it for which there is something to do. Until the new start this asks what was
    /// started last, behind it what is started.
    pub(super) fn present_part(&self, part: Part) -> Part {
        let launched = self.journal.launch.as_ref().and_then(|launch| self.lifecycle_of(launch.digest));
        let has = |event, place: u8| {
            launched.is_some_and(|lifecycle| lifecycle.hook(event, usize::from(place)).is_some())
        };
        match part {
            Part::BeforeStop(n) if !has(HookEvent::BeforeStop, n) => self.present_part(Part::Draining),
            Part::Draining if launched.is_none_or(|it| it.drain.is_none()) => Part::Stopping,
            Part::AfterStop(n) if !has(HookEvent::AfterStop, n) => Part::Switching,
            Part::BeforeStart(n) if !has(HookEvent::BeforeStart, n) => Part::Starting,
            Part::AfterStart(n) if !has(HookEvent::AfterStart, n) => Part::Verifying,
            Part::AfterHealthy(n) if !has(HookEvent::AfterHealthy, n) => Part::Undraining,
            part => part,
        }
    }

    /// Whether hooks run between the start and the verification.
    pub(super) fn has_hooks_behind_start(&self) -> bool {
        self.present_part(Part::AfterStart(0)) != Part::Verifying
    }

    /// Whether the release that was started is let in again somewhere.
    pub(super) fn has_undrain(&self) -> bool {
        self.running().is_some_and(|(_, lifecycle)| lifecycle.undrain().is_some())
    }

    /// Whether the rollback leads to the release that ran last, so that its stop and what follows it were done before.
    pub(super) fn goes_back_to_what_ran(&self) -> bool {
        let launched = self.journal.launch.as_ref().map(|launch| launch.digest);
        matches!(self.journal.step, Step::Changing { to, reverting: true, .. } if Some(to) == launched)
    }

    /// Does what a part besides stop, switch and start asks for.
    pub(super) fn run_part(&mut self, part: Part) {
        let reload = self.serving_release().and_then(|release| host_release(release).process.reload.clone());
        let found = self.running().and_then(|(launch, it)| match part {
            Part::Reloading => Some((launch, Errand::Reload(reload?))),
            part => Some((launch, errand(part, &it)?)),
        });
        let Some((launch, errand)) = found else { return self.part_done(part) };
        self.run(Operation::Errand(part), launch, errand, Guard::Idempotent(format!("{part:?}")));
    }

    fn run(&mut self, operation: Operation, launch: Launch, errand: Errand, guard: Guard) {
        let release = self.on_host(launch.digest).expect("what it asks for was read from it");
        let process = host_release(release).process.clone();
        let deadline = Millis(errand.limit().0 + limits::HOST_CALL.0);
        self.begin_operation(operation, Call::Run { launch, process, errand }, deadline, guard);
    }

    pub(super) fn errand_replied(&mut self, part: Part, reply: Reply) {
        let present = match self.journal.step {
            Step::Changing { part, .. } | Step::Ending { part, .. } => Some(part),
            _ => None,
        };
        if present != Some(part) {
            // The process ended beside it, and the change went another way.
            return;
        }
        match reply {
            Reply::Failed(failure) => self.errand_failed(part, failure),
            Reply::Warned(warning) => {
                self.volatile.change_warning = Some(warning);
                self.part_done(part);
            }
            _ => self.part_done(part),
        }
    }

    fn part_done(&mut self, part: Part) {
        let next = match part {
            Part::BeforeStop(n) => Part::BeforeStop(n.saturating_add(1)),
            Part::Draining => Part::Stopping,
            Part::AfterStop(n) => Part::AfterStop(n.saturating_add(1)),
            Part::BeforeStart(n) => Part::BeforeStart(n.saturating_add(1)),
            Part::AfterStart(n) => Part::AfterStart(n.saturating_add(1)),
            Part::AfterHealthy(n) => Part::AfterHealthy(n.saturating_add(1)),
            Part::Undraining => return self.change_done(),
            Part::Reloading => Part::Verifying,
            Part::Stopping | Part::Switching | Part::Starting | Part::Verifying => {
                unreachable!("these have operations of their own")
            }
        };
        self.enter_part(self.present_part(next));
    }

    /// Goes on with another part of the same change or end.
    pub(super) fn enter_part(&mut self, part: Part) {
        match self.journal.step {
            Step::Ending { broken, .. } if part == Part::Switching => self.ended(broken),
            Step::Ending { broken, .. } => self.enter(Step::Ending { broken, part }),
            Step::Changing { to, reverting, .. } => {
                self.enter(Step::Changing { to, reverting, part });
                if part == Part::Verifying {
                    self.begin_verification(self.now);
                }
            }
            _ => {}
        }
    }

    fn errand_failed(&mut self, part: Part, failure: HostFailure) {
        if part.is_before_stop() {
            return self.hold_back(part, failure);
        }
        match self.journal.step {
            Step::Ending { .. } => {
                self.journal.serving = None;
                self.journal.failure = Some(failure);
                self.enter(Step::Failed);
            }
            _ => self.change_failed(failure),
        }
    }

    /// Nothing was stopped: the service runs on, and takes part again.
    fn hold_back(&mut self, part: Part, mut failure: HostFailure) {
        failure.message = format!("nothing was stopped: {}", failure.message);
        let running = self.journal.launch.as_ref().map(|launch| launch.digest);
        self.journal.failure = Some(failure);
        self.journal.serving = running;
        self.volatile.garbage_collected = false;
        match running.filter(|_| part == Part::Draining && self.has_undrain()) {
            Some(to) => self.enter(Step::Changing { to, reverting: true, part: Part::Undraining }),
            None => self.enter(Step::Failed),
        }
    }
}

/// What a part asks of the release; `None` when that says nothing.
fn errand(part: Part, lifecycle: &Lifecycle) -> Option<Errand> {
    let hook = |event, place: u8| {
        let hook = lifecycle.hook(event, usize::from(place))?.clone();
        Some(Errand::Hook { event, hook })
    };
    match part {
        Part::BeforeStop(n) => hook(HookEvent::BeforeStop, n),
        Part::Draining => lifecycle.drain.clone().map(Errand::Drain),
        Part::AfterStop(n) => hook(HookEvent::AfterStop, n),
        Part::BeforeStart(n) => hook(HookEvent::BeforeStart, n),
        Part::AfterStart(n) => hook(HookEvent::AfterStart, n),
        Part::AfterHealthy(n) => hook(HookEvent::AfterHealthy, n),
        Part::Undraining => lifecycle.undrain().map(Errand::Undrain),
        Part::Stopping | Part::Switching | Part::Starting | Part::Verifying | Part::Reloading => None,
    }
}
