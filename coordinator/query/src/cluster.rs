//! The cluster, its targets, agents and runners, alarms and the audit log.

use std::collections::BTreeMap;

use trimaran_engine::rows::cold::{Audit, Source};
use trimaran_engine::rows::{cold_key, tables};
use trimaran_engine::state::agent::{Agent, Runner};
use trimaran_engine::state::assignment::TargetEntry;
use trimaran_engine::state::cluster::{Alarm, Cluster, Member};
use trimaran_engine::state::installation::Installation;
use trimaran_engine::state::request::Request;
use trimaran_engine::state::token::{Operator, Revoked, Token};
use trimaran_model::id::{
    AgentName, CoordinatorName, Digest, HostName, Identity, Incarnation, PipelineName, RequestId, TargetName,
};
use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::target::{Target, TargetClass, TargetPlatform};
use trimaran_model::time::WallTime;
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

/// The coordinators that were not removed.
pub fn members(rows: &dyn RowSource) -> Vec<Member> {
    all::<Member>(rows).into_iter().filter(|member| !member.removed).collect()
}

/// Every coordinator that is or was a member.
pub fn members_ever(rows: &dyn RowSource) -> Vec<Member> {
    all(rows)
}

/// Whether this is the key of the last enrolment of who has the identity. A coordinator's is of its own making.
pub fn is_enrolled(rows: &dyn RowSource, identity: &Identity, key: Digest) -> bool {
    match identity {
        Identity::Agent(name) => get::<Agent>(rows, name).is_some_and(|it| it.key == Some(key)),
        Identity::Runner(name) => get::<Runner>(rows, name).is_some_and(|it| it.key == Some(key)),
        Identity::Operator(name, role) => {
            get::<Operator>(rows, name).is_some_and(|it| it.key == key && it.role == *role)
        }
        Identity::Coordinator(_) | Identity::System => false,
    }
}

/// The stored outcome of a request.
pub fn request(rows: &dyn RowSource, id: RequestId, identity: &Identity) -> Option<Request> {
    get(rows, &(id, identity.clone()))
}

/// The stored file of a pipeline.
pub fn pipeline_source(rows: &dyn RowSource, name: &PipelineName) -> Option<PipelineSource> {
    read::<Source>(rows, &cold_key(tables::SOURCE, name.as_str().as_bytes())).map(|it| it.source)
}

/// Every target.
pub fn targets_known(rows: &dyn RowSource) -> Vec<Target> {
    all::<TargetEntry>(rows).into_iter().map(|it| it.target).collect()
}

/// The targets that an agent serves, by name.
pub(crate) fn targets_of(rows: &dyn RowSource, agent: &AgentName) -> Vec<Target> {
    targets_known(rows).into_iter().filter(|target| target.agent == *agent).collect()
}

/// The agents of these targets that are known to have no driver for their platform, each with its target.
pub fn lacking_drivers<'a>(
    rows: &dyn RowSource,
    targets: impl IntoIterator<Item = &'a Target>,
) -> Vec<&'a Target> {
    let lacks = |target: &&Target| {
        let agent = get::<Agent>(rows, &target.agent).filter(|agent| agent.incarnation.is_some());
        agent.is_some_and(|agent| !agent.platforms.contains(&target.platform.kind()))
    };
    targets.into_iter().filter(lacks).collect()
}

pub fn target(rows: &dyn RowSource, name: &TargetName) -> Option<Target> {
    get::<TargetEntry>(rows, name).map(|it| it.target)
}

/// A token by its hash.
pub fn token(rows: &dyn RowSource, sha256: Digest) -> Option<Token> {
    get(rows, &sha256)
}

/// Every public key that is refused.
pub fn revoked_keys(rows: &dyn RowSource) -> Vec<Revoked> {
    all(rows)
}

/// Agents that were seen and neither said goodbye for good nor are known to be lost, with their last attach.
pub fn agents_to_expect(rows: &dyn RowSource) -> Vec<ExpectedAgent> {
    let seen = all::<Agent>(rows).into_iter().filter(|it| !it.lost && it.incarnation.is_some());
    seen.map(|it| ExpectedAgent {
        name: it.name,
        attach: it.attach,
        attached: it.attached,
        changed: it.changed,
    })
    .collect()
}

/// An agent that was attached and is not known to be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedAgent {
    pub name: AgentName,
    pub attach: u64,
    /// The coordinator that has its session, as far as the log knows.
    pub attached: Option<CoordinatorName>,
    /// When that changed last.
    pub changed: WallTime,
}

/// One runner.
pub fn runner(rows: &dyn RowSource, name: &HostName) -> Option<Runner> {
    get(rows, name)
}

/// Runners enrolled with an agent.
pub fn runners_of(rows: &dyn RowSource, agent: &AgentName) -> Vec<Runner> {
    all::<Runner>(rows).into_iter().filter(|runner| runner.agent == *agent).collect()
}

/// Those of the named runners that are enrolled with an agent.
pub fn runners_among(rows: &dyn RowSource, agent: &AgentName, names: &[HostName]) -> Vec<Runner> {
    let found = names.iter().filter_map(|name| get::<Runner>(rows, name));
    found.filter(|runner| runner.agent == *agent).collect()
}

/// Enrolled runners that a target selects.
pub(crate) fn hosts(rows: &dyn RowSource, target: &Target) -> Vec<HostName> {
    match target.platform {
        TargetPlatform::Hosts { .. } => hosts_among(&runners_of(rows, &target.agent), target),
        TargetPlatform::Kubernetes { .. } | TargetPlatform::Flink { .. } => Vec::new(),
    }
}

fn hosts_among(runners: &[Runner], target: &Target) -> Vec<HostName> {
    runners.iter().filter(|runner| runner.is_host_of(target)).map(|runner| runner.name.clone()).collect()
}

/// `target list|show`.
pub fn targets(rows: &dyn RowSource, wanted: Option<&str>) -> TargetList {
    let named = |it: &Target| wanted.is_none_or(|wanted| it.name.as_str() == wanted);
    let targets: Vec<Target> = targets_known(rows).into_iter().filter(named).collect();
    // Each runner is of one agent, so all targets together go over each of them as often as its agent has targets.
    let mut runners: BTreeMap<AgentName, Vec<Runner>> = BTreeMap::new();
    if targets.iter().any(|it| matches!(it.platform, TargetPlatform::Hosts { .. })) {
        for runner in all::<Runner>(rows) {
            runners.entry(runner.agent.clone()).or_default().push(runner);
        }
    }
    let one = |target: Target| {
        let hosts = runners.get(&target.agent).map_or_else(Vec::new, |all| hosts_among(all, &target));
        let select = match &target.platform {
            TargetPlatform::Hosts { select, .. } => select.clone(),
            TargetPlatform::Kubernetes { .. } | TargetPlatform::Flink { .. } => Default::default(),
        };
        let namespace = match &target.platform {
            TargetPlatform::Kubernetes { namespace, .. } => Some(namespace.clone()),
            TargetPlatform::Hosts { .. } | TargetPlatform::Flink { .. } => None,
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
            namespace,
            parallel: target.parallel,
            hosts: hosts.iter().map(ToString::to_string).collect(),
        }
    };
    TargetList { targets: targets.into_iter().map(one).collect() }
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
        platforms: it.platforms.iter().map(|kind| kind.as_str().to_owned()).collect(),
        agent: None,
        facts: Default::default(),
        cordoned: false,
        drained: false,
        refused: None,
    };
    AgentList { agents: all::<Agent>(rows).into_iter().map(one).collect() }
}

/// `runner list`, without what their agent says of them: one that was seen before is lost until it says more.
pub fn runners(rows: &dyn RowSource) -> RunnerList {
    let one = |it: Runner| MachineDocument {
        name: it.name.to_string(),
        state: if it.seen.is_some() { "lost" } else { "never_connected" }.to_owned(),
        facts: it.facts,
        cordoned: it.cordoned,
        drained: it.drained,
        address: None,
        incarnation: None,
        last_seen: it.seen.map(rfc3339),
        labels: it.labels,
        platforms: Vec::new(),
        agent: Some(it.agent.to_string()),
        refused: None,
    };
    RunnerList { runners: all::<Runner>(rows).into_iter().map(one).collect() }
}

pub fn alarms(rows: &dyn RowSource) -> Vec<AlarmDocument> {
    let one = |it: Alarm| AlarmDocument {
        clears: text::alarm_clears(&it.subject, &it.detail),
        code: it.code,
        message: text::alarm(&it.detail),
        since: rfc3339(it.since),
    };
    let raised = all::<Alarm>(rows).into_iter().map(one);
    raised.chain(silent_agents(rows)).chain(silent_hosts(rows)).collect()
}

/// An agent that is lost while it has installations.
fn silent_agents(rows: &dyn RowSource) -> Vec<AlarmDocument> {
    let lost = all::<Agent>(rows).into_iter().filter(|agent| agent.lost);
    let one = |agent: Agent| AlarmDocument {
        code: ReasonCode::AgentLost.as_str().to_owned(),
        message: text::agent_silent(&agent),
        since: rfc3339(agent.changed),
        clears: CLEARS_WAIT.to_owned(),
    };
    lost.map(one).collect()
}

/// An installation whose hosts are away, or could not join. What an agent that is lost said before says nothing.
fn silent_hosts(rows: &dyn RowSource) -> Vec<AlarmDocument> {
    let mut alarms = Vec::new();
    for it in all::<Installation>(rows) {
        let agent = target(rows, &it.id.target).and_then(|target| get::<Agent>(rows, &target.agent));
        if agent.is_none_or(|agent| agent.lost) {
            continue;
        }
        for code in [ReasonCode::HostNotConnected, ReasonCode::JoinFailed] {
            let hosts: Vec<_> = it.findings.iter().filter(|finding| finding.code == code).collect();
            let Some(since) = hosts.iter().map(|finding| finding.since).min() else { continue };
            let names: Vec<&str> = hosts.iter().map(|finding| finding.host.as_str()).collect();
            alarms.push(AlarmDocument {
                code: code.as_str().to_owned(),
                message: format!(
                    "{} on {}: {}: {}",
                    it.id.pipeline,
                    it.id.target,
                    names.join(", "),
                    hosts[0].message
                ),
                since: rfc3339(since),
                clears: CLEARS_WAIT.to_owned(),
            });
        }
    }
    alarms
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
