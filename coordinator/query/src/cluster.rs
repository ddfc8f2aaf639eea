//! The cluster, its targets, agents and runners, alarms and the audit log.

use trimaran_engine::rows::cold::{Audit, Source};
use trimaran_engine::rows::{cold_key, tables};
use trimaran_engine::state::agent::{Agent, Runner};
use trimaran_engine::state::assignment::TargetEntry;
use trimaran_engine::state::cluster::{Alarm, Cluster, Member};
use trimaran_engine::state::token::{Revoked, Token};
use trimaran_model::id::{AgentName, Digest, HostName, Incarnation, PipelineName, TargetName};
use trimaran_model::target::{Target, TargetClass, TargetPlatform};
use trimaran_wire::document::{
    AgentList, AlarmDocument, AuditDocument, AuditList, MachineDocument, RunnerList, TargetDocument,
    TargetList, rfc3339,
};
use trimaran_wire::v1::command::PipelineSource;

use crate::rows::{RowSource, all, decode, get, read};
use crate::text;

/// Cluster id, epoch, time and counters.
pub fn cluster(rows: &dyn RowSource) -> Cluster {
    get::<Cluster>(rows, &()).unwrap_or_default()
}

pub fn members(rows: &dyn RowSource) -> Vec<Member> {
    all(rows)
}

/// The stored file of a pipeline.
pub fn pipeline_source(rows: &dyn RowSource, name: &PipelineName) -> Option<PipelineSource> {
    read::<Source>(rows, &cold_key(tables::SOURCE, name.as_str().as_bytes())).map(|it| it.source)
}

/// Every target.
pub fn targets_known(rows: &dyn RowSource) -> Vec<Target> {
    all::<TargetEntry>(rows).into_iter().map(|it| it.target).collect()
}

pub fn target(rows: &dyn RowSource, name: &TargetName) -> Option<Target> {
    get::<TargetEntry>(rows, name).map(|it| it.target)
}

/// A token by its hash.
pub fn token(rows: &dyn RowSource, sha256: Digest) -> Option<Token> {
    get(rows, &sha256)
}

/// SHA-256 of every revoked public key.
pub fn revoked_keys(rows: &dyn RowSource) -> Vec<Digest> {
    all::<Revoked>(rows).into_iter().map(|it| it.key).collect()
}

/// Agents that were seen and neither said goodbye for good nor are known to be lost, with their last attach.
pub fn agents_to_expect(rows: &dyn RowSource) -> Vec<(AgentName, u64)> {
    let seen = all::<Agent>(rows).into_iter().filter(|it| !it.lost && it.incarnation.is_some());
    seen.map(|it| (it.name, it.attach)).collect()
}

/// Runners enrolled with an agent.
pub fn runners_of(rows: &dyn RowSource, agent: &AgentName) -> Vec<Runner> {
    all::<Runner>(rows).into_iter().filter(|runner| runner.agent == *agent).collect()
}

/// Enrolled runners that a target selects.
pub(crate) fn hosts(rows: &dyn RowSource, target: &Target) -> Vec<HostName> {
    hosts_among(&all::<Runner>(rows), target)
}

fn hosts_among(runners: &[Runner], target: &Target) -> Vec<HostName> {
    runners.iter().filter(|runner| runner.is_host_of(target)).map(|runner| runner.name.clone()).collect()
}

/// `target list|show`.
pub fn targets(rows: &dyn RowSource, wanted: Option<&str>) -> TargetList {
    let runners = all::<Runner>(rows);
    let one = |target: Target| {
        let hosts = hosts_among(&runners, &target);
        let select = match &target.platform {
            TargetPlatform::Hosts { select } => select.clone(),
            TargetPlatform::Kubernetes { .. } | TargetPlatform::Flink { .. } => Default::default(),
        };
        let class = match target.class {
            TargetClass::Prod => "prod",
            TargetClass::Staging => "staging",
        };
        TargetDocument {
            name: target.name.to_string(),
            agent: target.agent.to_string(),
            class: class.to_owned(),
            platform: target.platform.as_str().to_owned(),
            select,
            parallel: target.parallel,
            hosts: hosts.iter().map(ToString::to_string).collect(),
        }
    };
    let named = |it: &Target| wanted.is_none_or(|wanted| it.name.as_str() == wanted);
    TargetList { targets: targets_known(rows).into_iter().filter(named).map(one).collect() }
}

/// `agent list`, as the log knows it.
pub fn agents(rows: &dyn RowSource) -> AgentList {
    let one = |it: Agent| MachineDocument {
        name: it.name.to_string(),
        state: match (&it.attached, it.lost, it.incarnation) {
            (Some(_), _, _) => "connected",
            (None, true, _) => "lost",
            (None, false, Some(_)) => "disconnected",
            (None, false, None) => "never_connected",
        }
        .to_owned(),
        address: it.address,
        incarnation: it.incarnation.as_ref().map(Incarnation::to_string),
        last_seen: it.incarnation.map(|_| rfc3339(it.changed)),
        labels: Default::default(),
        agent: None,
        refused: None,
    };
    AgentList { agents: all::<Agent>(rows).into_iter().map(one).collect() }
}

/// `runner list`, without what their agent says of them: one that was seen before is lost until it says more.
pub fn runners(rows: &dyn RowSource) -> RunnerList {
    let one = |it: Runner| MachineDocument {
        name: it.name.to_string(),
        state: if it.seen.is_some() { "lost" } else { "never_connected" }.to_owned(),
        address: None,
        incarnation: None,
        last_seen: it.seen.map(rfc3339),
        labels: it.labels,
        agent: Some(it.agent.to_string()),
        refused: None,
    };
    RunnerList { runners: all::<Runner>(rows).into_iter().map(one).collect() }
}

pub fn alarms(rows: &dyn RowSource) -> Vec<AlarmDocument> {
    let one = |it: Alarm| AlarmDocument {
        clears: text::alarm_clears(&it.subject),
        code: it.code,
        message: text::alarm(&it.detail),
        since: rfc3339(it.since),
    };
    all::<Alarm>(rows).into_iter().map(one).collect()
}

/// `audit list`: records after `since`, in order.
pub fn audit(rows: &dyn RowSource, since: u64, limit: usize) -> AuditList {
    let mut records = Vec::new();
    rows.scan(&[tables::AUDIT], &mut |key, value| {
        if let Some(it) = decode::<Audit>(rows, key, value)
            && it.seq > since
        {
            records.push(AuditDocument {
                seq: it.seq,
                at: rfc3339(it.at),
                identity: it.identity,
                verb: it.verb,
                object: it.object,
                outcome: it.outcome,
                hash: it.hash.to_string(),
            });
        }
        records.len() < limit
    });
    AuditList { records }
}
