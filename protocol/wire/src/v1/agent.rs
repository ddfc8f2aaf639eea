//! Between an agent and the coordinator that serves it, on one control stream that the agent opens.
//!
//! The agent's lease is kept by its `Ping` and the coordinator's `Pong`: it counts from the moment at which an
//! answered `Ping` was sent, on the agent's own clock, so that neither a delayed answer nor an agent that was
//! paused makes a lease look younger than it is. A coordinator answers only while it has a leader, and the
//! first time only after everything that it has for the agent was sent.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use trimaran_model::action;
use trimaran_model::id::{AssignmentId, Fence};

use super::assignment::{WireAssignment, WireCommit, WireFailure, WireInstance, WireOutcome};
use super::common::{WireInstallation, WireRun, name};
use super::runner::LogQuery;
use crate::codec::{CodecError, Message, kind};

/// From an agent to its coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentUp {
    /// First frame of a session. `held` are the assignments in the journal, `epoch` the highest that was
    /// ever seen, `listen` the address for runners.
    Hello { incarnation: u64, epoch: u16, held: Vec<HeldAssignment>, listen: Option<String> },
    /// An assignment moved; only the serving coordinator keeps it.
    Progress(Progress),
    /// To be in the log before the driver continues; answered by `Committed`. A later one replaces it.
    Commit { commit: WireCommit, progress: Progress },
    /// An assignment ended. Repeated until it is answered.
    Result { assignment: u64, fence: u64, outcome: WireOutcome, progress: Progress },
    /// The health of installations that nothing works on: what changed, and everything again on a new session.
    /// At most `limits::VERDICTS_PER_MESSAGE_MAX`.
    Verdicts(Vec<AgentVerdict>),
    /// Assignments that ended and that no coordinator knows, all of them; sent when there are any, and when the
    /// last one is gone.
    Unknown(Vec<HeldAssignment>),
    /// Which runners are connected: all of them at first, then changes.
    Runners(Vec<RunnerState>),
    /// Sent at the start and every `limits::LEASE_PING`; `sent_ms` is on the agent's own clock. `refused`: what
    /// the agent's own port refused so far.
    Ping { sent_ms: u64, refused: RefusedCounts },
    /// An order was refused, and why. Sent again on each session while the order comes again.
    Refused(RefusedAssignment),
    /// What changed since the last `Progress` of this session: its counts and failure hold, its lists have the new
    /// failed hosts and the instances that changed.
    ProgressChanges(Progress),
}

impl Message for AgentUp {
    const KIND: u16 = kind::AGENT_UP;
    const VERSION: u16 = 1;
}

/// An order that an agent refused.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RefusedAssignment {
    pub assignment: u64,
    pub fence: u64,
    pub installation: WireInstallation,
    /// A `ReasonCode`.
    pub code: String,
    pub message: String,
}

/// What one port refused since its process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct RefusedCounts {
    pub handshakes: u64,
    pub frames: u64,
}

/// How an installation is, under its largest fence.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AgentVerdict {
    pub installation: WireInstallation,
    pub fence: u64,
    pub verdict: String,
    /// The first cause, when a host is down.
    pub failure: Option<WireFailure>,
    /// Hosts that are not healthy. A host that failed within an attempt's budget is down, and no reason to call
    /// the installation degraded.
    pub down: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HeldAssignment {
    pub assignment: u64,
    pub fence: u64,
    pub installation: WireInstallation,
    pub run: WireRun,
}

/// How far an assignment is. Lists hold at most `limits::INSTANCES_REPORTED_MAX`, failures first.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Progress {
    pub assignment: u64,
    pub fence: u64,
    /// Instances on the assignment's release and healthy, of all that the stage has.
    pub done: u32,
    pub total: u32,
    /// Hosts that failed in this attempt.
    pub failed: Vec<String>,
    /// The first failure, when there is one.
    pub failure: Option<WireFailure>,
    pub instances: Vec<WireInstance>,
}

impl Progress {
    /// The frozen form of what a driver reports.
    pub fn new(assignment: AssignmentId, fence: Fence, progress: &action::Progress) -> Self {
        Self {
            assignment: assignment.0,
            fence: fence.0,
            done: progress.done,
            total: progress.total,
            failed: progress.failed.iter().map(ToString::to_string).collect(),
            failure: progress.failure.as_ref().map(Into::into),
            instances: progress.instances.iter().map(Into::into).collect(),
        }
    }
}

impl Progress {
    /// What changed; `None` when only the whole can say it, because something was taken out of a list.
    pub fn changes_since(&self, before: &Self) -> Option<Self> {
        let failed = self.failed.strip_prefix(before.failed.as_slice())?;
        let known: BTreeMap<&str, &WireInstance> =
            before.instances.iter().map(|instance| (instance.name.as_str(), instance)).collect();
        let kept = self.instances.iter().filter(|instance| known.contains_key(instance.name.as_str()));
        if kept.count() < known.len() {
            return None;
        }
        let changed = |instance: &&WireInstance| known.get(instance.name.as_str()) != Some(instance);
        Some(Self {
            failed: failed.to_vec(),
            failure: self.failure.clone(),
            instances: self.instances.iter().filter(changed).cloned().collect(),
            ..*self
        })
    }

    /// Takes changes over into what was received before them.
    pub fn apply_changes(&mut self, changes: Self) {
        let Self { assignment: _, fence: _, done, total, failed, failure, instances } = changes;
        (self.done, self.total, self.failure) = (done, total, failure);
        self.failed.extend(failed);
        let mut changed: BTreeMap<String, WireInstance> =
            instances.into_iter().map(|instance| (instance.name.clone(), instance)).collect();
        for instance in &mut self.instances {
            if let Some(new) = changed.remove(&instance.name) {
                *instance = new;
            }
        }
        self.instances.extend(changed.into_values());
    }
}

impl TryFrom<Progress> for action::Progress {
    type Error = CodecError;
    fn try_from(wire: Progress) -> Result<Self, CodecError> {
        Ok(Self {
            done: wire.done,
            total: wire.total,
            failed: wire.failed.iter().map(|host| name(host)).collect::<Result<_, _>>()?,
            failure: wire.failure.map(TryInto::try_into).transpose()?,
            instances: wire.instances.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunnerState {
    pub name: String,
    pub connected: bool,
    pub incarnation: u64,
    pub address: String,
    /// Wall time in milliseconds of its last sign.
    pub last_seen_ms: i64,
}

/// From a coordinator to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentDown {
    /// First frame: the session is attached.
    Welcome {
        cluster: String,
        epoch: u16,
        revision: u64,
    },
    /// All runners of this agent, in pages of at most `limits::PAGE_NAMES_MAX`; sent after `Welcome` and whenever
    /// they change. The inventory is known with its last page.
    Inventory {
        revision: u64,
        runners: Vec<RunnerEntry>,
        last: bool,
    },
    /// Hosts of an assignment, ahead of those that its `Assign` has; a page of at most `limits::PAGE_NAMES_MAX`.
    AssignHosts {
        assignment: u64,
        hosts: Vec<String>,
    },
    Assign(WireAssignment),
    /// Start nothing more for this assignment; answer with its result.
    Cancel {
        assignment: u64,
        fence: u64,
    },
    /// What became of a result.
    Answer {
        assignment: u64,
        fence: u64,
        answer: ResultAnswer,
    },
    /// All commits of this assignment up to this number are in the log.
    Committed {
        assignment: u64,
        n: u32,
    },
    /// The answer to a `Ping`, with the cluster's wall time.
    Pong {
        sent_ms: u64,
        wall_ms: i64,
    },
    /// Digests of keys that are revoked: every one that concerns this agent after `Welcome`, later those that are
    /// new; at most `limits::REVOKED_PER_MESSAGE_MAX`.
    Revoked(Vec<[u8; 32]>),
    /// A later incarnation of this agent has attached; end with code 6 and do not come back.
    Superseded,
}

impl Message for AgentDown {
    const KIND: u16 = kind::AGENT_DOWN;
    const VERSION: u16 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ResultAnswer {
    /// Taken, also when it was taken before.
    Applied,
    Superseded {
        by: u64,
    },
    Unknown,
}

/// An enrolled runner.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunnerEntry {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

/// A question of a coordinator to an agent, on a stream of its own; answered with frames of `LogLines`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentQuery {
    Logs { hosts: Vec<String>, query: LogQuery },
}

impl Message for AgentQuery {
    const KIND: u16 = kind::AGENT_QUERY;
    const VERSION: u16 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: u32, failed: &[&str], instances: &[(&str, &str)]) -> Progress {
        let instance = |(name, status): &(&str, &str)| WireInstance {
            name: (*name).to_owned(),
            status: (*status).to_owned(),
            release: None,
            code: None,
            message: String::new(),
        };
        Progress {
            assignment: 1,
            fence: 2,
            done,
            total: 3,
            failed: failed.iter().map(|name| (*name).to_owned()).collect(),
            failure: None,
            instances: instances.iter().map(instance).collect(),
        }
    }

    #[test]
    fn changes_name_only_what_changed_and_lead_to_the_same_progress() {
        let before = progress(0, &[], &[("a", "updating"), ("b", "waiting")]);
        let now = progress(1, &["b"], &[("a", "healthy"), ("b", "waiting"), ("c", "waiting")]);
        let changes = now.changes_since(&before).expect("nothing was taken out");
        let named: Vec<&str> = changes.instances.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(named, ["a", "c"]);
        let mut received = before.clone();
        received.apply_changes(changes);
        assert_eq!(received, now);
        assert_eq!(progress(0, &[], &[("b", "waiting")]).changes_since(&before), None, "one is gone");
        assert_eq!(progress(0, &[], &[]).changes_since(&now), None, "a failed one is taken back");
    }
}
