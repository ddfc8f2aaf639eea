//! The fleet loop: one assignment on the hosts of a target, as a sliding window inside of a wave.
//!
//! A fleet agent asks hosts, and each host drives its own steps alone (`host/`). This machine decides which
//! hosts are asked and when:
//! - at most `max_unavailable` hosts are down, from any cause; a host that is down already needs no slot;
//! - no more hosts than the wave's `target_count` get the release, in an order that stays the same over all waves;
//! - bytes are prepared ahead, which disturbs nothing: on all hosts of the wave at once, then on a few hosts
//!   of later waves at a time, where a failure counts only once the host is next;
//! - more failed hosts than the budget allows end the assignment; each failure is committed by the
//!   coordinators before another host is started, and a failed host is not touched again;
//! - a host that is silent, or can't by a fault of its own, is left behind; more of them than `lost_left` end the
//!   assignment as `Fault`: the stage pauses and nothing is rolled back;
//! - no host is started without a live lease; hosts in flight finish;
//! - a restart asks the hosts that run its release and no other one. A host that reports the restart's fence, or an
//!   earlier one of the same attempt, was restarted already.
//!
//! Architecture invariant: hosts are the truth. What a host says decides what it is; the memory of this machine
//! only bridges the time between an order and the host's report. A host without a report counts as down. So a
//! replacement with empty memory is safe at once and knows everything when all hosts have spoken.
//!
//! Deliberately not here: waves and gates (coordinators), disruption slots of several installations on one host and the
//! judgment of health (the host itself), sessions (the daemon).

mod condition;
mod convergence;
pub mod health;
mod host_index;
mod host_state;
mod journal;
mod left_behind;
mod order;
mod phase;
mod positions;
mod progress;
mod refresh;
mod schedule;
mod verdict;

use std::collections::BTreeSet;
use std::sync::Arc;

use trimaran_agent_core::driver::Journaled;
use trimaran_agent_core::driver::{CallId, Driver, EffectOf, Found, FoundOf, Input};
use trimaran_model::action::{Failure, Progress};
use trimaran_model::assignment::{Assignment, HostGoal, HostReport};
use trimaran_model::id::{HostName, InstallationId};
use trimaran_model::target::PlatformKind;
use trimaran_model::time::Timestamp;
use trimaran_wire::codec::CodecError;

use journal::Kept;

pub use order::in_order;
pub use phase::Phase;

/// The driver.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fleet;

/// An order for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendGoal {
    pub host: HostName,
    /// Shared by all hosts of an assignment.
    pub goal: Arc<HostGoal>,
}

/// What a host answered to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GoalAck {
    /// Durable on the host.
    Accepted,
    Refused(Failure),
}

/// What is to be watched: these hosts, and what they say of this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub installation: InstallationId,
    pub hosts: BTreeSet<HostName>,
}

/// All that is known of one host. A watch shows each host once, also one that is not there, and then each
/// change; nothing is started before. Whoever has just started gives hosts a moment to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostObservation {
    pub host: HostName,
    pub connected: bool,
    /// Since when it is connected or away, as far as this process knows.
    pub since: Timestamp,
    /// Numbers the host's sessions, 0 before the first: of two observations with different numbers the host was away in between, also when
    /// no observation showed it.
    pub session: u64,
    /// What it last said of the installation; `None`: nothing of it was ever there, or the host is unknown.
    pub report: Option<HostReport>,
}

impl Driver for Fleet {
    type Order = Assignment;
    type Phase = Phase;
    type Call = SendGoal;
    type Reply = GoalAck;
    type Snapshot = HostObservation;
    type Query = Watched;
    type Progress = Progress;

    fn begin(
        &self,
        now: Timestamp,
        order: &Assignment,
        found: Option<FoundOf<Self>>,
        out: &mut Vec<EffectOf<Self>>,
    ) -> Phase {
        let mut phase = match found {
            Some(Found::Resumed(phase)) => phase,
            // What an earlier order left on the hosts they say themselves.
            Some(Found::Superseded { .. }) => Phase::new(order.clone()),
            None => Phase::resumed(order.clone(), Kept::committed(order).unwrap_or_default()),
        };
        phase.begin(now, out);
        phase
    }

    fn step(
        &self,
        phase: &mut Phase,
        now: Timestamp,
        input: Input<GoalAck, HostObservation>,
        out: &mut Vec<EffectOf<Self>>,
    ) {
        phase.step(now, input, out);
    }

    fn accepts(&self, order: &Assignment) -> bool {
        order.platform == PlatformKind::Hosts
    }
}

impl Journaled for Fleet {
    fn save(&self, phase: &Phase) -> Vec<u8> {
        phase.kept.to_bytes()
    }

    fn load(&self, order: &Assignment, bytes: &[u8]) -> Result<Phase, CodecError> {
        Ok(Phase::resumed(order.clone(), Kept::from_bytes(bytes)?))
    }
}

/// Effects of this driver.
pub(crate) type Effects = Vec<EffectOf<Fleet>>;

/// Which order a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderKind {
    Prepare,
    Execute,
}

/// How far the order for a host is known to have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sent {
    #[default]
    No,
    Calling(CallId),
    /// The answer is lost; the host may have accepted it. Its next session shows.
    Uncertain,
    Accepted,
}

impl Sent {
    /// The call that has no answer yet.
    pub(crate) fn call(self) -> Option<CallId> {
        match self {
            Self::Calling(call) => Some(call),
            Self::No | Self::Uncertain | Self::Accepted => None,
        }
    }
}

#[cfg(test)]
mod tests;
