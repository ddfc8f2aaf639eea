//! What runs where.

use trimaran_engine::state::installation::Installation;
use trimaran_model::action::Failure;
use trimaran_model::id::{AssignmentId, InstallationId, PipelineName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::ReleaseWorkload;
use trimaran_model::verdict::Verdict;
use trimaran_wire::document::{InstallationDocument, StatusDocument, rfc3339};
use trimaran_wire::v1::agent::AgentVerdict;

use crate::cluster::cluster;
use crate::rows::{RowSource, all, get, release, version};
use crate::text::{self, Owner};

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
        let sha256 = current.as_ref().map(|entry| {
            let ReleaseWorkload::Host(host) = &entry.release.workload;
            host.bundle.sha256.to_string()
        });
        let ready = ready(&it, it.assignment.map_or(0, in_flight));
        let why = why_not(rows, &it);
        InstallationDocument {
            release: it.current.map(|digest| digest.to_string()),
            version: current.map(|entry| entry.release.version.clone()),
            sha256,
            since: it.current.map(|_| rfc3339(it.since)),
            health: it.health.as_str().to_owned(),
            code: why.first().map(|(code, _)| code.as_str().to_owned()),
            message: (!why.is_empty())
                .then(|| why.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("; ")),
            run: it.run.as_ref().map(ToString::to_string),
            desired: it.desired,
            updated: it.updated,
            ready,
            available: ready,
            bakes_until: it.bake_until.map(|at| rfc3339(clock.wall_of(at))),
            pipeline: it.id.pipeline.to_string(),
            environment: it.environment.to_string(),
            target: it.id.target.to_string(),
        }
    };
    StatusDocument { installations: all::<Installation>(rows).into_iter().filter(wanted).map(one).collect() }
}

/// Whether the state has what an agent reports of an installation already, or would not take it.
pub fn is_known(rows: &dyn RowSource, reported: &AgentVerdict) -> bool {
    let id = InstallationId::try_from(reported.installation.clone()).ok();
    let Some(it) = id.and_then(|id| installation(rows, &id)) else { return true };
    let healthy = Verdict::Healthy.as_str();
    let same = it.health.as_str() == reported.verdict && it.down == reported.down.min(it.desired);
    let failure = reported.failure.clone().filter(|_| it.health != Verdict::Healthy);
    let failure = failure.and_then(|wire| Failure::try_from(wire).ok());
    let idle = reported.verdict == healthy && !it.can_be_healthy();
    idle || (same && it.failure == failure)
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
    if let Some(failure) = it.failure.as_ref().filter(|_| it.health != Verdict::Healthy) {
        let message = match &failure.instance {
            Some(instance) => format!("{instance}: {}", failure.message),
            None => failure.message.clone(),
        };
        why.push((failure.code, message));
    }
    if let Some(mixed) = &it.mixed {
        let version = version(rows, &mixed.release).unwrap_or_else(|| mixed.release.short());
        let owner = Owner { run: &mixed.run, stage: Some(&mixed.stage) };
        let cause = mixed.cause.as_ref().map(|why| text::message(why, owner)).unwrap_or_default();
        let message = format!(
            "{} of {} hosts have {version} of {}, which did not finish: {cause}",
            mixed.hosts, it.desired, mixed.run
        );
        why.push((ReasonCode::MixedReleases, message));
    }
    why
}
