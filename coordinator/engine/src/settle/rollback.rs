//! Ways back: within a live run, and as a run of their own after its end.

use trimaran_model::id::Digest;
use trimaran_model::limits::QUARANTINED_PER_PIPELINE_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::{RunKind, Status};
use trimaran_wire::v1::assignment::{WireFailure, WireIntOrPercent};
use trimaran_wire::v1::common::{WireInstallation, WireRun};
use trimaran_wire::v1::plan::{WirePlan, WirePlannedEnvironment, WirePlannedStage, WireScope, plan_digest};
use trimaran_wire::v1::release::WireReleaseWorkload;
use trimaran_wire::v1::row::{self, RollbackTarget};

use super::assign::{End, withdraw};
use super::rollback_target::previous_stable;
use super::{message, set, stage_name, words};
use crate::audit;
use crate::new_run::{NewRun, create_run};
use crate::state::{State, is_rollback, run_key, run_name, works_on};

/// An installation and where it goes back to; without a release what runs is stopped.
pub(crate) struct Way {
    pub(crate) installation: row::Installation,
    pub(crate) to: Option<[u8; 32]>,
}

/// Why something goes back: the message of a reason with its code, and a sentence that stands alone.
pub(crate) struct Cause {
    code: ReasonCode,
    message: String,
    sentence: String,
}

impl Cause {
    /// A failure, of an instance or else of `place`.
    fn of(failure: &WireFailure, place: &str) -> Self {
        let code = ReasonCode::from_name(&failure.code).unwrap_or(ReasonCode::MaxFailures);
        Self { code, message: message(failure, place, code), sentence: words(failure, place) }
    }

    /// What somebody chose, or what no failure came with.
    pub(crate) fn said(code: ReasonCode, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { code, message: sentence.clone(), sentence }
    }
}

/// A stage failed by the release's fault: go back as far as the policy says, or just fail.
pub(super) fn after_failure(state: &mut State, run: &mut row::Run, index: usize, failure: &WireFailure) {
    let stage = run.stages[index].clone();
    let environment = run.plan.environments.iter().find(|it| it.name == stage.environment).cloned();
    let Some(environment) = environment else { return };
    let cause = Cause::of(failure, &stage_name(&stage));
    if !environment.rollback_on_health {
        let reason = state.waits(cause.code, cause.message);
        set(state, &mut run.stages[index], Status::Failed, vec![reason]);
        return quarantine(state, &run.id, &run.plan, &cause.sentence);
    }
    begin(state, run, &cause, |it| match environment.scope {
        WireScope::Target => it.target == stage.target && it.environment == stage.environment,
        WireScope::Environment => it.environment == stage.environment,
        WireScope::Run => true,
    });
}

/// Somebody chose to go back: everything that the run touched.
pub(super) fn whole_run(state: &mut State, run: &mut row::Run, cause: &str) {
    begin(state, run, &Cause::said(ReasonCode::RolledBackByChoice, cause), |_| true);
}

/// `trimaran rollback` inside of a live run.
pub(crate) fn end_with_rollback(state: &mut State, id: &WireRun, environment: &str, cause: &str) {
    let Some(before) = state.runs.get(&run_key(id)).cloned() else { return };
    let mut run = before.clone();
    let cause = Cause::said(ReasonCode::RollbackRequested, cause);
    begin(state, &mut run, &cause, |stage| stage.environment == environment);
    super::store(state, &before, &mut run);
    state.wake(id);
}

/// Turns every touched stage of the scope around, with a larger fence than what it does now. Work outside of
/// the scope is asked to end.
fn begin(state: &mut State, run: &mut row::Run, cause: &Cause, in_scope: impl Fn(&row::Stage) -> bool) {
    let rollback_reason = state.waits(cause.code, cause.message.clone());
    let mut first_way = None;
    for index in 0..run.stages.len() {
        let stage = &run.stages[index];
        if stage.target.is_none() || stage.attempt == 0 || stage.rollback_target.is_some() {
            continue;
        }
        if !in_scope(stage) {
            if let Some(assignment) = stage.assignment {
                super::assign::ask_to_cancel(state, assignment);
            }
            continue;
        }
        if let Some(assignment) = stage.assignment {
            withdraw(state, assignment, End::Superseded);
        }
        let stage = &mut run.stages[index];
        first_way = first_way.or(stage.restore);
        (stage.assignment, stage.paused, stage.finished_ms, stage.pause_until) = (None, None, None, None);
        stage.rollback_target = Some(stage.restore.map_or(RollbackTarget::Stop, RollbackTarget::Restore));
        stage.rollback_reason = Some(rollback_reason.clone());
        set(state, stage, Status::RollingBack, vec![rollback_reason.clone()]);
    }
    if run.rollback.is_none() {
        let sentence = &cause.sentence;
        run.rollback = Some(row::Rollback { cause: sentence.clone(), to: first_way });
        run.status = Status::RollingBack.as_str().to_owned();
        quarantine(state, &run.id, &run.plan, sentence);
        audit::record(state, "trimaran", "roll_back", &run_name(&run.id), sentence);
    }
}

/// The plan is not deployed again without an override. What a run failed of stays its cause, whoever rolls back what it
/// left afterwards.
fn quarantine(state: &mut State, run: &WireRun, plan: &WirePlan, cause: &str) {
    let known = state.quarantine.get(&(plan.pipeline.clone(), plan.digest));
    if known.is_some_and(|known| known.run == *run) {
        return;
    }
    let at_ms = state.wall().0;
    state.quarantine.put(row::Quarantine {
        pipeline: plan.pipeline.clone(),
        plan: plan.digest,
        run: run.clone(),
        cause: cause.to_owned(),
        at_ms,
    });
    let (first, last) = ((plan.pipeline.clone(), [0; 32]), (plan.pipeline.clone(), [u8::MAX; 32]));
    let here: Vec<_> = state.quarantine.between(first, last).collect();
    if here.len() > QUARANTINED_PER_PIPELINE_MAX
        && let Some(oldest) = here.iter().min_by_key(|it| (it.at_ms, it.run.number)).map(|it| it.plan)
    {
        state.quarantine.remove(&(plan.pipeline.clone(), oldest));
    }
}

/// Whether the run deployed what the installation has. One that went back, or a rollback, brought a release of an
/// earlier plan.
fn brought(run: &row::Run, it: &row::Installation) -> bool {
    let stages = run.plan.environments.iter().flat_map(|environment| &environment.stages);
    let mut here = stages.filter(|stage| stage.target == it.id.target);
    !is_rollback(run) && here.any(|stage| Some(stage.release_digest) == it.current)
}

/// The live run of kind rollback that works or will work on an installation: later requests join it.
pub(crate) fn under_way(state: &State, id: &WireInstallation) -> Option<WireRun> {
    let works = |run: &&row::Run| is_rollback(run) && works_on(run, &id.target);
    state.live_runs_of(&id.pipeline).find(works).map(|run| run.id.clone())
}

/// A release failed in its bake: a run of kind rollback brings back what the policy's scope says.
pub(crate) fn after_success(state: &mut State, failed: &row::Installation, failure: Option<&WireFailure>) {
    let Some(left) = failed.run.as_ref().and_then(|run| state.runs.get(&run_key(run))).cloned() else {
        return;
    };
    let environment = left.plan.environments.iter().find(|it| it.name == failed.environment);
    let Some(environment) = environment.filter(|it| it.rollback_on_health) else { return };
    let in_scope = |it: &row::Installation| match environment.scope {
        WireScope::Target => it.id == failed.id,
        WireScope::Environment => it.environment == failed.environment,
        WireScope::Run => true,
    };
    let fits = |it: &&row::Installation| it.run.as_ref() == Some(&left.id) && it.assignment.is_none();
    let all = state.installations_of(&failed.id.pipeline);
    let here: Vec<_> = all.filter(fits).filter(|it| in_scope(it)).cloned().collect();
    let free = here.into_iter().filter(|it| under_way(state, &it.id).is_none());
    let way = |installation: row::Installation| Way { to: previous_stable(&installation), installation };
    let ways: Vec<Way> = free.map(way).collect();
    let cause = match failure {
        Some(failure) => Cause::of(failure, &failed.id.target),
        None => {
            let sentence = format!("{} became unhealthy in its bake", failed.id.target);
            Cause::said(ReasonCode::ProbeFailed, sentence)
        }
    };
    if brought(&left, failed) {
        quarantine(state, &left.id, &left.plan, &cause.sentence);
    }
    if !ways.is_empty() {
        start_rollback_run(state, &ways, "trimaran", &cause, Some(left.id));
    }
}

/// The stage that takes one way, beside its plan.
fn planned_way(state: &State, way: &Way) -> Option<WirePlannedStage> {
    let digest = way.to.or(way.installation.current)?;
    let release = state.releases.get(&digest).map(|row| row.release.clone())?;
    Some(WirePlannedStage {
        target: way.installation.id.target.clone(),
        release_digest: digest,
        release,
        bake_ms: 0,
        sizes: vec![WireIntOrPercent::Percent(100)],
        max_unavailable: WireIntOrPercent::Count(1),
        max_failures: WireIntOrPercent::Count(0),
        pause_between_ms: 0,
    })
}

/// Makes a run whose plan is the releases to bring back, one environment for each that is concerned.
pub(crate) fn start_rollback_run(
    state: &mut State,
    ways: &[Way],
    by: &str,
    cause: &Cause,
    caused_by: Option<WireRun>,
) -> WireRun {
    let pipeline = ways[0].installation.id.pipeline.clone();
    let mut artifacts = Vec::new();
    let mut environments: Vec<WirePlannedEnvironment> = Vec::new();
    let mut digests = Vec::new();
    let mut stops = Vec::new();
    for way in ways {
        let Some(stage) = planned_way(state, way) else { continue };
        let WireReleaseWorkload::Host { bundle, .. } = &stage.release.workload;
        if !artifacts.contains(bundle) {
            artifacts.push(bundle.clone());
        }
        digests.push((stage.target.clone(), Digest(stage.release_digest)));
        if way.to.is_none() {
            stops.push(stage.target.clone());
        }
        let name = &way.installation.environment;
        match environments.iter_mut().find(|it| it.name == *name) {
            Some(environment) => environment.stages.push(stage),
            None => environments.push(WirePlannedEnvironment {
                name: name.clone(),
                after: Vec::new(),
                approve: None,
                rollback_on_health: false,
                scope: WireScope::Environment,
                stages: vec![stage],
            }),
        }
        let left = way.installation.run.clone().and_then(|run| state.runs.get(&run_key(&run)).cloned());
        if let Some(left) = left.filter(|left| brought(left, &way.installation)) {
            quarantine(state, &left.id, &left.plan, &cause.sentence);
        }
    }
    let digest = plan_digest(digests.iter().map(|(target, digest)| (target.as_str(), *digest)));
    let plan = WirePlan { pipeline, digest: digest.0, artifacts, environments };
    let reason = cause.sentence.as_str();
    let run = create_run(state, NewRun { kind: RunKind::Rollback, plan: &plan, by, reason, caused_by });
    say_why(state, &run, cause, &stops);
    audit::record(state, by, "roll_back", &run_name(&run), reason);
    run
}

/// Every stage of a rollback run says why; those in `stops` have nothing to bring back.
fn say_why(state: &mut State, id: &WireRun, cause: &Cause, stops: &[String]) {
    let Some(mut run) = state.runs.get(&run_key(id)).cloned() else { return };
    let rollback_reason = state.waits(cause.code, cause.message.clone());
    for stage in run.stages.iter_mut() {
        stage.rollback_reason = Some(rollback_reason.clone());
        if stage.target.as_ref().is_some_and(|target| stops.contains(target)) {
            stage.rollback_target = Some(RollbackTarget::Stop);
        }
    }
    state.runs.put(run);
}
