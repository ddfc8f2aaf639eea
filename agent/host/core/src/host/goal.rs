//! From an accepted goal to the point where the service may be touched.

use trimaran_agent_core::driver::Guard;
use trimaran_model::assignment::{HostAction, HostOrder};
use trimaran_model::id::Digest;
use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;

use super::call::{CacheRetention, Call, HostFailure, ProcessStatus, Reply, StoredRelease};
use super::driver::Transition;
use super::journal::{Step, host_release};
use super::phase::Operation;

impl Transition<'_> {
    /// The next operation for a goal that has touched nothing yet.
    pub(super) fn pursue(&mut self) {
        match self.journal.goal.action.clone() {
            HostAction::Prepare(order) => {
                if self.obtain(&order) {
                    self.enter(Step::Prepared);
                }
            }
            HostAction::Apply(order) | HostAction::Restore(order) => {
                if self.runs_well(order.digest) {
                    self.verify_in_place();
                } else if self.obtain(&order) {
                    self.approach_change(&order);
                }
            }
            HostAction::Stop { only } => self.pursue_stop(only),
            HostAction::Verify => self.pursue_verify(),
            HostAction::Restart => self.pursue_restart(),
        }
    }

    fn runs_well(&self, digest: Digest) -> bool {
        self.journal.serving == Some(digest)
            && self.volatile.process.is_some()
            && self.journal.service_failure.is_none()
    }

    fn verify_in_place(&mut self) {
        self.enter(Step::InPlace);
        self.begin_verification(self.now);
    }

    /// Whether the release is on the host; otherwise asks for the next thing that is missing.
    fn obtain(&mut self, order: &HostOrder) -> bool {
        if self.on_host(order.digest).is_some() {
            self.journal.prepared = Some(order.digest);
            return true;
        }
        if !self.volatile.fetched {
            let artifact = host_release(&order.release).bundle.clone();
            let guard = Guard::Idempotent(artifact.sha256.to_string());
            // A fetch keeps its own time and says more of where that went.
            let deadline = Millis(limits::HOST_FETCH.0 + limits::HOST_CALL.0);
            self.begin_operation(Operation::Fetch, Call::Fetch { artifact }, deadline, guard);
            return false;
        }
        self.journal.last_sequence += 1;
        self.persist();
        let stored = self.to_store(order);
        let guard = Guard::Idempotent(order.digest.to_string());
        self.begin_operation(Operation::Unpack, Call::Unpack(stored), limits::HOST_UNPACK, guard);
        false
    }

    fn to_store(&self, order: &HostOrder) -> StoredRelease {
        StoredRelease {
            sequence: self.journal.last_sequence,
            digest: order.digest,
            fence: self.journal.goal.fence,
            assignment: self.journal.goal.assignment,
            release: order.release.clone(),
        }
    }

    /// Everything is there: acquires the host's disruption slot, checks what the release needs of it, then begins.
    fn approach_change(&mut self, order: &HostOrder) {
        if self.volatile.service_call.is_some() {
            return;
        }
        // A rollback is in a hurry: it does not ask.
        let reloads = self.reloads_to(order.digest);
        let asks = !reloads && matches!(self.journal.goal.action, HostAction::Apply(_));
        if asks && !self.stop_is_allowed() {
            return;
        }
        if !self.volatile.slot {
            return self.acquire_slot();
        }
        if !self.volatile.preflight_passed {
            let call = Call::Preflight { digest: order.digest, release: order.release.clone() };
            return self.begin_operation(Operation::Preflight, call, limits::HOST_CALL, Guard::Read);
        }
        if reloads {
            return self.begin_reload(order.digest);
        }
        self.begin_change(order.digest, false);
    }

    pub(super) fn acquire_slot(&mut self) {
        self.begin_operation(
            Operation::AcquireSlot,
            Call::AcquireSlot,
            limits::HOST_SLOT_TIMEOUT,
            Guard::Read,
        );
    }

    fn pursue_stop(&mut self, only: Digest) {
        let current = self.volatile.observation.as_ref().and_then(|observation| observation.current);
        let serving = self.journal.serving;
        if serving != Some(only) && (serving.is_some() || current != Some(only)) {
            // Something else runs, or nothing: there is nothing to end.
            let step = if serving.is_some() { Step::Committed } else { Step::Stopped };
            return self.enter(step);
        }
        if self.volatile.service_call.is_some() || !self.stop_is_allowed() {
            return;
        }
        if !self.volatile.slot {
            return self.acquire_slot();
        }
        self.journal.serving = None;
        self.journal.service_failure = None;
        self.enter(Step::Ending { broken: false, part: self.first_part() });
    }

    fn pursue_verify(&mut self) {
        if self.journal.serving.is_none() {
            return self.enter(Step::Stopped);
        }
        if self.volatile.process.is_some() {
            return self.verify_in_place();
        }
        self.enter(Step::Committed);
    }

    /// The same release is ended and started again, as any change is; where nothing should run there is nothing to do.
    fn pursue_restart(&mut self) {
        let Some(serving) = self.journal.serving else { return self.enter(Step::Stopped) };
        if self.volatile.service_call.is_some() || !self.stop_is_allowed() {
            return;
        }
        if !self.volatile.slot {
            return self.acquire_slot();
        }
        self.begin_change(serving, false);
    }

    pub(super) fn fetched(&mut self, reply: Reply) {
        match reply {
            Reply::Failed(failure) => self.free_space_or_refuse(failure),
            _ => self.volatile.fetched = true,
        }
    }

    pub(super) fn unpacked(&mut self, reply: Reply) {
        match reply {
            Reply::Failed(failure) => self.free_space_or_refuse(failure),
            Reply::BlobGone => {
                self.volatile.fetched = false;
                self.volatile.blob_losses += 1;
                if self.volatile.blob_losses >= limits::HOST_BLOB_LOSSES_MAX {
                    let message = "the fetched artifact vanishes from the host's cache";
                    self.refuse(HostFailure::new(ReasonCode::HostInternal, message));
                }
            }
            _ => {
                let Some(order) = self.journal.goal.action.order() else { return };
                let stored = self.to_store(order);
                if let Some(observation) = &mut self.volatile.observation {
                    observation.releases.insert(stored.digest, stored);
                }
            }
        }
    }

    /// Once, a full disk is answered by removing what nothing needs.
    fn free_space_or_refuse(&mut self, failure: HostFailure) {
        if failure.code != ReasonCode::PreflightDisk || self.volatile.space_freed {
            return self.refuse(failure);
        }
        self.volatile.space_freed = true;
        let releases = self.unneeded();
        let launch = self.journal.launch.as_ref().map(|launch| launch.number);
        let bundle = self.journal.goal.action.order().map(|it| host_release(&it.release).bundle.sha256);
        let keep = CacheRetention::Only(bundle.filter(|_| self.volatile.fetched));
        let call = Call::CollectGarbage { releases, launch, keep };
        self.begin_operation(
            Operation::FreeSpace,
            call,
            limits::HOST_CALL,
            Guard::Idempotent("tidy".to_owned()),
        );
    }

    /// The goal fails; what runs was not touched.
    pub(super) fn refuse(&mut self, mut failure: HostFailure) {
        if let HostAction::Restore(_) = self.journal.goal.action
            && matches!(
                failure.code,
                ReasonCode::FetchMissing | ReasonCode::FetchUnreachable | ReasonCode::FetchTimeout
            )
        {
            failure.message = format!("the release is not on this host: {}", failure.message);
            failure.code = ReasonCode::NothingToRestore;
        }
        self.journal.failure = Some(failure);
        self.enter(Step::Refused);
    }

    /// Nothing is left to do for the goal: releases the slot, repairs what an inspection found, collects garbage.
    pub(super) fn conclude_goal(&mut self) {
        if self.volatile.slot && self.volatile.service_call.is_none() {
            self.volatile.slot = false;
            self.call(Call::ReleaseSlot, limits::HOST_CALL, Guard::Read);
        }
        if self.volatile.service_call.is_some() || self.repair() || self.volatile.garbage_collected {
            return;
        }
        let releases = self.unneeded();
        let launch = self.journal.launch.as_ref().map(|launch| launch.number);
        let call = Call::CollectGarbage { releases: releases.clone(), launch, keep: CacheRetention::Newest };
        if let Some(observation) = &mut self.volatile.observation {
            observation.releases.retain(|digest, _| !releases.contains(digest));
        }
        if self.journal.prepared.is_some_and(|prepared| releases.contains(&prepared)) {
            self.journal.prepared = None;
        }
        self.begin_operation(
            Operation::CollectGarbage,
            call,
            limits::HOST_CALL,
            Guard::Idempotent("tidy".to_owned()),
        );
    }

    /// Releases that neither run nor are rollback targets nor are wanted; the newest few are kept anyway.
    fn unneeded(&self) -> Vec<Digest> {
        let Some(observation) = &self.volatile.observation else { return Vec::new() };
        let journal = &self.journal;
        let launched = journal.launch.as_ref().map(|launch| launch.digest);
        // What was reloaded runs from the directory of an earlier release.
        let started_from = observation.processes.values().filter_map(|process| match process.status {
            ProcessStatus::Running { .. } => process.digest,
            ProcessStatus::Ended(_) | ProcessStatus::Nothing => None,
        });
        let mut needed: Vec<Digest> = [observation.current, launched, journal.prepared, journal.serving]
            .into_iter()
            .flatten()
            .chain(journal.goal.action.order().map(|order| order.digest))
            .chain(journal.stable_releases.iter().take(2).copied())
            .chain(journal.goal.retained.iter().copied())
            .chain(started_from)
            .collect();
        let mut newest_first: Vec<_> = observation.releases.values().collect();
        newest_first.sort_by_key(|stored| std::cmp::Reverse(stored.sequence));
        let mut unneeded = Vec::new();
        let held = newest_first.iter().filter(|stored| needed.contains(&stored.digest)).count();
        let mut spare = limits::RELEASES_KEPT.saturating_sub(held);
        for stored in newest_first {
            if needed.contains(&stored.digest) {
                continue;
            }
            if spare > 0 {
                spare -= 1;
                needed.push(stored.digest);
            } else {
                unneeded.push(stored.digest);
            }
        }
        unneeded
    }
}
