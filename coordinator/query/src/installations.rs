//! What runs where.

use trimaran_engine::state::agent::{Agent, Runner};
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::installation::{HostFinding, Installation, WhenHealthy, is_finding};
use trimaran_engine::state::stage::Stage;
use trimaran_engine::state::undecided::{Undecided, UndecidedSubject};
use trimaran_model::action::Failure;
use trimaran_model::id::{AssignmentId, InstallationId, PipelineName, RunId};
use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::release::ReleaseWorkload;
use trimaran_model::run::RunKind;
use trimaran_model::target::TargetClass;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;
use trimaran_wire::document::{InstallationDocument, ReasonDocument, StatusDocument, rfc3339};
use trimaran_wire::v1::agent::{self, AgentVerdict, HostCounts};
use trimaran_wire::v1::assignment::WireFailure;

use crate::cluster::{cluster, target};
use crate::newest::Newest;
use crate::rows::{RowSource, StoredRun, all, any, get, release, stored_run, version};
use crate::text::{self, Owner};

/// Runs of a pipeline among which one that is not done is.
const RUNS_LOOKED_AT: usize = 80;

/// One installation.
pub fn installation(rows: &dyn RowSource, id: &InstallationId) -> Option<Installation> {
    get(rows, id)
}

/// `status` and `installation list`. `in_flight` says of a live assignment how many hosts do not serve because of it.
pub fn status(
    rows: &dyn RowSource,
    pipeline: Option<&PipelineName>,
    in_flight: &dyn Fn(AssignmentId) -> u32,
) -> StatusDocument {
    let clock = cluster(rows);
    let wanted = |it: &Installation| pipeline.is_none_or(|pipeline| it.id.pipeline == *pipeline);
    let one = |it: Installation| {
        let current = it.current.and_then(|digest| release(rows, &digest));
        let artifacts = current.as_ref().map(|entry| entry.release.workload.artifacts());
        let sha256 = artifacts.and_then(|it| Some(it.first()?.sha256.to_string()));
        let ready = ready(&it, it.assignment.map_or(0, in_flight));
        let silent = silent_agent(rows, &it);
        let mut why = why_not(rows, &it);
        if let Some(agent) = &silent {
            why.insert(0, (ReasonCode::AgentLost, text::agent_silent(agent)));
        }
        if let Some(said) = undecided(rows, &it) {
            why.insert(0, (ReasonCode::Restored, said.message));
        }
        let health = if silent.is_some() { Verdict::Unknown } else { it.health };
        InstallationDocument {
            release: it.current.map(|digest| digest.to_string()),
            version: current.map(|entry| entry.release.version.clone()),
            sha256,
            since: it.current.map(|_| rfc3339(it.since)),
            health: health.as_str().to_owned(),
            members: it.members,
            lost: it.lost,
            diverged: it.diverged,
            in_progress: in_progress(rows, &it).map(|run| run.to_string()),
            code: why.first().map(|(code, _)| code.as_str().to_owned()),
            message: (!why.is_empty())
                .then(|| why.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("; ")),
            run: it.run.as_ref().map(ToString::to_string),
            by_rollback: by_rollback(rows, &it),
            desired: it.desired,
            updated: it.updated,
            ready,
            available: ready,
            blind_since: it.blind_since.map(rfc3339),
            bakes_until: it.bake_until.map(|at| rfc3339(clock.wall_of(at))),
            pipeline: it.id.pipeline.to_string(),
            environment: it.environment.to_string(),
            target: it.id.target.to_string(),
        }
    };
    StatusDocument { installations: all::<Installation>(rows).into_iter().filter(wanted).map(one).collect() }
}

/// The agent of an installation, when it is lost.
fn silent_agent(rows: &dyn RowSource, it: &Installation) -> Option<Agent> {
    let target = target(rows, &it.id.target)?;
    get::<Agent>(rows, &target.agent).filter(|agent| agent.lost && it.current.is_some())
}

/// The run that works on an installation, or waits in the middle of it.
fn in_progress(rows: &dyn RowSource, it: &Installation) -> Option<RunId> {
    if let Some(live) = it.assignment.and_then(|id| get::<LiveAssignment>(rows, &id)) {
        return Some(live.order.run);
    }
    let begun = |stage: &Stage| {
        let deploy = stage.deploy().filter(|deploy| deploy.target == it.id.target);
        deploy.is_some_and(|deploy| deploy.attempt.is_some() && !deploy.is_done())
    };
    let runs = Newest::new(rows, Some(&it.id.pipeline)).take(RUNS_LOOKED_AT);
    let mut live = runs.filter(|run| !run.status.is_done()).filter_map(|run| stored_run(rows, &run.id));
    live.find(|it| it.stages.iter().any(begun)).map(|it| it.run.id)
}

/// Why the hosts of a release are not all as they should be, beside what its stage says: of the run that brought it.
pub(crate) fn findings(rows: &dyn RowSource, stage: &Stage) -> Vec<ReasonDocument> {
    let Some(deploy) = stage.deploy() else { return Vec::new() };
    let id = InstallationId { pipeline: stage.run.pipeline.clone(), target: deploy.target.clone() };
    let Some(it) = installation(rows, &id).filter(|it| it.run.as_ref() == Some(&stage.run)) else {
        return Vec::new();
    };
    let one = |(code, message, since): (ReasonCode, String, WallTime)| ReasonDocument {
        code: code.as_str().to_owned(),
        message,
        since: rfc3339(since),
        clears: CLEARS_WAIT.to_owned(),
        who: Vec::new(),
        next_check: None,
        first: Some(code.advice().to_owned()),
        cause: None,
        instance: None,
        run: None,
    };
    let others = warnings(&it).into_iter().chain(edited(rows, &it)).chain(runs_as_root(rows, &it)).map(one);
    undecided(rows, &it).into_iter().chain(others).collect()
}

/// That a restore left the installation undecided, and the command with which that is decided.
fn undecided(rows: &dyn RowSource, it: &Installation) -> Option<ReasonDocument> {
    let subject = UndecidedSubject::Installation { installation: it.id.clone() };
    let since = get::<Undecided>(rows, &subject)?.since;
    Some(text::undecided(&it.id, &it.environment, since, observes(rows)))
}

/// Whether the cluster was restored from a backup and only observes.
pub fn observes(rows: &dyn RowSource) -> bool {
    get::<Undecided>(rows, &UndecidedSubject::Cluster).is_some()
}

/// Whether a restore left the installation undecided.
pub fn is_undecided(rows: &dyn RowSource, id: &InstallationId) -> bool {
    let subject = UndecidedSubject::Installation { installation: id.clone() };
    get::<Undecided>(rows, &subject).is_some()
}

/// What someone else changed of the release's fields, as it is now.
fn edited(rows: &dyn RowSource, it: &Installation) -> Option<(ReasonCode, String, WallTime)> {
    let failure = it.failure.as_ref().filter(|failure| failure.code == ReasonCode::Diverged)?;
    Some((failure.code, instance_message(failure), cluster(rows).wall()))
}

/// A failure's message, behind the name of its instance.
fn instance_message(failure: &Failure) -> String {
    match &failure.instance {
        Some(instance) => format!("{instance}: {}", failure.message),
        None => failure.message.clone(),
    }
}

/// A service without a `user` on a prod target runs as root where its runners are.
fn runs_as_root(rows: &dyn RowSource, it: &Installation) -> Option<(ReasonCode, String, WallTime)> {
    let target = target(rows, &it.id.target).filter(|target| target.class == TargetClass::Prod)?;
    let entry = release(rows, &it.current?)?;
    let ReleaseWorkload::Host(host) = &entry.release.workload else { return None };
    if host.process.account.user.is_some() {
        return None;
    }
    let is_root = |runner: &Runner| {
        runner.facts.get("user").is_some_and(|user| user == "root") && runner.is_host_of(&target)
    };
    // One is enough, and where there is one, most are.
    let found = any::<Runner>(rows, &is_root);
    let message = format!("its process on {} has no `user` and runs as root", it.id.target);
    found.then_some((ReasonCode::RunsAsRoot, message, it.since))
}

/// What people should know of the hosts.
fn warnings(it: &Installation) -> Vec<(ReasonCode, String, WallTime)> {
    let mut found = Vec::new();
    if it.bake_until.is_some()
        && let Some(crash) = &it.crash
    {
        let host = crash.instance.as_ref().map(|host| format!("{host}: ")).unwrap_or_default();
        let times = if it.crashes == 1 { "once".to_owned() } else { format!("{} times", it.crashes) };
        let message =
            format!("a process ended {times} since the deploy, the last time {host}{}", crash.message);
        found.push((ReasonCode::Crashed, message, it.since));
    }
    let one = |finding: &HostFinding| {
        let message = format!("{}: {}, since {}", finding.host, finding.message, rfc3339(finding.since));
        (finding.code, message, finding.since)
    };
    found.extend(it.findings.iter().map(one));
    found
}

/// Whether the run that brought the release went back to it.
fn by_rollback(rows: &dyn RowSource, it: &Installation) -> bool {
    let Some(StoredRun { run, stages }) = it.run.as_ref().and_then(|run| stored_run(rows, run)) else {
        return false;
    };
    let mut deploys = stages.iter().filter_map(Stage::deploy);
    run.kind == RunKind::Rollback || deploys.any(|deploy| deploy.target == it.id.target && deploy.is_back())
}

/// Whether the state has what an agent reports of an installation already, or would not take it.
pub fn is_known(rows: &dyn RowSource, reported: &AgentVerdict) -> bool {
    let id = InstallationId::try_from(reported.installation.clone()).ok();
    let Some(it) = id.and_then(|id| installation(rows, &id)) else { return true };
    if let Some(hosts) = &reported.hosts {
        return is_known_of_hosts(&it, reported, hosts);
    }
    if reported.verdict == Verdict::Healthy.as_str() {
        match it.when_healthy(reported.down) {
            WhenHealthy::Noted => return false,
            WhenHealthy::Nothing => return true,
            WhenHealthy::Healthy => {}
        }
    }
    // Each session counts the same moment a little differently.
    let blind = it.blind_since.is_some() == reported.blind_since_ms.is_some();
    let same = blind && it.health.as_str() == reported.verdict && it.down == reported.down.min(it.desired);
    let failure = reported.failure.clone().and_then(|wire| Failure::try_from(wire).ok());
    let failure = failure.filter(|failure| is_finding(it.health, failure.code));
    same && it.failure == failure
}

/// What is the same in every number changes nothing.
fn is_known_of_hosts(it: &Installation, reported: &AgentVerdict, hosts: &HostCounts) -> bool {
    // Each session counts the same moment a little differently.
    let same = |(own, said): (&HostFinding, &agent::HostFinding)| {
        own.host.as_str() == said.host && own.code.as_str() == said.code && own.message == said.message
    };
    let findings =
        it.findings.len() == hosts.findings.len() && it.findings.iter().zip(&hosts.findings).all(same);
    let counts = [it.members, it.updated, it.lost, it.diverged, it.crashes];
    it.health.as_str() == reported.verdict
        && it.down == reported.down.min(it.desired)
        && it.failure.as_ref().map(WireFailure::from) == reported.failure
        && counts == [hosts.members, hosts.updated, hosts.lost, hosts.diverged, hosts.crashes]
        && findings
}

/// Hosts that serve, on whatever release. While a stage works, the hosts that it has not touched serve what ran before;
/// at a first deploy there is nothing before.
fn ready(it: &Installation, in_flight: u32) -> u32 {
    let all = if it.current.is_some() { it.desired } else { it.updated };
    let failed = it.failure.is_some() && it.health != Verdict::Healthy;
    all.saturating_sub(it.down.max(u32::from(failed)).max(in_flight))
}

/// Codes and sentences: why an installation is not healthy, and why its hosts differ.
fn why_not(rows: &dyn RowSource, it: &Installation) -> Vec<(ReasonCode, String)> {
    let mut why = Vec::new();
    if let Some(failure) = &it.failure {
        why.push((failure.code, instance_message(failure)));
    }
    why.extend(warnings(it).into_iter().map(|(code, message, _)| (code, message)));
    if let Some(since) = it.blind_since {
        let code = it.failure.as_ref().map_or(ReasonCode::PausedUnknown, |failure| failure.code);
        why.push((code, format!("its agent can't see it since {}", rfc3339(since))));
    }
    if let Some(mixed) = &it.mixed {
        let short = mixed.release.short();
        let release = match version(rows, &mixed.release) {
            // The same version with another configuration.
            Some(other)
                if it.current.and_then(|current| version(rows, &current)).as_ref() == Some(&other) =>
            {
                format!("{other} in another configuration ({short})")
            }
            Some(version) => version,
            None => short,
        };
        let owner = Owner { run: &mixed.run, stage: Some(&mixed.stage) };
        let cause = mixed.cause.as_ref().map(|why| text::message(why, owner)).unwrap_or_default();
        let message = format!(
            "{} of {} hosts have {release} of {}, which did not finish: {cause}",
            mixed.hosts, it.desired, mixed.run
        );
        why.push((ReasonCode::MixedReleases, message));
    }
    why
}
