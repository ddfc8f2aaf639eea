//! Transitions as the coordinators read them. Times of hosts are those of the agent's clock; coordinators know wall time.

use trimaran_model::time::{Timestamp, WallTime};
use trimaran_wire::v1::agent::{AgentVerdict, HostCounts, HostFinding};

use super::health::{Counts, Finding, Transition};

impl Transition {
    /// The frozen form; `clock` is one moment on the agent's clock and in wall time.
    pub fn to_wire(self, clock: (Timestamp, WallTime)) -> AgentVerdict {
        let Self { installation, fence, verdict, failure, down, hosts } = self;
        AgentVerdict {
            installation: (&installation).into(),
            fence: fence.0,
            verdict: verdict.as_str().to_owned(),
            failure: failure.as_ref().map(Into::into),
            down,
            hosts: hosts.map(|counts| wire_counts(counts, clock)),
            blind_since_ms: None,
        }
    }
}

fn wire_counts(counts: Counts, (now, wall): (Timestamp, WallTime)) -> HostCounts {
    let since = |at: Timestamp| wall.0 - i64::try_from(now.0.saturating_sub(at.0)).unwrap_or(i64::MAX);
    let finding = |it: Finding| HostFinding {
        host: it.host.to_string(),
        code: it.code.as_str().to_owned(),
        message: it.message,
        since_ms: since(it.since),
    };
    HostCounts {
        settled: counts.settled,
        members: counts.members,
        updated: counts.updated,
        degraded: counts.degraded,
        mending: counts.mending,
        broken: counts.broken,
        lost: counts.lost,
        diverged: counts.diverged,
        crashes: counts.crashes,
        crash: counts.crash.as_ref().map(Into::into),
        findings: counts.findings.into_iter().map(finding).collect(),
    }
}
