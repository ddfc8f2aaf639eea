//! What survives a crash, and its frozen form.

use trimaran_model::assignment::{HostAction, HostGoal};
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence};
use trimaran_model::limits;
use trimaran_model::release::{HostRelease, Release, ReleaseWorkload};
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::common::{digests, reason_code};
use trimaran_wire::v1::journal::{
    WireChangePart, WireHostFailure, WireHostJournal, WireHostStep, WireLaunch, WireStoredRelease,
};

use super::call::{HostFailure, Launch, StoredRelease};

/// The persisted part; stored as [`WireHostJournal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    pub goal: HostGoal,
    pub step: Step,
    /// Why the goal failed.
    pub failure: Option<HostFailure>,
    /// The release that should run now.
    pub serving: Option<Digest>,
    /// Why the service is not healthy although it should be.
    pub service_failure: Option<HostFailure>,
    /// Releases that were verified here, newest first: the rollback targets. The first one is the release in use.
    pub stable_releases: Vec<Digest>,
    pub prepared: Option<Digest>,
    pub launch: Option<Launch>,
    pub last_launch: u64,
    pub last_sequence: u64,
    /// Restarts that the policy still counts, on the boot-time clock.
    pub restarts: Vec<Timestamp>,
    /// The boot during which this was written. `None` for whatever was ended on purpose, as by a shutdown.
    pub boot: Option<String>,
}

/// Where the machine is with its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Taken; nothing was done for it that could not be done again.
    Accepted,
    /// A `Prepare` is done.
    Prepared,
    /// The service is being changed to `to`; `reverting`: because the goal failed.
    Changing { to: Digest, reverting: bool, part: Part },
    /// What runs is being verified where it is.
    InPlace,
    /// The goal is reached; the service is watched.
    Committed,
    /// The goal failed before anything that runs was touched.
    Refused,
    /// The goal failed; what `serving` says runs, if anything.
    Failed,
    /// Everything is being ended; `broken`: because the goal failed and there is no rollback target.
    Ending { broken: bool, part: Part },
    /// Ended on purpose.
    Stopped,
}

impl Step {
    /// Whether the service is not as it was and not yet as it shall be.
    pub fn is_disruptive(self) -> bool {
        match self {
            Self::Changing { .. } | Self::Ending { .. } => true,
            Self::Accepted
            | Self::Prepared
            | Self::InPlace
            | Self::Committed
            | Self::Refused
            | Self::Failed
            | Self::Stopped => false,
        }
    }
}

/// The parts of a change, in their order but for `Verifying`: without hooks behind the start the verification belongs to
/// `Starting`. The numbers are places of hooks. An end has those up to `AfterStop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    BeforeStop(u8),
    Draining,
    Stopping,
    AfterStop(u8),
    Switching,
    BeforeStart(u8),
    Starting,
    AfterStart(u8),
    Verifying,
    AfterHealthy(u8),
    Undraining,
    /// Instead of all before `Verifying`: what runs reads its configuration anew.
    Reloading,
}

impl Part {
    /// Whether what was there before still runs, as it did.
    pub fn is_before_stop(self) -> bool {
        matches!(self, Self::BeforeStop(_) | Self::Draining)
    }

    /// Whether what was started for the change should run.
    pub fn is_after_start(self) -> bool {
        match self {
            Self::Starting
            | Self::AfterStart(_)
            | Self::Verifying
            | Self::AfterHealthy(_)
            | Self::Undraining
            | Self::Reloading => true,
            Self::BeforeStop(_)
            | Self::Draining
            | Self::Stopping
            | Self::AfterStop(_)
            | Self::Switching
            | Self::BeforeStart(_) => false,
        }
    }
}

/// The host section of a release in an order of a host.
pub fn host_release(release: &Release) -> &HostRelease {
    match &release.workload {
        ReleaseWorkload::Host(host) => host,
        ReleaseWorkload::Kubernetes(_) | ReleaseWorkload::Flink(_) => {
            unreachable!("the wire refuses orders of hosts with releases of other platforms")
        }
    }
}

impl Journal {
    /// The journal of an installation that this host has not seen before.
    pub fn new(goal: HostGoal) -> Self {
        Self {
            goal,
            step: Step::Accepted,
            failure: None,
            serving: None,
            service_failure: None,
            stable_releases: Vec::new(),
            prepared: None,
            launch: None,
            last_launch: 0,
            last_sequence: 0,
            restarts: Vec::new(),
            boot: None,
        }
    }

    /// Takes another goal where the last one was left. A goal for the same release continues; from the middle
    /// of a change another release continues directly, since what runs is neither one nor the other.
    pub(super) fn accept(&mut self, goal: &HostGoal) {
        if self.goal == *goal {
            return;
        }
        self.step = match (self.step, &goal.action) {
            (
                Step::Changing { to, reverting: false, part },
                HostAction::Apply(order) | HostAction::Restore(order),
            ) if to == order.digest => Step::Changing { to, reverting: false, part },
            (Step::Changing { part, .. }, HostAction::Apply(order) | HostAction::Restore(order)) => {
                self.serving = None;
                // What runs is being left out already; behind its stop nothing has to be.
                let part = if part.is_before_stop() { part } else { Part::Stopping };
                Step::Changing { to: order.digest, reverting: false, part }
            }
            (Step::Changing { to, .. }, HostAction::Stop { only }) if to == *only => {
                Step::Ending { broken: false, part: Part::Stopping }
            }
            _ => Step::Accepted,
        };
        self.goal = goal.clone();
        self.failure = None;
    }

    /// Where a rollback by hand leads: the newest verified release that does not run now. One that is in progress
    /// keeps its target, so that the same command again continues it.
    pub fn rollback_target(&self) -> Option<Digest> {
        if let (
            Step::Accepted | Step::InPlace | Step::Changing { reverting: false, .. },
            HostAction::Restore(order),
        ) = (self.step, &self.goal.action)
        {
            return Some(order.digest);
        }
        self.stable_releases.iter().copied().find(|stable| Some(*stable) != self.serving)
    }

    /// Remembers a verified release. One that was restored makes the ones after it no rollback target.
    pub(super) fn remember_stable(&mut self, digest: Digest) {
        if let HostAction::Restore(_) = self.goal.action
            && let Some(place) = self.stable_releases.iter().position(|stable| *stable == digest)
        {
            self.stable_releases.drain(..place);
            return;
        }
        self.stable_releases.retain(|stable| *stable != digest);
        self.stable_releases.insert(0, digest);
        self.stable_releases.truncate(limits::STABLE_RELEASES_MAX);
    }

    /// The frozen form, with a goal that waits behind this one.
    pub fn to_wire(&self, next: Option<&HostGoal>) -> WireHostJournal {
        WireHostJournal {
            goal: (&self.goal).into(),
            next: next.map(Into::into),
            step: self.step.into(),
            failure: self.failure.as_ref().map(Into::into),
            serving: self.serving.map(|digest| digest.0),
            service_failure: self.service_failure.as_ref().map(Into::into),
            stable_releases: digests(&self.stable_releases),
            prepared: self.prepared.map(|digest| digest.0),
            launch: self.launch.as_ref().map(Into::into),
            last_launch: self.last_launch,
            last_sequence: self.last_sequence,
            restarts: self.restarts.iter().map(|at| at.0).collect(),
            boot: self.boot.clone(),
        }
    }

    /// Reads the frozen form.
    pub fn from_wire(wire: WireHostJournal) -> Result<(Self, Option<HostGoal>), CodecError> {
        let journal = Self {
            goal: wire.goal.try_into()?,
            step: wire.step.into(),
            failure: wire.failure.map(TryInto::try_into).transpose()?,
            serving: wire.serving.map(Digest),
            service_failure: wire.service_failure.map(TryInto::try_into).transpose()?,
            stable_releases: wire.stable_releases.into_iter().map(Digest).collect(),
            prepared: wire.prepared.map(Digest),
            launch: wire.launch.map(TryInto::try_into).transpose()?,
            last_launch: wire.last_launch,
            last_sequence: wire.last_sequence,
            restarts: wire.restarts.into_iter().map(Timestamp).collect(),
            boot: wire.boot,
        };
        Ok((journal, wire.next.map(TryInto::try_into).transpose()?))
    }
}

impl From<Step> for WireHostStep {
    fn from(step: Step) -> Self {
        match step {
            Step::Accepted => Self::Accepted,
            Step::Prepared => Self::Prepared,
            Step::Changing { to, reverting, part } => {
                Self::Changing { to: to.0, back: reverting, part: part.into() }
            }
            Step::InPlace => Self::InPlace,
            Step::Committed => Self::Committed,
            Step::Refused => Self::Refused,
            Step::Failed => Self::Failed,
            Step::Ending { broken, part } => Self::Ending { broken, part: part.into() },
            Step::Stopped => Self::Stopped,
        }
    }
}

impl From<WireHostStep> for Step {
    fn from(wire: WireHostStep) -> Self {
        match wire {
            WireHostStep::Accepted => Self::Accepted,
            WireHostStep::Prepared => Self::Prepared,
            WireHostStep::Changing { to, back: reverting, part } => {
                Self::Changing { to: Digest(to), reverting, part: part.into() }
            }
            WireHostStep::InPlace => Self::InPlace,
            WireHostStep::Committed => Self::Committed,
            WireHostStep::Refused => Self::Refused,
            WireHostStep::Failed => Self::Failed,
            WireHostStep::Ending { broken, part } => Self::Ending { broken, part: part.into() },
            WireHostStep::Stopped => Self::Stopped,
        }
    }
}

impl From<Part> for WireChangePart {
    fn from(part: Part) -> Self {
        match part {
            Part::Stopping => Self::Stopping,
            Part::Switching => Self::Switching,
            Part::Starting => Self::Starting,
            Part::BeforeStop(n) => Self::BeforeStop(n),
            Part::Draining => Self::Draining,
            Part::AfterStop(n) => Self::AfterStop(n),
            Part::BeforeStart(n) => Self::BeforeStart(n),
            Part::AfterStart(n) => Self::AfterStart(n),
            Part::Verifying => Self::Verifying,
            Part::AfterHealthy(n) => Self::AfterHealthy(n),
            Part::Undraining => Self::Undraining,
            Part::Reloading => Self::Reloading,
        }
    }
}

impl From<WireChangePart> for Part {
    fn from(wire: WireChangePart) -> Self {
        match wire {
            WireChangePart::Stopping => Self::Stopping,
            WireChangePart::Switching => Self::Switching,
            WireChangePart::Starting => Self::Starting,
            WireChangePart::BeforeStop(n) => Self::BeforeStop(n),
            WireChangePart::Draining => Self::Draining,
            WireChangePart::AfterStop(n) => Self::AfterStop(n),
            WireChangePart::BeforeStart(n) => Self::BeforeStart(n),
            WireChangePart::AfterStart(n) => Self::AfterStart(n),
            WireChangePart::Verifying => Self::Verifying,
            WireChangePart::AfterHealthy(n) => Self::AfterHealthy(n),
            WireChangePart::Undraining => Self::Undraining,
            WireChangePart::Reloading => Self::Reloading,
        }
    }
}

impl From<&HostFailure> for WireHostFailure {
    fn from(failure: &HostFailure) -> Self {
        Self { code: failure.code.as_str().to_owned(), message: failure.message.clone() }
    }
}

impl TryFrom<WireHostFailure> for HostFailure {
    type Error = CodecError;
    fn try_from(wire: WireHostFailure) -> Result<Self, CodecError> {
        Ok(Self { code: reason_code(&wire.code)?, message: wire.message })
    }
}

impl From<&Launch> for WireLaunch {
    fn from(launch: &Launch) -> Self {
        Self {
            number: launch.number,
            digest: launch.digest.0,
            run: (&launch.run).into(),
            attempt: launch.attempt.0,
        }
    }
}

impl TryFrom<WireLaunch> for Launch {
    type Error = CodecError;
    fn try_from(wire: WireLaunch) -> Result<Self, CodecError> {
        Ok(Self {
            number: wire.number,
            digest: Digest(wire.digest),
            run: wire.run.try_into()?,
            attempt: Attempt(wire.attempt),
        })
    }
}

impl From<&StoredRelease> for WireStoredRelease {
    fn from(stored: &StoredRelease) -> Self {
        Self {
            sequence: stored.sequence,
            digest: stored.digest.0,
            fence: stored.fence.0,
            assignment: stored.assignment.0,
            release: (&stored.release).into(),
        }
    }
}

impl TryFrom<WireStoredRelease> for StoredRelease {
    type Error = CodecError;
    fn try_from(wire: WireStoredRelease) -> Result<Self, CodecError> {
        Ok(Self {
            sequence: wire.sequence,
            digest: Digest(wire.digest),
            fence: Fence(wire.fence),
            assignment: AssignmentId(wire.assignment),
            release: wire.release.try_into()?,
        })
    }
}
