//! Runs, their reasons, and history.

use std::collections::BTreeSet;

use trimaran_engine::rows::cold::Instances;
use trimaran_engine::rows::instances_key;
use trimaran_engine::state::run::Run;
use trimaran_engine::state::stage::{Deploy, Direction, RollbackTarget, Stage};
use trimaran_model::action::InstanceReport;
use trimaran_model::id::{Digest, EnvironmentName, PipelineName, RunId, StageName};
use trimaran_model::release::Artifact;
use trimaran_model::run::Status;
use trimaran_model::time::WallTime;
use trimaran_wire::document::{
    ArtifactDocument, History, HistoryEntry, InstanceDocument, RollbackDocument, RunDocument, RunList,
    RunSummary, StageDocument, WaveDocument, Why, WhyStage, rfc3339,
};

use crate::rows::{RowSource, StoredRun, all, every_run, hot_run, read, stored_run, version};
use crate::text::{self, Owner};

fn time(at: WallTime) -> String {
    rfc3339(at)
}

pub(crate) fn artifacts(list: &[Artifact]) -> Vec<ArtifactDocument> {
    let one = |it: &Artifact| ArtifactDocument {
        name: it.name.to_string(),
        version: it.version.clone(),
        sha256: it.sha256.to_string(),
    };
    list.iter().map(one).collect()
}

/// Instances as documents; the server uses it for live progress.
pub fn instances(list: &[InstanceReport]) -> Vec<InstanceDocument> {
    let one = |it: &InstanceReport| InstanceDocument {
        name: it.name.to_string(),
        status: it.status.as_str().to_owned(),
        release: it.release.map(|digest| digest.to_string()),
        code: it.code.map(|code| code.as_str().to_owned()),
        message: it.message.clone(),
    };
    list.iter().map(one).collect()
}

/// What was last reported of the instances of a stage.
fn stored_instances(rows: &dyn RowSource, stage: &Stage) -> Vec<InstanceDocument> {
    let found = read::<Instances>(rows, &instances_key(&stage.run, stage.index)).unwrap_or_default();
    instances(&found.instances)
}

fn wave(deploy: &Deploy) -> Option<WaveDocument> {
    let attempt = deploy.attempt.as_ref()?;
    Some(WaveDocument {
        number: attempt.wave + 1,
        of: u32::try_from(attempt.waves.len()).unwrap_or(u32::MAX),
        target_count: attempt.waves.get(attempt.wave as usize).copied().unwrap_or(attempt.total),
        done: attempt.done,
        total: attempt.total,
    })
}

fn stage(rows: &dyn RowSource, it: &Stage) -> StageDocument {
    let deploy = it.deploy();
    let attempt = deploy.and_then(|deploy| deploy.attempt.as_ref());
    StageDocument {
        name: it.name.to_string(),
        environment: it.name.environment.to_string(),
        target: deploy.map(|deploy| deploy.target.to_string()),
        status: it.status().as_str().to_owned(),
        attempt: attempt.map_or(0, |attempt| attempt.number.0),
        fence: attempt.map(|attempt| attempt.fence.to_string()),
        wave: deploy.and_then(wave),
        started_at: it.started.map(time),
        finished_at: it.finished.map(time),
        reasons: text::reasons(&it.reasons, stage_owner(it)),
        instances: stored_instances(rows, it),
    }
}

fn stage_owner(stage: &Stage) -> Owner<'_> {
    Owner { run: &stage.run, stage: Some(&stage.name) }
}

fn run_owner(run: &Run) -> Owner<'_> {
    Owner { run: &run.id, stage: None }
}

/// Why a run exists: the cause of a rollback, or what its user wrote.
fn run_cause(run: &Run) -> Option<String> {
    let cause = run.cause.as_ref().map(|why| text::cause(why, run_owner(run)));
    cause.or_else(|| (!run.comment.is_empty()).then(|| run.comment.clone()))
}

/// The rollback inside of a run, or the one that a run of kind rollback is.
fn rollback(rows: &dyn RowSource, run: &Run, stages: &[Stage]) -> Option<RollbackDocument> {
    let owner = Owner { run: &run.id, stage: None };
    let document = |cause: String, to: Option<Digest>| RollbackDocument {
        cause,
        to: to.map(|to| to.to_string()),
        version: to.and_then(|to| version(rows, &to)),
    };
    if let Some(inside) = &run.rollback {
        return Some(document(text::cause(&inside.cause, owner), inside.to));
    }
    let cause = run.cause.as_ref()?;
    let restores = stages.iter().filter_map(Stage::deploy).find(|deploy| !deploy.is_back());
    Some(document(text::cause(cause, owner), restores.map(|deploy| deploy.release)))
}

/// `run show`.
pub fn run(rows: &dyn RowSource, id: &RunId) -> Option<RunDocument> {
    let StoredRun { run, stages } = stored_run(rows, id)?;
    Some(RunDocument {
        run: run.id.to_string(),
        pipeline: run.id.pipeline.to_string(),
        kind: run.kind.as_str().to_owned(),
        status: run.status.as_str().to_owned(),
        plan_digest: run.plan.to_string(),
        by: run.by.to_string(),
        artifacts: artifacts(&run.artifacts),
        created_at: time(run.created),
        finished_at: run.finished.map(time),
        reasons: text::reasons(&run.reasons, Owner { run: &run.id, stage: None }),
        stages: stages.iter().map(|it| stage(rows, it)).collect(),
        rollback: rollback(rows, &run, &stages),
        caused_by: run.caused_by.as_ref().map(ToString::to_string),
        revision: run.revision.0,
    })
}

/// Hot runs that changed after a revision, in the order of their last change.
pub fn runs_changed(rows: &dyn RowSource, since: u64) -> Vec<StoredRun> {
    let mut found = all::<Run>(rows);
    found.retain(|run| run.revision.0 > since);
    found.sort_by_key(|run| run.revision);
    found.into_iter().map(|run| hot_run(rows, run)).collect()
}

/// `run list`.
pub fn runs(rows: &dyn RowSource, pipeline: Option<&PipelineName>, limit: usize) -> RunList {
    let wanted = |run: &Run| pipeline.is_none_or(|pipeline| run.id.pipeline == *pipeline);
    let one = |it: Run| {
        // Where a rollback run leads to is in its stages.
        let stages = match it.is_rollback() {
            true => stored_run(rows, &it.id).map(|it| it.stages).unwrap_or_default(),
            false => Vec::new(),
        };
        RunSummary {
            rollback: rollback(rows, &it, &stages),
            run: it.id.to_string(),
            pipeline: it.id.pipeline.to_string(),
            kind: it.kind.as_str().to_owned(),
            status: it.status.as_str().to_owned(),
            plan_digest: it.plan.to_string(),
            by: it.by.to_string(),
            artifacts: artifacts(&it.artifacts),
            created_at: time(it.created),
            finished_at: it.finished.map(time),
            caused_by: it.caused_by.as_ref().map(ToString::to_string),
        }
    };
    RunList { runs: every_run(rows).into_iter().filter(wanted).take(limit).map(one).collect() }
}

/// `why`: every stage that has something to say, or the named one.
pub fn why(rows: &dyn RowSource, id: &RunId, wanted: Option<&str>) -> Option<Why> {
    let StoredRun { run, stages } = stored_run(rows, id)?;
    let shown = stages.iter().filter(|stage| wanted.is_none_or(|wanted| stage.name.to_string() == wanted));
    let shown = shown.map(|stage| WhyStage {
        name: stage.name.to_string(),
        status: stage.status().as_str().to_owned(),
        reasons: text::reasons(&stage.reasons, stage_owner(stage)),
    });
    Some(Why {
        run: run.id.to_string(),
        status: run.status.as_str().to_owned(),
        stages: shown.collect(),
        rollback: rollback(rows, &run, &stages),
        caused_by: run.caused_by.as_ref().map(ToString::to_string),
    })
}

/// Environments that a pipeline was ever deployed to, sorted.
pub fn environments_seen(rows: &dyn RowSource, pipeline: &PipelineName) -> BTreeSet<String> {
    let runs = every_run(rows).into_iter().filter(|run| run.id.pipeline == *pipeline);
    let stages = runs.filter_map(|run| stored_run(rows, &run.id)).flat_map(|it| it.stages);
    stages.map(|stage| stage.name.environment.to_string()).collect()
}

/// `history`: one entry a stage that did something, the newest first.
pub fn history(
    rows: &dyn RowSource,
    pipeline: &PipelineName,
    environment: Option<&EnvironmentName>,
    limit: usize,
) -> History {
    let mut entries = Vec::new();
    let here = |name: &StageName| environment.is_none_or(|wanted| *wanted == name.environment);
    let runs: Vec<Run> = every_run(rows).into_iter().filter(|run| run.id.pipeline == *pipeline).collect();
    for run in &runs {
        if entries.len() >= limit {
            break;
        }
        let Some(StoredRun { stages, .. }) = stored_run(rows, &run.id) else { continue };
        let by = runs.iter().find(|it| it.caused_by.as_ref() == Some(&run.id));
        let by = by.and_then(|by| stored_run(rows, &by.id));
        for stage in stages.iter().filter(|stage| here(&stage.name)) {
            if let Some(deploy) = stage.deploy().filter(|deploy| deploy.attempt.is_some()) {
                entries.push(entry(rows, run, (stage, deploy), by.as_ref()));
            }
        }
    }
    entries.truncate(limit);
    History { entries }
}

/// `by`: a later run of kind rollback that the run caused.
fn entry(
    rows: &dyn RowSource,
    run: &Run,
    (stage, deploy): (&Stage, &Deploy),
    by: Option<&StoredRun>,
) -> HistoryEntry {
    let by = by.filter(|by| by.stages.iter().any(|it| it.name == stage.name)).map(|by| &by.run);
    let back = match &deploy.direction {
        Direction::Back { to: RollbackTarget::Restore { release }, .. } => version(rows, release),
        Direction::Back { to: RollbackTarget::Stop, .. } | Direction::Forward => None,
    };
    // What another stage failed of is no cause of one that succeeded.
    let failed = run.rollback.as_ref().filter(|_| stage.status() != Status::Succeeded);
    let cause = failed
        .map(|it| text::cause(&it.cause, run_owner(run)))
        .or_else(|| by.map(|by| format!("rolled back by {}: {}", by.id, run_cause(by).unwrap_or_default())))
        .or_else(|| run_cause(run));
    let cause = match (cause, back) {
        (Some(cause), Some(back)) => Some(format!("{cause} (back to {back})")),
        (cause, _) => cause,
    };
    HistoryEntry {
        run: run.id.to_string(),
        kind: run.kind.as_str().to_owned(),
        environment: stage.name.environment.to_string(),
        target: deploy.target.to_string(),
        release: deploy.release.to_string(),
        version: version(rows, &deploy.release).unwrap_or_else(|| deploy.release.short()),
        status: stage.status().as_str().to_owned(),
        started_at: stage.started.map(time),
        finished_at: stage.finished.map(time),
        by: run.by.to_string(),
        cause,
        rolled_back_by: by.map(|by| by.id.to_string()),
    }
}
