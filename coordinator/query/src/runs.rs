//! Runs, their reasons, what runs where, and history.

use std::collections::BTreeSet;

use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::Status;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;
use trimaran_wire::document::{
    ArtifactDocument, History, HistoryEntry, InstallationDocument, InstanceDocument, ReasonDocument,
    RollbackDocument, RunDocument, RunList, RunSummary, StageDocument, StatusDocument, WaveDocument, Why,
    WhyStage, rfc3339,
};
use trimaran_wire::v1::agent::AgentVerdict;
use trimaran_wire::v1::assignment::WireInstance;
use trimaran_wire::v1::common::WireReason;
use trimaran_wire::v1::release::{WireArtifact, WireReleaseWorkload};
use trimaran_wire::v1::row::{self, RollbackTarget, table};

use crate::{RowSource, all, release_row, run_row};
use trimaran_engine::command::can_be_healthy;
use trimaran_engine::settle::{planned, stage_name};
use trimaran_engine::state::{is_rollback, run_name};

fn time(ms: i64) -> String {
    rfc3339(WallTime(ms))
}

fn hex(digest: [u8; 32]) -> String {
    Digest(digest).to_string()
}

pub(super) fn artifacts(list: &[WireArtifact]) -> Vec<ArtifactDocument> {
    let one = |it: &WireArtifact| ArtifactDocument {
        name: it.name.clone(),
        version: it.version.clone(),
        sha256: hex(it.sha256),
    };
    list.iter().map(one).collect()
}

/// Reasons as documents.
pub fn reasons(list: &[WireReason]) -> Vec<ReasonDocument> {
    let one = |it: &WireReason| ReasonDocument {
        code: it.code.clone(),
        message: it.message.clone(),
        since: time(it.since),
        clears: it.clears.clone(),
        who: it.who.clone(),
        next_check: it.next_check.map(time),
    };
    list.iter().map(one).collect()
}

/// Instances as documents; the server uses it for live progress.
pub fn instances(list: &[WireInstance]) -> Vec<InstanceDocument> {
    let one = |it: &WireInstance| InstanceDocument {
        name: it.name.clone(),
        status: it.status.clone(),
        release: it.release.map(hex),
        code: it.code.clone(),
        message: it.message.clone(),
    };
    list.iter().map(one).collect()
}

fn stage(it: &row::Stage) -> StageDocument {
    let wave = (!it.waves.is_empty()).then(|| WaveDocument {
        number: it.wave + 1,
        of: u32::try_from(it.waves.len()).unwrap_or(u32::MAX),
        target_count: it.waves.get(it.wave as usize).copied().unwrap_or(it.total),
        done: it.done,
        total: it.total,
    });
    StageDocument {
        name: stage_name(it),
        environment: it.environment.clone(),
        target: it.target.clone(),
        status: it.status.clone(),
        attempt: it.attempt,
        fence: (it.fence > 0).then(|| it.fence.to_string()),
        wave,
        started_at: it.started_ms.map(time),
        finished_at: it.finished_ms.map(time),
        reasons: reasons(&it.reasons),
        instances: instances(&it.instances),
    }
}

/// The way back inside of a run, or the one that a run of kind rollback is.
fn rollback(rows: &dyn RowSource, it: &row::Run) -> Option<RollbackDocument> {
    let document = |cause: &String, to: Option<[u8; 32]>| RollbackDocument {
        cause: cause.clone(),
        to: to.map(hex),
        version: to.and_then(|to| release_row(rows, &to)).map(|row| row.release.version.clone()),
    };
    if let Some(inside) = &it.rollback {
        return Some(document(&inside.cause, inside.to));
    }
    if !is_rollback(it) {
        return None;
    }
    let restores = it.stages.iter().find(|stage| stage.rollback_target.is_none());
    let to = restores.and_then(|stage| planned(&it.plan, stage)).map(|(_, planned)| planned.release_digest);
    Some(document(&it.reason, to))
}

/// `run show`.
pub fn run(rows: &dyn RowSource, pipeline: &str, number: u64) -> Option<RunDocument> {
    let it = run_row(rows, pipeline, number)?;
    Some(RunDocument {
        run: run_name(&it.id),
        pipeline: it.id.pipeline.clone(),
        kind: it.kind.clone(),
        status: it.status.clone(),
        plan_digest: hex(it.plan.digest),
        by: it.by.clone(),
        artifacts: artifacts(&it.plan.artifacts),
        created_at: time(it.created_ms),
        finished_at: it.finished_ms.map(time),
        reasons: reasons(&it.reasons),
        stages: it.stages.iter().map(stage).collect(),
        rollback: rollback(rows, &it),
        caused_by: it.caused_by.as_ref().map(run_name),
        revision: it.revision,
    })
}

/// The live assignments of a run's stages: stage name and assignment number.
pub fn live_assignments(rows: &dyn RowSource, pipeline: &str, number: u64) -> Vec<(String, u64)> {
    let Some(it) = run_row(rows, pipeline, number) else { return Vec::new() };
    it.stages.iter().filter_map(|stage| Some((stage_name(stage), stage.assignment?))).collect()
}

/// Hot and old runs, the newest first.
fn every_run(rows: &dyn RowSource) -> Vec<row::Run> {
    let mut found = all::<row::Run>(rows);
    rows.scan(&[table::OLD_RUN], &mut |key, value| {
        found.extend(crate::decode::<row::Run>(rows, key, value));
        true
    });
    found.sort_by_key(|run| std::cmp::Reverse(run.sequence));
    found
}

/// `run list`.
pub fn runs(rows: &dyn RowSource, pipeline: Option<&str>, limit: usize) -> RunList {
    let wanted = |run: &row::Run| pipeline.is_none_or(|pipeline| run.id.pipeline == pipeline);
    let one = |it: row::Run| RunSummary {
        rollback: rollback(rows, &it),
        run: run_name(&it.id),
        pipeline: it.id.pipeline.clone(),
        kind: it.kind,
        status: it.status,
        plan_digest: hex(it.plan.digest),
        by: it.by,
        artifacts: artifacts(&it.plan.artifacts),
        created_at: time(it.created_ms),
        finished_at: it.finished_ms.map(time),
        caused_by: it.caused_by.as_ref().map(run_name),
    };
    RunList { runs: every_run(rows).into_iter().filter(wanted).take(limit).map(one).collect() }
}

/// `why`: every stage that has something to say, or the named one.
pub fn why(rows: &dyn RowSource, pipeline: &str, number: u64, wanted: Option<&str>) -> Option<Why> {
    let it = run_row(rows, pipeline, number)?;
    let stages = it.stages.iter().filter(|stage| wanted.is_none_or(|wanted| stage_name(stage) == wanted));
    let stages = stages
        .map(|stage| WhyStage {
            name: stage_name(stage),
            status: stage.status.clone(),
            reasons: reasons(&stage.reasons),
        })
        .collect();
    Some(Why {
        run: run_name(&it.id),
        status: it.status.clone(),
        stages,
        rollback: rollback(rows, &it),
        caused_by: it.caused_by.as_ref().map(run_name),
    })
}

/// `status` and `installation list`. `in_flight` says of a live assignment how many hosts do not serve because of it.
pub fn status(
    rows: &dyn RowSource,
    pipeline: Option<&str>,
    in_flight: &dyn Fn(u64) -> u32,
) -> StatusDocument {
    let meta = crate::meta(rows);
    let wanted = |it: &row::Installation| pipeline.is_none_or(|pipeline| it.id.pipeline == pipeline);
    let one = |it: row::Installation| {
        let release = it.current.and_then(|digest| release_row(rows, &digest));
        let sha256 = release.as_ref().map(|row| {
            let WireReleaseWorkload::Host { bundle, .. } = &row.release.workload;
            hex(bundle.sha256)
        });
        let ready = ready(&it, it.assignment.map_or(0, in_flight));
        let why = why_not(rows, &it);
        InstallationDocument {
            pipeline: it.id.pipeline,
            environment: it.environment,
            target: it.id.target,
            release: it.current.map(hex),
            version: release.map(|row| row.release.version.clone()),
            sha256,
            since: it.current.map(|_| time(it.since_ms)),
            health: it.health,
            code: why.first().map(|(code, _)| code.clone()),
            message: (!why.is_empty())
                .then(|| why.into_iter().map(|(_, message)| message).collect::<Vec<_>>().join("; ")),
            run: it.run.as_ref().map(run_name),
            desired: it.desired,
            updated: it.updated,
            ready,
            available: ready,
            bakes_until: it.bake_until.map(|at| time(i64::try_from(at).unwrap_or(0) + meta.offset_ms)),
        }
    };
    StatusDocument {
        installations: all::<row::Installation>(rows).into_iter().filter(wanted).map(one).collect(),
    }
}

/// Whether the state says already what an agent says of an installation, or would not take it.
pub fn says(rows: &dyn RowSource, said: &AgentVerdict) -> bool {
    let Some(it) = crate::installation(rows, &said.installation) else { return true };
    let healthy = Verdict::Healthy.as_str();
    let same = it.health == said.verdict && it.down == said.down.min(it.desired);
    let same_words = it.failure.as_ref() == said.failure.as_ref().filter(|_| it.health != healthy);
    let idle = said.verdict == healthy && !can_be_healthy(&it);
    idle || (same && same_words)
}

/// Hosts that serve, on whatever release. While a stage works, the hosts that it has not touched serve what ran before;
/// at a first deploy there is nothing before.
fn ready(it: &row::Installation, in_flight: u32) -> u32 {
    let all = if it.current.is_some() { it.desired } else { it.updated };
    let failed = it.failure.is_some() && it.health != Verdict::Healthy.as_str();
    all.saturating_sub(it.down.max(u32::from(failed)).max(in_flight))
}

/// Codes and words: why an installation is not healthy, and why its hosts differ.
fn why_not(rows: &dyn RowSource, it: &row::Installation) -> Vec<(String, String)> {
    let mut why = Vec::new();
    if let Some(failure) = it.failure.as_ref().filter(|_| it.health != Verdict::Healthy.as_str()) {
        let message = match &failure.instance {
            Some(instance) => format!("{instance}: {}", failure.message),
            None => failure.message.clone(),
        };
        why.push((failure.code.clone(), message));
    }
    if let Some(mixed) = &it.mixed {
        let version = release_row(rows, &mixed.release).map(|row| row.release.version.clone());
        let version = version.unwrap_or_else(|| Digest(mixed.release).short());
        let message = format!(
            "{} of {} hosts have {version} of {}, which ended early: {}",
            mixed.hosts,
            it.desired,
            run_name(&mixed.run),
            mixed.cause
        );
        why.push((ReasonCode::MixedReleases.as_str().to_owned(), message));
    }
    why
}

/// Environments that a pipeline was ever deployed to, sorted.
pub fn environments_seen(rows: &dyn RowSource, pipeline: &str) -> BTreeSet<String> {
    let runs = every_run(rows).into_iter().filter(|run| run.id.pipeline == pipeline);
    runs.flat_map(|run| run.stages).map(|stage| stage.environment).collect()
}

/// `history`: one entry a stage that did something, the newest first.
pub fn history(rows: &dyn RowSource, pipeline: &str, environment: Option<&str>, limit: usize) -> History {
    let mut entries = Vec::new();
    let runs: Vec<row::Run> = every_run(rows).into_iter().filter(|run| run.id.pipeline == pipeline).collect();
    for run in &runs {
        let rolled_back_by = runs.iter().find(|it| it.caused_by.as_ref() == Some(&run.id));
        for stage in run.stages.iter().filter(|stage| stage.target.is_some() && stage.attempt > 0) {
            if environment.is_some_and(|wanted| wanted != stage.environment) {
                continue;
            }
            entries.extend(entry(rows, run, stage, rolled_back_by));
        }
    }
    entries.truncate(limit);
    History { entries }
}

/// `rolled_back_by`: a later run of kind rollback that the run caused.
fn entry(
    rows: &dyn RowSource,
    run: &row::Run,
    stage: &row::Stage,
    rolled_back_by: Option<&row::Run>,
) -> Option<HistoryEntry> {
    let (_, planned) = planned(&run.plan, stage)?;
    let same = |it: &row::Stage| it.environment == stage.environment && it.target == stage.target;
    let rolled_back_by = rolled_back_by.filter(|by| by.stages.iter().any(same));
    let back = match &stage.rollback_target {
        Some(RollbackTarget::Restore(to)) => release_row(rows, to).map(|row| row.release.version.clone()),
        Some(RollbackTarget::Stop) | None => None,
    };
    // What another stage failed of is no cause of one that succeeded.
    let failed = run.rollback.as_ref().filter(|_| stage.status != Status::Succeeded.as_str());
    let cause = failed
        .map(|it| it.cause.clone())
        .or_else(|| rolled_back_by.map(|by| format!("rolled back by {}: {}", run_name(&by.id), by.reason)))
        .or_else(|| (!run.reason.is_empty()).then(|| run.reason.clone()));
    let cause = match (cause, back) {
        (Some(cause), Some(back)) => Some(format!("{cause} (back to {back})")),
        (cause, _) => cause,
    };
    Some(HistoryEntry {
        run: run_name(&run.id),
        kind: run.kind.clone(),
        environment: stage.environment.clone(),
        target: planned.target.clone(),
        release: hex(planned.release_digest),
        version: planned.release.version.clone(),
        status: stage.status.clone(),
        started_at: stage.started_ms.map(time),
        finished_at: stage.finished_ms.map(time),
        by: run.by.clone(),
        cause,
        rolled_back_by: rolled_back_by.map(|by| run_name(&by.id)),
    })
}
