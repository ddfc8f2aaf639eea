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

use super::assignment::{
    WireAssignment, WireCommit, WireFailure, WireHostStanding, WireInstance, WireOutcome,
};
use super::common::{WireInstallation, WireRun, name};
use super::runner::{LogLines, LogQuery, RunningRelease};
use super::target::WireTarget;
use crate::codec::{CodecError, Message, kind};

/// From an agent to its coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentUp {
    /// First frame of a session. `held` are the assignments in the journal, `listen` the address for runners,
    /// `platforms` each `PlatformKind` that it has a driver for.
    Hello {
        incarnation: u64,
        known: KnownCluster,
        held: Vec<HeldAssignment>,
        listen: Option<String>,
        platforms: Vec<String>,
    },
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

/// What an agent knows of its cluster from before the session; all 0: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct KnownCluster {
    /// The highest epoch that was ever seen, and the incarnation of the cluster that had it.
    pub epoch: u16,
    pub incarnation: u64,
    /// Revoked keys up to this number of that incarnation are known.
    pub revoked: u64,
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
    /// Instances that do not serve.
    pub down: u32,
    /// What the hosts of an installation on hosts are; `None`: it is not on hosts, or too few have spoken yet.
    pub hosts: Option<HostCounts>,
    /// Wall time in milliseconds since when the platform can't be seen; the verdict is `unknown` then.
    pub blind_since_ms: Option<i64>,
}

/// The hosts of an installation, by what they are. A host counts once; `crashes` counts ends of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct HostCounts {
    /// Whether every host had the time to speak. Before that only `degraded`, `mending` and `broken` say something.
    pub settled: bool,
    /// Hosts of the target that are not out of it.
    pub members: u32,
    /// Those that serve the installation's release.
    pub updated: u32,
    /// Those on which the release was healthy and is not any more.
    pub degraded: u32,
    /// Those whose process ended and is about to be back by its restart policy.
    pub mending: u32,
    /// Those on which an order failed and nothing healthy runs.
    pub broken: u32,
    /// Those whose runner is not connected.
    pub lost: u32,
    /// Those that have another release.
    pub diverged: u32,
    /// Ends of processes since the release was installed, and the last of them.
    pub crashes: u32,
    pub crash: Option<WireFailure>,
    /// What people should know, and what counts for nothing: at most `limits::HOST_FINDINGS_MAX`.
    pub findings: Vec<HostFinding>,
}

/// A host that is not as its target wants it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HostFinding {
    pub host: String,
    /// A `ReasonCode`.
    pub code: String,
    pub message: String,
    /// Since when, in wall time.
    pub since_ms: i64,
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
    /// Hosts that were left behind in this attempt.
    pub lost: Vec<String>,
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
            lost: progress.lost.iter().map(ToString::to_string).collect(),
            failure: progress.failure.as_ref().map(Into::into),
            instances: progress.instances.iter().map(Into::into).collect(),
        }
    }
}

impl Progress {
    /// What changed; `None` when only the whole can say it, because something was taken out of a list.
    pub fn changes_since(&self, before: &Self) -> Option<Self> {
        let failed = self.failed.strip_prefix(before.failed.as_slice())?;
        let lost = self.lost.strip_prefix(before.lost.as_slice())?;
        let known: BTreeMap<&str, &WireInstance> =
            before.instances.iter().map(|instance| (instance.name.as_str(), instance)).collect();
        let kept = self.instances.iter().filter(|instance| known.contains_key(instance.name.as_str()));
        if kept.count() < known.len() {
            return None;
        }
        let changed = |instance: &&WireInstance| known.get(instance.name.as_str()) != Some(instance);
        Some(Self {
            failed: failed.to_vec(),
            lost: lost.to_vec(),
            failure: self.failure.clone(),
            instances: self.instances.iter().filter(changed).cloned().collect(),
            ..*self
        })
    }

    /// Takes changes over into what was received before them.
    pub fn apply_changes(&mut self, changes: Self) {
        let Self { assignment: _, fence: _, done, total, failed, lost, failure, instances } = changes;
        (self.done, self.total, self.failure) = (done, total, failure);
        self.failed.extend(failed);
        self.lost.extend(lost);
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
            lost: wire.lost.iter().map(|host| name(host)).collect::<Result<_, _>>()?,
            failure: wire.failure.map(TryInto::try_into).transpose()?,
            instances: wire.instances.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunnerState {
    pub name: String,
    pub connected: bool,
    /// 0: it was not seen since the agent began.
    pub incarnation: u64,
    pub address: String,
    /// Wall time in milliseconds of its last sign.
    pub last_seen_ms: i64,
    /// What its host is, as it says itself.
    pub facts: BTreeMap<String, String>,
}

/// From a coordinator to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentDown {
    /// First frame: the session is attached.
    Welcome {
        cluster: String,
        epoch: u16,
        /// Tells a restored or recovered cluster from the one before.
        incarnation: u64,
        revision: u64,
    },
    /// Instead of `Welcome`: the agent knows a later incarnation of the cluster than this one, or another of the same epoch.
    OtherIncarnation {
        epoch: u16,
        incarnation: u64,
    },
    /// All runners of this agent, in pages of at most `limits::PAGE_NAMES_MAX`; sent after `Welcome` and whenever
    /// they change. The inventory is known with its last page.
    Inventory {
        revision: u64,
        runners: Vec<RunnerEntry>,
        last: bool,
    },
    /// All targets of this agent, in pages of at most `limits::TARGETS_PER_MESSAGE_MAX`; sent after `Welcome`, ahead of
    /// assignments, and whenever they change. They are known with the last page.
    Targets {
        targets: Vec<WireTarget>,
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
    /// Revoked keys that concern this agent and that it does not know: after `Welcome`, and later as they come; at most
    /// `limits::REVOKED_PER_MESSAGE_MAX`. From then on it knows all `up_to` this number.
    Revoked {
        up_to: u64,
        keys: Vec<RevokedKey>,
        /// Every key with which a coordinator signed or signs: below a revoked one no other is believed.
        issuers: Vec<[u8; 32]>,
    },
    /// A later incarnation of this agent has attached; end with code 6 and do not come back.
    Superseded,
    /// What should run on the agent's targets, in pages of at most `limits::PAGE_NAMES_MAX`: all of it after the first
    /// inventory and whenever targets move (`whole`; known with the last page), later what changed. Installations that
    /// something works on are not among them. They come again when that work ends.
    Installations {
        installations: Vec<WireStanding>,
        whole: bool,
        last: bool,
    },
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

/// A key that is refused until its certificates have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RevokedKey {
    /// SHA-256 of the public key.
    pub key: [u8; 32],
    pub until_ms: i64,
    /// It was a key of the agent itself: its runners refuse it too.
    pub of_agent: bool,
}

/// What should run of one installation on which nothing works: the frozen form of `agent_core::platform::Standing`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireStanding {
    pub installation: WireInstallation,
    /// The largest that was assigned there: verdicts are bound to it.
    pub fence: u64,
    /// The digest of the release that is current; `None`: nothing should run.
    pub release: Option<[u8; 32]>,
    /// Releases that a rollback may need, each once; the current one is among them.
    pub retained: Vec<[u8; 32]>,
    /// The last commit of the installation's assignments.
    pub committed: Option<WireCommit>,
    /// On hosts: what they are measured against, and what those get that lack it.
    pub hosts: Option<WireHostStanding>,
}

/// An enrolled runner.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunnerEntry {
    pub name: String,
    /// With facts that no label stands for.
    pub labels: BTreeMap<String, String>,
    /// A user took it out of its targets, or wants its services ended too.
    pub cordoned: bool,
    pub drained: bool,
}

/// A question of a coordinator to an agent about one target, on a stream of its own; answered with frames of
/// [`AgentAnswer`] up to the end of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AgentQuery {
    pub target: String,
    pub question: AgentQuestion,
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentQuestion {
    /// Output of these instances, or of all when none is named; `previous`: of the process before the one that runs.
    Logs { instances: Vec<String>, previous: bool, query: LogQuery },
    /// What this assignment, which is no order here, would change.
    Plan(WireAssignment),
    /// The public key to which secrets of the target are sealed.
    SealingKey,
    /// Which release of this pipeline is on these hosts of the target.
    Running { pipeline: String, hosts: Vec<String> },
}

impl Message for AgentQuery {
    const KIND: u16 = kind::AGENT_QUERY;
    const VERSION: u16 = 1;
}

/// A part of the answer to an [`AgentQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentAnswer {
    Logs(LogLines),
    /// Lines of a difference, in order.
    Plan(Vec<String>),
    SealingKey(Vec<u8>),
    /// The last part: nothing more comes. `code` is a `ReasonCode`.
    Refused {
        code: String,
        message: String,
    },
    /// One host's.
    Running(RunningRelease),
}

impl Message for AgentAnswer {
    const KIND: u16 = kind::AGENT_ANSWER;
    const VERSION: u16 = 1;
}

/// A question of an agent for bytes by their digest, on a stream of its own; answered with frames of [`ContentAnswer`] up
/// to the end of the stream. Only what a release of one of its targets is or names is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct ContentQuery {
    /// The digest of the release.
    pub release: [u8; 32],
    pub what: ContentPiece,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum ContentPiece {
    /// The release itself: the bytes over which its digest is taken.
    Release,
    /// What it names, from this part on: an answer that broke off is continued.
    Content { from: u32 },
}

impl Message for ContentQuery {
    const KIND: u16 = kind::CONTENT_QUERY;
    const VERSION: u16 = 1;
}

/// A part of the answer to a [`ContentQuery`], in order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ContentAnswer {
    /// At most `limits::CONTENT_PART_BYTES`.
    Part(Vec<u8>),
    /// The last part: nothing more comes.
    Refused { message: String },
}

impl Message for ContentAnswer {
    const KIND: u16 = kind::CONTENT_ANSWER;
    const VERSION: u16 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_takes_far_more_memory_than_bytes_is_refused_before_it_is_allocated() {
        use trimaran_model::limits::{
            AGENT_ASSIGNMENTS_MAX, AGENT_FRAME_BYTES_MAX, AGENT_MESSAGE_MEMORY_MAX, NAME_BYTES_MAX,
        };
        let read = |message: &AgentUp| {
            let frame = message.to_frame();
            assert!(frame.body.len() <= AGENT_FRAME_BYTES_MAX, "{} bytes", frame.body.len());
            AgentUp::from_frame_within::<AGENT_MESSAGE_MEMORY_MAX>(&frame)
        };
        let hello = |held, platforms| AgentUp::Hello {
            incarnation: 1,
            known: KnownCluster::default(),
            held,
            listen: None,
            platforms,
        };
        let name = || "x".repeat(NAME_BYTES_MAX);
        let held = HeldAssignment {
            assignment: u64::MAX,
            fence: u64::MAX,
            installation: WireInstallation { pipeline: name(), target: name() },
            run: WireRun { pipeline: name(), number: u64::MAX },
        };
        let most = hello(vec![held; AGENT_ASSIGNMENTS_MAX], Vec::new());
        assert_eq!(read(&most), Ok(most), "the longest list that an agent may send");
        let empty = hello(Vec::new(), vec![String::new(); AGENT_FRAME_BYTES_MAX - 64]);
        let refused = read(&empty);
        assert!(
            matches!(&refused, Err(CodecError::Body { why }) if why.contains("LimitExceeded")),
            "{refused:?}"
        );
    }

    fn progress(done: u32, failed: &[&str], instances: &[(&str, &str)]) -> Progress {
        let instance = |(name, status): &(&str, &str)| WireInstance {
            name: (*name).to_owned(),
            status: (*status).to_owned(),
            release: None,
            code: None,
            message: String::new(),
            began_from: None,
            steps: Vec::new(),
        };
        Progress {
            assignment: 1,
            fence: 2,
            done,
            total: 3,
            failed: failed.iter().map(|name| (*name).to_owned()).collect(),
            lost: Vec::new(),
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
