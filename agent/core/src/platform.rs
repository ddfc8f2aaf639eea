//! The seam between the executor's outputs and the outside: what performs calls, watches, observations and queries on
//! one target.
//!
//! How a platform joins: a driver core implements [`Driver`] with `Order = Assignment` and says by
//! [`Driver::accepts`] which orders are its own; its I/O implements [`Platform`], one value a target, and [`Connect`],
//! which makes that value from the target's settings. The daemon adds both to its list of drivers
//! (`agent/daemon/src/agent/drivers.rs`), and `tests/conformance` runs its suite over a model of the platform. Neither
//! the executor nor the loop changes.
//!
//! Invariants that every platform keeps:
//! - a call asks its [`Permit`] directly before bytes leave, and answers `Unmade` when that does not allow it;
//! - a watch shows what is there at first and then each change, until it is dropped; only the latest snapshot of a
//!   key counts, so a slow reader misses states and never the last one;
//! - an observer judges what runs and changes nothing, also while no order exists; it says since when it is blind
//!   instead of judging what it can't see;
//! - a query changes nothing and needs no fence;
//! - no future blocks its thread: others run on it.
//!
//! Deliberately not here: deadlines, concurrency and queues, which whoever drives a platform keeps for each target.

use std::collections::BTreeSet;
use std::future::Future;

use trimaran_model::action::{Commit, Failure};
use trimaran_model::assignment::{Assignment, HostStanding};
use trimaran_model::id::{Digest, Fence, HostName, InstallationId, InstanceName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::Target;
use trimaran_model::time::Timestamp;
use trimaran_model::verdict::Verdict;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::agent::WireStanding;
use trimaran_wire::v1::runner::{LogLines, LogQuery, RunningRelease};

use crate::driver::Driver;
use crate::lease::Permit;

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<R> {
    Reply(R),
    /// Whether it had its effect is not known.
    Lost,
    /// It was not sent.
    Unmade,
}

impl<R> Answer<R> {
    pub fn map<R2>(self, reply_of: impl FnOnce(R) -> R2) -> Answer<R2> {
        match self {
            Self::Reply(reply) => Answer::Reply(reply_of(reply)),
            Self::Lost => Answer::Lost,
            Self::Unmade => Answer::Unmade,
        }
    }
}

/// Where a watch puts what it sees.
pub trait SnapshotSink<S>: Clone + Send + Sync + 'static {
    /// Replaces the snapshot of the same key that was not read yet. A platform that shows the whole at once uses one
    /// key.
    fn show(&self, key: &str, snapshot: S);
}

/// An installation of a target and what should run there by the coordinators' last word: what an observer's evidence is
/// bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub installation: InstallationId,
    /// The largest fence of the installation.
    pub fence: Fence,
    /// The release that is current; `None`: nothing should run.
    pub release: Option<Digest>,
    /// Releases that a rollback may need; the current one is among them.
    pub retained: BTreeSet<Digest>,
    /// The last commit of the installation's assignments: what the driver must not forget of what runs.
    pub committed: Option<Commit>,
    /// On hosts: what they are measured against, and what those get that lack it.
    pub hosts: Option<HostStanding>,
}

impl From<&Standing> for WireStanding {
    fn from(standing: &Standing) -> Self {
        Self {
            installation: (&standing.installation).into(),
            fence: standing.fence.0,
            release: standing.release.map(|digest| digest.0),
            retained: standing.retained.iter().map(|digest| digest.0).collect(),
            committed: standing.committed.as_ref().map(Into::into),
            hosts: standing.hosts.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<WireStanding> for Standing {
    type Error = CodecError;
    fn try_from(wire: WireStanding) -> Result<Self, CodecError> {
        Ok(Self {
            installation: wire.installation.try_into()?,
            fence: Fence(wire.fence),
            release: wire.release.map(Digest),
            retained: wire.retained.into_iter().map(Digest).collect(),
            committed: wire.committed.map(Into::into),
            hosts: wire.hosts.map(TryInto::try_into).transpose()?,
        })
    }
}

/// What an observer finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgment {
    pub verdict: Verdict,
    /// The first cause, when something is down.
    pub failure: Option<Failure>,
    /// Instances that are not healthy.
    pub down: u32,
    /// Since when the platform can't be seen, on the clock of `Executor::step`: what is said above is as old.
    pub blind_since: Option<Timestamp>,
}

/// Where an observer puts its judgments. Only the latest of an installation counts.
pub trait JudgmentSink: Clone + Send + Sync + 'static {
    fn judge(&self, judgment: Judgment);
}

/// A question without effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// What this order would change. `content`: what its release names by digest; it is not among what the coordinators
    /// have for this agent.
    Plan { order: Box<Assignment>, content: Option<Vec<u8>> },
    /// Output of these instances, or of all when none is named. `previous`: of the process before the one that runs.
    Logs { instances: Vec<InstanceName>, previous: bool, query: LogQuery },
    /// The public key to which secrets of this target are sealed.
    SealingKey,
    /// Which release of an installation is on these hosts.
    Running { installation: InstallationId, hosts: Vec<HostName> },
}

/// A part of an answer, small enough for one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Lines of a difference, in order.
    Plan(Vec<String>),
    Logs(LogLines),
    SealingKey(Vec<u8>),
    /// One host's.
    Running(RunningRelease),
}

/// No one reads the answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no one reads the answer any more")]
pub struct Unread;

/// Takes the parts of an answer one after the other: a slow reader slows the platform down.
pub trait PartSink: Clone + Send + Sync + 'static {
    fn put(&self, part: Part) -> impl Future<Output = Result<(), Unread>> + Send;
}

/// Why a platform does not answer, or can't be connected to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PlatformError {
    pub code: ReasonCode,
    /// In the platform's words where there are any.
    pub message: String,
}

/// The I/O of one driver on one target.
pub trait Platform<D: Driver>: Send + Sync + 'static {
    /// Performs one call. Dropped at its deadline.
    fn call(&self, call: D::Call, permit: Permit) -> impl Future<Output = Answer<D::Reply>> + Send;

    /// Watches until it is dropped.
    fn watch(&self, query: D::Query, sink: impl SnapshotSink<D::Snapshot>)
    -> impl Future<Output = ()> + Send;

    /// Judges an installation on which nothing works, until it is dropped.
    fn observe(&self, standing: Standing, sink: impl JudgmentSink) -> impl Future<Output = ()> + Send;

    /// Answers in parts; an error comes instead of what is missing.
    fn query(
        &self,
        question: Question,
        answer: impl PartSink,
    ) -> impl Future<Output = Result<(), PlatformError>> + Send;
}

/// Makes the platforms of targets. What several targets share (a client, a cache of one cluster) it keeps itself.
pub trait Connect<D: Driver>: Send + Sync + 'static {
    type Platform: Platform<D>;

    /// The platform of a target, at once: connections are made with the first call. `None`: not a target for this
    /// driver.
    fn connect(&self, target: &Target) -> Option<Result<Self::Platform, PlatformError>>;
}
