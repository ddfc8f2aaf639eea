//! Installations: one workload on one target, and the rules by which its fields change together.

use trimaran_model::action::{Commit, Failure};
use trimaran_model::id::{
    AgentName, AssignmentId, Digest, EnvironmentName, Fence, HostName, InstallationId, RunId, StageName,
};
use trimaran_model::limits::ENDED_ASSIGNMENTS_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_model::verdict::Verdict;
use trimaran_model::why::Why;

/// How many releases an installation remembers as stable.
const STABLE_MAX: usize = 5;

/// Stable releases that are kept whole beside what runs and what is being deployed.
const STABLE_KEPT: usize = 2;

/// One workload on one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    pub id: InstallationId,
    pub environment: EnvironmentName,
    /// What the last successful stage deployed, by which run, since when.
    pub current: Option<Digest>,
    pub run: Option<RunId>,
    pub since: WallTime,
    /// Releases that were healthy and baked, the last one first.
    pub stable_releases: Vec<Digest>,
    /// What ran healthy before `current`, baked or not: better than nothing when there is no stable release.
    pub previous: Option<Digest>,
    /// Until when, in cluster time, a failure of `current` still goes back.
    pub bake_until: Option<Timestamp>,
    pub assignment: Option<AssignmentId>,
    /// The largest that was assigned here.
    pub fence: Fence,
    /// Assignments that ended, the last one at the end, so that a repeated result gets its answer again.
    pub ended: Vec<EndedAssignment>,
    pub health: Verdict,
    pub failure: Option<Failure>,
    pub desired: u32,
    /// Hosts on the release of the last assignment: `current`, or with `mixed` the one that it names.
    pub updated: u32,
    /// Instances that do not serve, by the agent's last verdict.
    pub down: u32,
    /// Of the same verdict: hosts of the target that are not out of it,
    pub members: u32,
    /// those whose runner is not connected,
    pub lost: u32,
    /// those that have another release,
    pub diverged: u32,
    /// ends of processes since the release was installed, and the last of them,
    pub crashes: u32,
    pub crash: Option<Failure>,
    /// and hosts that people should know of.
    pub findings: Vec<HostFinding>,
    /// Since when its agent can't see the platform: `health` is `unknown`, and what else is said is as old.
    pub blind_since: Option<WallTime>,
    /// While a stage works here: by what the agent said last, or before the stage began, no host is degraded, and no
    /// work since has failed. What the health becomes when the stage ends in mid-wave.
    pub was_healthy: bool,
    /// Some hosts have another release than `current`.
    pub mixed: Option<Mixed>,
    /// The last commit of its assignments, opaque: handed to the next one, which knows by its number whose it is.
    pub committed: Option<Commit>,
}

/// A host that is not as its target wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFinding {
    pub host: HostName,
    pub code: ReasonCode,
    pub message: String,
    pub since: WallTime,
}

/// Whether a finding is kept beside this health: what is healthy has none but an edit by someone else.
pub fn is_finding(health: Verdict, code: ReasonCode) -> bool {
    health != Verdict::Healthy || code == ReasonCode::Diverged
}

/// What the hosts that are not on `current` have, because the run that deployed it ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixed {
    pub run: RunId,
    pub stage: StageName,
    pub release: Digest,
    /// How many have it.
    pub hosts: u32,
    /// Why the stage ended.
    pub cause: Option<Why>,
}

/// What a verdict "healthy" means for an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenHealthy {
    /// It is healthy.
    Healthy,
    /// It is not yet, but would be if its stage ended now.
    Noted,
    /// Nothing new, or nothing is there that could be healthy.
    Nothing,
}

/// An assignment that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAssignment {
    pub agent: AgentName,
    pub assignment: AssignmentId,
    pub fence: Fence,
    /// Its result was applied; otherwise a larger fence superseded it.
    pub applied: bool,
}

impl Installation {
    /// Nothing was deployed yet.
    pub(crate) fn new(id: InstallationId, environment: EnvironmentName, now: WallTime) -> Self {
        Self {
            id,
            environment,
            current: None,
            run: None,
            since: now,
            stable_releases: Vec::new(),
            previous: None,
            bake_until: None,
            assignment: None,
            fence: Fence::default(),
            ended: Vec::new(),
            health: Verdict::Missing,
            failure: None,
            desired: 0,
            updated: 0,
            down: 0,
            members: 0,
            lost: 0,
            diverged: 0,
            crashes: 0,
            crash: None,
            findings: Vec::new(),
            blind_since: None,
            was_healthy: false,
            mixed: None,
            committed: None,
        }
    }

    /// Where a new release goes back to when it fails: the last stable one, or without any what runs healthy now. To
    /// stop a service that was healthy would be worse than to go back to a release in its bake.
    pub fn rollback_target(&self) -> Option<Digest> {
        let healthy = self.health == Verdict::Healthy;
        self.stable_releases.first().copied().or(self.current.filter(|_| healthy))
    }

    /// Where what runs now goes back to: the last stable release that it is not, or without any what ran healthy
    /// before it.
    pub fn previous_stable(&self) -> Option<Digest> {
        let other = |digest: &Digest| Some(*digest) != self.current;
        self.stable_releases.iter().copied().find(other).or(self.previous.filter(other))
    }

    /// Whether a stage stands between two waves, where it says how far it is, and not the hosts. A stage that paused
    /// before it changed a host says nothing of what runs there.
    fn is_between_waves(&self) -> bool {
        self.health == Verdict::Progressing && self.updated > 0 && self.updated < self.desired
    }

    /// Releases that a rollback may need: what runs, and where it can go back to.
    pub fn retained(&self) -> impl Iterator<Item = Digest> {
        let stable = self.stable_releases.iter().take(STABLE_KEPT).copied();
        stable.chain(self.current).chain(self.previous)
    }

    /// What it means here that no host is degraded and `down` of them are down.
    pub fn when_healthy(&self, down: u32) -> WhenHealthy {
        if self.is_between_waves() && self.assignment.is_none() {
            let known = self.was_healthy == (down == 0) && self.down == down.min(self.desired);
            return if known { WhenHealthy::Nothing } else { WhenHealthy::Noted };
        }
        match !self.is_between_waves() && (self.current.is_some() || self.mixed.is_some()) {
            true => WhenHealthy::Healthy,
            false => WhenHealthy::Nothing,
        }
    }

    /// Between two waves: how the hosts are counts when the stage ends here.
    pub(crate) fn note_healthy(&mut self, down: u32) {
        (self.was_healthy, self.down) = (down == 0, down.min(self.desired));
    }

    /// Work of an assignment ended, and left its hosts in an order that is known, or did not.
    pub(crate) fn end_work(&mut self, is_sure: bool) {
        self.was_healthy &= is_sure;
    }

    /// An attempt begins or goes on: a release that still bakes here is replaced and never becomes stable.
    pub(crate) fn begin(&mut self, environment: &EnvironmentName, hosts: u32) {
        self.was_healthy = match self.health {
            Verdict::Healthy => true,
            Verdict::Progressing => self.was_healthy,
            // Where nothing is, nothing is degraded.
            Verdict::Missing => self.current.is_none(),
            Verdict::Degraded | Verdict::Suspended | Verdict::Unknown => false,
        };
        self.environment = environment.clone();
        (self.health, self.failure, self.blind_since) = (Verdict::Progressing, None, None);
        (self.bake_until, self.desired, self.updated, self.down) = (None, hosts, 0, 0);
        (self.crashes, self.crash) = (0, None);
    }

    /// It has one live assignment at most, and each has a larger fence than all before.
    pub(crate) fn assign(&mut self, assignment: AssignmentId, fence: Fence) {
        self.assignment = Some(assignment);
        self.fence = fence;
    }

    /// Its assignment ended.
    pub(crate) fn release_assignment(&mut self, ended: EndedAssignment) {
        self.assignment = self.assignment.filter(|live| *live != ended.assignment);
        self.ended.push(ended);
        if self.ended.len() > ENDED_ASSIGNMENTS_MAX {
            self.ended.remove(0);
        }
    }

    /// `release` runs on all hosts but for those that failed within the budget, `updated` of them. What comes
    /// next, a bake or being stable, follows at once.
    pub(crate) fn install(&mut self, release: Digest, run: &RunId, updated: u32, now: WallTime) {
        if self.current != Some(release) {
            self.since = now;
        }
        (self.current, self.run) = (Some(release), Some(run.clone()));
        (self.health, self.failure, self.mixed) = (Verdict::Healthy, None, None);
        self.blind_since = None;
        (self.bake_until, self.updated) = (None, updated.min(self.desired));
    }

    /// Puts a release first among the stable ones; its bake is over.
    pub(crate) fn mark_stable(&mut self, release: Digest) {
        self.bake_until = None;
        self.forget_stable(Some(release));
        self.stable_releases.insert(0, release);
        self.stable_releases.truncate(STABLE_MAX);
    }

    /// No later rollback leads to this release.
    pub(crate) fn forget_stable(&mut self, release: Option<Digest>) {
        self.stable_releases.retain(|stable| Some(*stable) != release);
    }

    /// What stayed healthy to the end of its bake is stable; anything else is not, and its bake is over too.
    pub(crate) fn end_bake(&mut self) {
        match self.current.filter(|_| self.health == Verdict::Healthy) {
            Some(current) => self.mark_stable(current),
            None => self.bake_until = None,
        }
    }

    /// Nothing runs any more, because there was nothing to go back to from `left`.
    pub(crate) fn stop(&mut self, left: Digest) {
        (self.current, self.run, self.bake_until, self.mixed) = (None, None, None, None);
        (self.updated, self.down, self.health, self.blind_since) = (0, 0, Verdict::Missing, None);
        self.forget_stable(Some(left));
    }

    /// A release failed that nothing was before, and what of it still serves is kept.
    pub(crate) fn keep(&mut self, release: Digest, run: &RunId, now: WallTime) {
        let failure = self.failure.take();
        self.install(release, run, self.updated, now);
        (self.health, self.failure) = (Verdict::Degraded, failure);
    }

    pub(crate) fn degrade(&mut self, failure: &Failure) {
        (self.health, self.failure) = (Verdict::Degraded, Some(failure.clone()));
    }

    /// Its stage ended and nothing brings the earlier release back: `hosts` of it have what `mixed` says. `failed`
    /// hosts of it are forgiven by the strategy of the stage, which is over.
    pub(crate) fn leave_partial(&mut self, mixed: Mixed, failed: usize) {
        if mixed.hosts > 0 && self.current != Some(mixed.release) {
            self.mixed = Some(mixed);
        }
        self.updated = match &self.mixed {
            Some(mixed) => mixed.hosts,
            None if self.current.is_some() => self.desired,
            None => 0,
        };
        if self.current.is_none() && self.mixed.is_none() && self.failure.is_none() {
            self.health = Verdict::Missing;
        }
        self.end_work(failed == 0);
        self.stop_progressing();
    }

    /// Nothing works on it any more: it is as its hosts were last known to be, or its agent has yet to say how it is.
    pub(crate) fn stop_progressing(&mut self) {
        if self.health == Verdict::Progressing {
            self.health = if self.was_healthy { Verdict::Healthy } else { Verdict::Unknown };
        }
    }
}
