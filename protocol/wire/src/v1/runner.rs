//! Between a runner and its agent, on one control stream that the runner opens.
//!
//! The runner speaks first with `Hello`. The agent sends goals; the runner answers each change of a service
//! with a whole report, so a lost report is repaired by the next one. Queries use streams of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use bincode::{Decode, Encode};
use trimaran_model::assignment::HostGoal;

use super::assignment::{WireFailure, WireHostGoal, WireHostReport};
use super::common::WireInstallation;
use super::release::WireRelease;
use crate::codec::{Message, encode, kind};
use crate::frame::Frame;

/// From a runner to its agent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RunnerUp {
    /// First frame of a session: who runs here, the host's own address, and everything that is deployed here.
    Hello {
        incarnation: u64,
        address: String,
        reports: Vec<WireHostReport>,
        /// What the host is: `os`, `arch`, `kernel`, `boot`, `zone`, `cgroup`. Each is a label.
        facts: BTreeMap<String, String>,
    },
    /// One installation changed.
    Report(WireHostReport),
    /// The answer to a `Goal`: taken for good, or refused with the cause.
    Answer { sequence: u64, refused: Option<WireFailure> },
}

impl Message for RunnerUp {
    const KIND: u16 = kind::RUNNER_UP;
    const VERSION: u16 = 1;
}

/// From an agent to a runner. A later incarnation of the runner ends the session of the earlier one with the close code
/// for superseded.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RunnerDown {
    /// At the begin of a session, and again when something of it is another. `wall_ms` is the cluster's wall time, when the
    /// agent knows it: certificates are judged by it. `epoch` and `incarnation` are those of the cluster that the agent
    /// obeys; 0 and 0 before it knows them.
    Welcome { labels: BTreeMap<String, String>, wall_ms: Option<i64>, epoch: u16, incarnation: u64 },
    /// `sequence` numbers the goals of a session.
    Goal { sequence: u64, goal: WireHostGoal },
    /// Earlier keys of this agent, which the runner refuses from now on: behind the `Welcome`, and as they come; at most
    /// `limits::AGENT_REVOKED_MAX`.
    Revoked { keys: Vec<EarlierKey> },
    /// With which keys coordinators sign certificates, when some of them count no more: behind the `Welcome`, and as they
    /// come. `known` are those of present and earlier coordinators, `revoked` those of them that were removed; each at most
    /// `limits::RUNNER_ISSUERS_MAX`. The agent's own certificate is by none of the revoked ones.
    Issuers { known: Vec<[u8; 32]>, revoked: Vec<EarlierKey> },
}

impl Message for RunnerDown {
    const KIND: u16 = kind::RUNNER_DOWN;
    const VERSION: u16 = 1;
}

/// A goal as it is sent to many runners: encoded once, and numbered for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedGoal(Arc<[u8]>);

/// The number of `RunnerDown::Goal` among its variants.
const GOAL: u32 = 1;

impl EncodedGoal {
    pub fn new(goal: &HostGoal) -> Self {
        Self(encode(&WireHostGoal::from(goal)).into())
    }

    /// The frame of the message `RunnerDown::Goal`: a variant is encoded as its number, and its fields behind it.
    pub fn to_frame(&self, sequence: u64) -> Frame {
        let mut body = encode(&(GOAL, sequence));
        body.extend_from_slice(&self.0);
        Frame { kind: RunnerDown::KIND, version: RunnerDown::VERSION, body }
    }
}

/// A key that counts no more, such as one that the name of an agent had before; refused until its certificates have expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct EarlierKey {
    /// SHA-256 of the public key.
    pub key: [u8; 32],
    pub until_ms: i64,
}

/// A question that opens a stream of its own, from coordinator to agent and from agent to runner.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum RunnerQuery {
    Logs(LogQuery),
    /// Which release of an installation is on the host: answered with one [`RunningRelease`].
    Running {
        installation: WireInstallation,
    },
}

impl Message for RunnerQuery {
    const KIND: u16 = kind::RUNNER_QUERY;
    const VERSION: u16 = 1;
}

/// Which release of an installation is on a host.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RunningRelease {
    /// Empty from the host itself.
    pub host: String,
    /// `None`: there is none that should run, or it is not known.
    pub digest: Option<[u8; 32]>,
    /// The release itself; in one answer of several hosts with the first of a digest alone.
    pub release: Option<WireRelease>,
    /// Why it is not known.
    pub missing: Option<String>,
}

impl Message for RunningRelease {
    const KIND: u16 = kind::RUNNING_RELEASE;
    const VERSION: u16 = 1;
}

/// Which lines of a service's output.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LogQuery {
    pub pipeline: String,
    pub target: String,
    /// Lines of this run and what came after it until the next release; `None`: all that is kept.
    pub run: Option<String>,
    /// Only lines of this release: of a run that was rolled back those of what failed, not of what was restored.
    pub release: Option<[u8; 32]>,
    /// Wall time in milliseconds; earlier lines are left out.
    pub since_ms: Option<i64>,
    /// Only the last so many lines.
    pub tail: Option<u32>,
    /// Go on with lines as they come, until the stream is closed.
    pub follow: bool,
}

/// Some lines of one host, in order. The last batch of an answer without `follow` is followed by the end of
/// the stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LogLines {
    pub host: String,
    pub lines: Vec<LogLine>,
    /// Why lines of this host are missing after these. With `follow` they may still come.
    pub missing: Option<String>,
}

impl Message for LogLines {
    const KIND: u16 = kind::LOG_LINES;
    const VERSION: u16 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LogLine {
    /// Wall time in milliseconds.
    pub at_ms: i64,
    /// False: stdout, true: stderr.
    pub stderr: bool,
    /// The release whose process wrote it, where the log says so.
    pub release: Option<[u8; 32]>,
    pub line: String,
}

#[cfg(test)]
mod tests {
    use trimaran_model::assignment::HostAction;
    use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, InstallationId};

    use super::*;

    #[test]
    fn a_goal_that_is_encoded_once_is_the_same_message() {
        let installation =
            InstallationId { pipeline: "web".parse().unwrap(), target: "prod".parse().unwrap() };
        for sequence in [0, 1, 250, 251, 65_535, 65_536, u64::from(u32::MAX) + 1, u64::MAX] {
            let goal = HostGoal {
                installation: installation.clone(),
                service: "web".parse().unwrap(),
                assignment: AssignmentId(sequence),
                fence: Fence(sequence),
                run: "web#7".parse().unwrap(),
                attempt: Attempt(1),
                action: HostAction::Stop { only: Digest([3; 32]) },
                retained: [Digest([4; 32])].into(),
            };
            let message = RunnerDown::Goal { sequence, goal: (&goal).into() };
            assert_eq!(EncodedGoal::new(&goal).to_frame(sequence), message.to_frame());
        }
    }
}
