//! Runs, their reasons, and history.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_engine::rows::cold::Instances;
use trimaran_engine::rows::instances_key;
use trimaran_engine::state::agent::Runner;
use trimaran_engine::state::assignment::LiveAssignment;
use trimaran_engine::state::run::Run;
use trimaran_engine::state::stage::{Deploy, Direction, RollbackTarget, Stage};
use trimaran_model::action::{BeganFrom, InstanceReport, JOBMANAGER};
use trimaran_model::id::{Digest, EnvironmentName, HostName, PipelineName, RunId, StageName, TargetName};
use trimaran_model::limits::{HOST_FINDINGS_MAX, HOST_LOST_AFTER, HOST_SKIPPED_AFTER};
use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::release::Artifact;
use trimaran_model::run::Status;
use trimaran_model::target::TargetPlatform;
use trimaran_model::time::WallTime;
use trimaran_wire::document::{
    ArtifactDocument, History, HistoryEntry, InstanceDocument, ReasonDocument, RollbackDocument, RunDocument,
    RunList, RunSummary, StageDocument, StateDocument, WaveDocument, Why, WhyStage, rfc3339,
};

use crate::cluster::{runners_of, target};
use crate::installations;
use crate::newest::Newest;
use crate::rows::{RowSource, StoredRun, all, get, hot_run, read, stored_run, version};
use crate::text::{self, Owner};

/// Runs whose environments count as known.
const ENVIRONMENTS_RUNS_MAX: usize = 10_000;

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

/// Instances as documents; the server uses it for live progress. Commands of a job's steps name the first JobManager of
/// its target.
pub fn instances(
    rows: &dyn RowSource,
    target_name: Option<&TargetName>,
    list: &[InstanceReport],
) -> Vec<InstanceDocument> {
    let has_steps = list.iter().any(|it| !it.steps.is_empty());
    let platform =
        target_name.filter(|_| has_steps).and_then(|name| target(rows, name)).map(|it| it.platform);
    let url = match &platform {
        Some(TargetPlatform::Flink { urls, .. }) => urls.first().map(|url| url.trim_end_matches('/')),
        _ => None,
    };
    let one = |it: &InstanceReport| InstanceDocument {
        name: it.name.to_string(),
        status: it.status.as_str().to_owned(),
        release: it.release.map(|digest| digest.to_string()),
        code: it.code.map(|code| code.as_str().to_owned()),
        message: it.message.clone(),
        since: None,
        state: it.began_from.as_ref().map(state),
        steps: it.steps.iter().map(|step| step.replace(JOBMANAGER, url.unwrap_or(JOBMANAGER))).collect(),
    };
    list.iter().map(one).collect()
}

fn state(from: &BeganFrom) -> StateDocument {
    StateDocument {
        kind: from.kind().to_owned(),
        path: from.state().map(|(path, _)| path.to_owned()),
        at: from.state().map(|(_, at)| rfc3339(at)),
    }
}

/// What was last reported of the instances of a stage.
fn stored_instances(rows: &dyn RowSource, stage: &Stage) -> Vec<InstanceDocument> {
    let found = read::<Instances>(rows, &instances_key(&stage.run, stage.index)).unwrap_or_default();
    instances(rows, stage.deploy().map(|deploy| &deploy.target), &found.instances)
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
        reasons: reasons_of(rows, it),
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
    let one = |it: Run| {
        // Where a rollback run leads to is in its stages.
        let stages = match it.restores() {
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
    RunList { runs: Newest::new(rows, pipeline).take(limit).map(one).collect() }
}

/// Why a stage is as it is; of one that is done, what its hosts are now.
fn reasons_of(rows: &dyn RowSource, stage: &Stage) -> Vec<ReasonDocument> {
    let mut reasons = text::reasons(&stage.reasons, stage_owner(stage));
    if stage.is_done() {
        reasons.extend(installations::findings(rows, stage));
    } else {
        reasons.extend(hosts_away(rows, stage));
    }
    reasons
}

/// Hosts of a stage at work that are not connected: until when the wave waits for each.
fn hosts_away(rows: &dyn RowSource, stage: &Stage) -> Vec<ReasonDocument> {
    let live = stage.assignment().and_then(|id| get::<LiveAssignment>(rows, &id));
    let (Some(live), Some(deploy)) = (live, stage.deploy()) else { return Vec::new() };
    let limit = if deploy.is_back() { HOST_SKIPPED_AFTER } else { HOST_LOST_AFTER };
    let left_behind = |host: &HostName| deploy.attempt.as_ref().is_some_and(|it| it.lost.contains(host));
    let one = |runner: Runner| {
        let away = runner.away.filter(|_| live.order.hosts.contains(&runner.name))?;
        let host = (!left_behind(&runner.name)).then_some(runner.name)?;
        Some(ReasonDocument {
            code: ReasonCode::HostNotConnected.as_str().to_owned(),
            message: format!("{host} is not connected; the wave goes on without it after {limit}"),
            since: rfc3339(away),
            clears: CLEARS_WAIT.to_owned(),
            who: Vec::new(),
            next_check: Some(rfc3339(away + limit)),
            first: Some(ReasonCode::HostNotConnected.advice().to_owned()),
            cause: None,
            instance: Some(host.to_string()),
            run: None,
        })
    };
    let all = if live.order.hosts.is_empty() { Vec::new() } else { runners_of(rows, &live.agent) };
    all.into_iter().filter_map(one).take(HOST_FINDINGS_MAX).collect()
}

/// `why`: every stage that has something to say, or the named one.
pub fn why(rows: &dyn RowSource, id: &RunId, wanted: Option<&str>) -> Option<Why> {
    let StoredRun { run, stages } = stored_run(rows, id)?;
    let shown = stages.iter().filter(|stage| wanted.is_none_or(|wanted| stage.name.to_string() == wanted));
    let shown = shown.map(|stage| WhyStage {
        name: stage.name.to_string(),
        status: stage.status().as_str().to_owned(),
        reasons: reasons_of(rows, stage),
    });
    Some(Why {
        run: run.id.to_string(),
        status: run.status.as_str().to_owned(),
        stages: shown.collect(),
        rollback: rollback(rows, &run, &stages),
        caused_by: run.caused_by.as_ref().map(ToString::to_string),
    })
}

/// Environments that the newest runs of a pipeline deployed to, sorted; all runs of most pipelines are among them.
pub fn environments_seen(rows: &dyn RowSource, pipeline: &PipelineName) -> BTreeSet<String> {
    let runs = Newest::new(rows, Some(pipeline)).take(ENVIRONMENTS_RUNS_MAX);
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
    // Rollback runs come before the runs that caused them; the newest of each counts.
    let mut rollbacks: BTreeMap<RunId, RunId> = BTreeMap::new();
    for run in Newest::new(rows, Some(pipeline)) {
        if entries.len() >= limit {
            break;
        }
        if let Some(cause) = &run.caused_by {
            rollbacks.entry(cause.clone()).or_insert_with(|| run.id.clone());
        }
        let Some(StoredRun { stages, .. }) = stored_run(rows, &run.id) else { continue };
        let by = rollbacks.remove(&run.id).and_then(|by| stored_run(rows, &by));
        for stage in stages.iter().filter(|stage| here(&stage.name)) {
            if let Some(deploy) = stage.deploy().filter(|deploy| deploy.attempt.is_some()) {
                entries.push(entry(rows, &run, (stage, deploy), by.as_ref()));
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
        Direction::Back { to: RollbackTarget::Stop { .. }, .. } | Direction::Forward => None,
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
        state: stored_instances(rows, stage).into_iter().find_map(|it| it.state),
    }
}
