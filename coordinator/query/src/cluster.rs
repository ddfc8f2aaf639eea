//! Targets, agents, runners, members, alarms and the audit log.

use trimaran_model::id::{Digest, Incarnation};
use trimaran_model::reason::CLEARS_WAIT;
use trimaran_model::time::WallTime;
use trimaran_wire::document::{
    AgentList, AlarmDocument, AuditDocument, AuditList, MachineDocument, RunnerList, TargetDocument,
    TargetList, rfc3339,
};
use trimaran_wire::v1::row::{self, table};
use trimaran_wire::v1::target::WirePlatform;

use crate::{RowSource, all, get};
use trimaran_engine::state::is_host_of;

/// Cluster id, epoch, time and counters.
pub fn meta(rows: &dyn RowSource) -> row::Meta {
    get::<row::Meta>(rows, &()).unwrap_or_default()
}

pub fn members(rows: &dyn RowSource) -> Vec<row::Member> {
    all(rows)
}

/// The stored file of a pipeline.
pub fn pipeline(rows: &dyn RowSource, name: &str) -> Option<row::Pipeline> {
    get(rows, &name.to_owned())
}

pub fn target_rows(rows: &dyn RowSource) -> Vec<row::TargetRow> {
    all(rows)
}

pub fn target_row(rows: &dyn RowSource, name: &str) -> Option<row::TargetRow> {
    get(rows, &name.to_owned())
}

/// A token by its hash.
pub fn token(rows: &dyn RowSource, sha256: [u8; 32]) -> Option<row::Token> {
    get(rows, &sha256)
}

/// Enrolled runners that a target selects.
pub(super) fn hosts(rows: &dyn RowSource, target: &row::TargetRow) -> Vec<String> {
    hosts_among(&all::<row::Runner>(rows), target)
}

fn hosts_among(runners: &[row::Runner], target: &row::TargetRow) -> Vec<String> {
    let here = runners.iter().filter(|runner| is_host_of(target, runner));
    here.map(|runner| runner.name.clone()).collect()
}

/// `target list|show`.
pub fn targets(rows: &dyn RowSource, wanted: Option<&str>) -> TargetList {
    let runners = all::<row::Runner>(rows);
    let one = |it: row::TargetRow| {
        let hosts = hosts_among(&runners, &it);
        let (platform, select) = match &it.target.platform {
            WirePlatform::Hosts { select } => ("hosts", select.clone()),
            WirePlatform::Kubernetes { .. } => ("kubernetes", Default::default()),
            WirePlatform::Flink { .. } => ("flink", Default::default()),
        };
        TargetDocument {
            name: it.target.name,
            agent: it.target.agent,
            class: if it.target.prod { "prod" } else { "staging" }.to_owned(),
            platform: platform.to_owned(),
            select,
            parallel: it.target.parallel,
            hosts,
        }
    };
    let named = |it: &row::TargetRow| wanted.is_none_or(|wanted| it.target.name == wanted);
    TargetList { targets: all::<row::TargetRow>(rows).into_iter().filter(named).map(one).collect() }
}

/// `agent list`, as the log knows it.
pub fn agents(rows: &dyn RowSource) -> AgentList {
    let one = |it: row::Agent| MachineDocument {
        name: it.name,
        state: match (&it.attached, it.lost, it.incarnation) {
            (Some(_), _, _) => "connected",
            (None, true, _) => "lost",
            (None, false, Some(_)) => "disconnected",
            (None, false, None) => "never_connected",
        }
        .to_owned(),
        address: it.address,
        incarnation: it.incarnation.map(|it| Incarnation(it).to_string()),
        last_seen: it.incarnation.map(|_| rfc3339(WallTime(it.changed_ms))),
        labels: Default::default(),
        agent: None,
        refused: None,
    };
    AgentList { agents: all::<row::Agent>(rows).into_iter().map(one).collect() }
}

/// `runner list`, without what their agent says of them: one that was seen before is lost until it says more.
pub fn runners(rows: &dyn RowSource) -> RunnerList {
    let one = |it: row::Runner| MachineDocument {
        name: it.name,
        state: if it.seen_ms.is_some() { "lost" } else { "never_connected" }.to_owned(),
        address: None,
        incarnation: None,
        last_seen: it.seen_ms.map(|at| rfc3339(WallTime(at))),
        labels: it.labels,
        agent: Some(it.agent),
        refused: None,
    };
    RunnerList { runners: all::<row::Runner>(rows).into_iter().map(one).collect() }
}

pub fn alarms(rows: &dyn RowSource) -> Vec<AlarmDocument> {
    let one = |it: row::Alarm| AlarmDocument {
        // A parked run alarms under its own name, and canceling it is what ends the alarm.
        clears: if it.member.contains('#') {
            format!("trimaran cancel {}", it.member)
        } else {
            CLEARS_WAIT.to_owned()
        },
        code: it.code,
        message: it.message,
        since: rfc3339(WallTime(it.since_ms)),
    };
    all::<row::Alarm>(rows).into_iter().map(one).collect()
}

/// `audit list`: records after `since`, in order.
pub fn audit(rows: &dyn RowSource, since: u64, limit: usize) -> AuditList {
    let mut records = Vec::new();
    rows.scan(&[table::AUDIT], &mut |key, value| {
        if let Some(it) = crate::decode::<row::Audit>(rows, key, value)
            && it.seq > since
        {
            records.push(AuditDocument {
                seq: it.seq,
                at: rfc3339(WallTime(it.at_ms)),
                identity: it.identity,
                verb: it.verb,
                object: it.object,
                outcome: it.outcome,
                hash: Digest(it.hash).to_string(),
            });
        }
        records.len() < limit
    });
    AuditList { records }
}
