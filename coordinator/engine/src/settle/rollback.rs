//! Rollbacks: within a live run, and as a run of their own after its end.

use trimaran_model::action::Failure;
use trimaran_model::amount::IntOrPercent;
use trimaran_model::id::{
    Digest, EnvironmentName, Identity, InstallationId, PipelineName, RunId, StageName, StagePart, TargetName,
};
use trimaran_model::limits::QUARANTINED_PER_PIPELINE_MAX;
use trimaran_model::pipeline::{Batches, RollbackScope};
use trimaran_model::reason::ReasonCode;
use trimaran_model::run::{RunKind, Status};
use trimaran_model::target::TargetClass;
use trimaran_model::time::Millis;
use trimaran_model::why::{Place, Why};
use trimaran_wire::v1::plan::plan_digest;

use super::assign::{Ending, ask_to_cancel, withdraw};
use super::store;
use crate::audit::{self, Record};
use crate::new_run::{NewRun, NewStage, create_run};
use crate::state::State;
use crate::state::installation::Installation;
use crate::state::pipeline::Quarantine;
use crate::state::run::{Rollback, Run, RunGraph};
use crate::state::stage::{
    Deploy, DeployState, Direction, End, Goal, Held, Kind, RollbackTarget, Stage, Wait,
};

/// An installation and where it goes back to; without a release what runs is stopped.
pub(crate) struct Restoration {
    pub(crate) installation: Installation,
    pub(crate) to: Option<Digest>,
    /// Where what runs is stopped: also what serves, whatever the target's class is.
    pub(crate) all: bool,
}

/// A stage failed by the release's fault: go back as far as the policy says, or just fail.
pub(super) fn after_failure(state: &mut State, graph: &mut RunGraph, index: usize, failure: &Failure) {
    let stage = &graph.stages[index];
    let deploy = stage.deploy().expect("only deploys fail").clone();
    let (name, place) = (stage.name.clone(), Place::Stage { stage: stage.name.clone() });
    let cause = Why::Failed { failure: failure.clone(), place };
    if !deploy.rollback_on_health {
        graph.stages[index].end(End::Failed, vec![state.reason(cause.clone())], state.wall());
        return quarantine(state, &graph.run, cause);
    }
    begin(state, graph, cause, |it| match deploy.scope {
        RollbackScope::Target => it.name == name,
        RollbackScope::Environment => it.name.environment == name.environment,
        RollbackScope::Run => true,
    });
}

/// A user chose to go back: everything that the run touched.
pub(super) fn whole_run(state: &mut State, graph: &mut RunGraph, cause: Why) {
    begin(state, graph, cause, |_| true);
}

/// `trimaran rollback` inside of a live run.
pub(crate) fn end_with_rollback(state: &mut State, id: &RunId, environment: &EnvironmentName, cause: Why) {
    let before = state.graph(id).expect("the caller found the run");
    let mut graph = before.clone();
    begin(state, &mut graph, cause, |stage| stage.name.environment == *environment);
    store::store(state, &before, graph);
    state.wake(id);
}

/// Turns every touched stage of the scope around, with a larger fence than what it does now. Work outside of
/// the scope is asked to end.
fn begin(state: &mut State, graph: &mut RunGraph, cause: Why, in_scope: impl Fn(&Stage) -> bool) {
    let reason = state.reason(cause.clone());
    let mut first = None;
    for stage in &mut graph.stages {
        let Some(attempt) = stage.deploy().filter(|it| !it.is_back()).and_then(|it| it.attempt.as_ref())
        else {
            continue;
        };
        let (restore, assignment) = (attempt.restore, stage.assignment());
        match (in_scope(stage), assignment) {
            (false, Some(assignment)) => ask_to_cancel(state, assignment),
            (true, Some(assignment)) => withdraw(state, assignment, Ending::Superseded),
            (_, None) => {}
        }
        if in_scope(stage) {
            first = first.or(restore);
            let to = match (restore, stage.deploy()) {
                (Some(release), _) => RollbackTarget::Restore { release },
                (None, Some(deploy)) => stop(state, &deploy.target, false),
                (None, None) => RollbackTarget::Stop { all: true },
            };
            stage.begin_rollback(to, reason.clone(), state.wall());
        }
    }
    if graph.run.rollback.is_none() {
        graph.run.rollback = Some(Rollback { cause: cause.clone(), to: first });
        graph.run.status = Status::RollingBack;
        record(state, &Identity::System, &graph.run.id, &cause);
        quarantine(state, &graph.run, cause);
    }
}

/// Where there is nothing to go back to: on a prod target what still serves is not ended unless a user says so.
fn stop(state: &State, target: &TargetName, all: bool) -> RollbackTarget {
    let prod = state.target(target).is_some_and(|target| target.class == TargetClass::Prod);
    RollbackTarget::Stop { all: all || !prod }
}

/// Whether a stage waits because there is nothing to go back to and some instances still serve.
fn is_paused_by_traffic(deploy: &Deploy) -> bool {
    let DeployState::Waiting { wait: Wait::Resume { why } } = &deploy.state else { return false };
    why.code() == ReasonCode::PausedTraffic
}

/// `rollback --override traffic`: what serves is ended too, in every stage of the environment that waits for it. The first
/// run that had one.
pub(crate) fn stop_serving(
    state: &mut State,
    pipeline: &PipelineName,
    environment: &EnvironmentName,
) -> Option<RunId> {
    let runs: Vec<RunId> = state.live_runs_of(pipeline).map(|run| run.id.clone()).collect();
    let mut first = None;
    for id in runs {
        let before = state.graph(&id).expect("a live run is in memory");
        let mut graph = before.clone();
        for stage in &mut graph.stages {
            if stage.name.environment != *environment || !stage.deploy().is_some_and(is_paused_by_traffic) {
                continue;
            }
            let deploy = stage.deploy_mut();
            if let Direction::Back { to, .. } = &mut deploy.direction {
                *to = RollbackTarget::Stop { all: true };
            }
            deploy.work(None);
            first.get_or_insert(id.clone());
        }
        store::store(state, &before, graph);
        state.wake(&id);
    }
    first
}

/// `resume` of a stage that waits because some instances still serve: they are kept, and the stage ends. Whether it was one.
pub(crate) fn keep_serving(state: &mut State, graph: &mut RunGraph, index: usize) -> bool {
    let stage = &graph.stages[index];
    let Some(deploy) = stage.deploy().filter(|deploy| is_paused_by_traffic(deploy)).cloned() else {
        return false;
    };
    let (run, wall) = (graph.run.id.clone(), state.wall());
    let stage = &mut graph.stages[index];
    let reasons = stage.with_rollback_reason(Vec::new());
    stage.end(End::Failed, reasons, wall);
    state.change_installation(&run, &deploy.target, |it| it.keep(deploy.release, &run, wall));
    true
}

/// The audit record of an automatic rollback: the code of its cause, with what a failure adds. What a user decided is
/// the record of the user's command.
fn record(state: &mut State, by: &Identity, run: &RunId, cause: &Why) {
    let code = cause.code().as_str();
    let outcome = match cause {
        Why::Failed { failure, place } => {
            let place = match (&failure.instance, place) {
                (Some(instance), _) => instance.to_string(),
                (None, Place::Stage { stage }) => stage.to_string(),
                (None, Place::Target { target }) => target.to_string(),
                (None, Place::Here) => run.to_string(),
            };
            format!("{place}: {code}: {}", failure.message)
        }
        Why::Unhealthy { target } => format!("{target}: {code}"),
        Why::RollbackRequested { .. } | Why::RollbackChosen { .. } => return,
        Why::Adopted { .. } | Why::Reapplied { .. } => return,
        // No rollback has one of these causes.
        Why::NotSettled | Why::After { .. } | Why::Approval { .. } | Why::ApprovalExpired => code.to_owned(),
        Why::Concurrency { .. } | Why::InstallationBusy { .. } | Why::TargetParallel { .. } => {
            code.to_owned()
        }
        Why::NoTarget { .. } | Why::NoHosts { .. } | Why::AgentNotConnected { .. } => code.to_owned(),
        Why::AgentLost { .. } | Why::AgentHandover { .. } | Why::WavePause => code.to_owned(),
        Why::Paused { .. } | Why::Interrupted | Why::Canceled { .. } => code.to_owned(),
        Why::OutsideScope { .. } | Why::LeftAsItIs | Why::NeverStarts => code.to_owned(),
        Why::Canceling { .. } | Why::UpstreamFailed { .. } | Why::StopChosen { .. } => code.to_owned(),
        Why::RevertFailed { .. } | Why::RollbackCanceled | Why::NoEarlierRelease => code.to_owned(),
        Why::Bug { .. } | Why::StillServing { .. } | Why::Observes | Why::Restored { .. } => code.to_owned(),
    };
    audit::append(state, by, Record { verb: "rollback", object: run.to_string() }, &outcome);
}

/// The plan is not deployed again without an override. What a run failed of stays its cause, whoever rolls back what it
/// left afterwards.
fn quarantine(state: &mut State, run: &Run, cause: Why) {
    let pipeline = run.id.pipeline.clone();
    let known = state.quarantine.get(&(pipeline.clone(), run.plan));
    if known.is_some_and(|known| known.run == run.id) {
        return;
    }
    let (id, at) = (run.id.clone(), state.wall());
    state.quarantine.put(Quarantine { pipeline: pipeline.clone(), plan: run.plan, run: id, cause, at });
    let key = |digest| (pipeline.clone(), Digest(digest));
    let here: Vec<&Quarantine> = state.quarantine.between(key([0; 32]), key([u8::MAX; 32])).collect();
    if here.len() > QUARANTINED_PER_PIPELINE_MAX
        && let Some(oldest) = here.iter().min_by_key(|it| (it.at, it.run.number)).map(|it| it.plan)
    {
        state.quarantine.remove(&(pipeline, oldest));
    }
}

/// Whether the run deployed what the installation has. One that went back, or a rollback, restored a release of an
/// earlier plan.
fn was_deployed_by(state: &State, run: &Run, it: &Installation) -> bool {
    let here = |deploy: &Deploy| deploy.target == it.id.target && Some(deploy.release) == it.current;
    !run.restores() && state.stages_of(&run.id).filter_map(Stage::deploy).any(here)
}

/// The live run that restores releases and works or will work on an installation: later requests join it.
pub(crate) fn in_progress(state: &State, id: &InstallationId) -> Option<RunId> {
    let works_here = |run: &Run| {
        let mut deploys = state.stages_of(&run.id).filter_map(Stage::deploy);
        deploys.any(|deploy| deploy.target == id.target)
    };
    let works = |run: &&Run| run.restores() && works_here(run);
    state.live_runs_of(&id.pipeline).find(works).map(|run| run.id.clone())
}

/// A release failed in its bake: a run of kind rollback restores what the policy's scope says.
pub(crate) fn after_success(state: &mut State, failed: &Installation, failure: Option<&Failure>) {
    let run = failed.run.as_ref().expect("a bake is of a release that a run deployed");
    let left = state.runs.get(run).expect("the run of an installed release is in memory").clone();
    let policy = state.stages_of(run).filter(|stage| stage.name.environment == failed.environment);
    let policy = policy.filter_map(Stage::deploy).find(|deploy| deploy.rollback_on_health);
    let Some(scope) = policy.map(|deploy| deploy.scope) else { return };
    let in_scope = |it: &Installation| match scope {
        RollbackScope::Target => it.id == failed.id,
        RollbackScope::Environment => it.environment == failed.environment,
        RollbackScope::Run => true,
    };
    let fits = |it: &&Installation| it.run.as_ref() == Some(&left.id) && it.assignment.is_none();
    let here = state.installations_of(&failed.id.pipeline).filter(fits).filter(|it| in_scope(it));
    let free = here.filter(|it| in_progress(state, &it.id).is_none()).cloned();
    let restoration = |installation: Installation| Restoration {
        to: installation.previous_stable(),
        installation,
        all: false,
    };
    let restorations: Vec<Restoration> = free.map(restoration).collect();
    let target = failed.id.target.clone();
    let cause = match failure {
        Some(failure) => Why::Failed { failure: failure.clone(), place: Place::Target { target } },
        None => Why::Unhealthy { target },
    };
    if was_deployed_by(state, &left, failed) {
        quarantine(state, &left, cause.clone());
    }
    if !restorations.is_empty() {
        start_rollback_run(state, &restorations, &Identity::System, cause, Some(left.id));
    }
}

/// Makes a run whose stages are the releases to restore, one environment after the other and none waiting.
pub(crate) fn start_rollback_run(
    state: &mut State,
    restorations: &[Restoration],
    by: &Identity,
    cause: Why,
    caused_by: Option<RunId>,
) -> RunId {
    let pipeline = restorations[0].installation.id.pipeline.clone();
    let (mut artifacts, mut stages) = (Vec::new(), Vec::new());
    for it in restorations {
        let digest = it.to.or(it.installation.current).expect("who goes back has a release or goes to one");
        let entry = state.releases.get(&digest).expect("releases of installations are in memory");
        for artifact in entry.release.workload.artifacts() {
            if !artifacts.contains(artifact) {
                artifacts.push(artifact.clone());
            }
        }
        stages.push(stage_of(state, it, digest, &cause));
        let left = it.installation.run.as_ref().and_then(|run| state.runs.get(run)).cloned();
        if let Some(left) = left
            .filter(|_| !is_decision(&cause))
            .filter(|left| was_deployed_by(state, left, &it.installation))
        {
            quarantine(state, &left, cause.clone());
        }
    }
    // Environments stay together, in the order in which each is met first.
    let order: Vec<EnvironmentName> =
        stages.iter().map(|it: &NewStage| it.name.environment.clone()).collect();
    stages.sort_by_key(|stage| order.iter().position(|name| *name == stage.name.environment));
    let releases = stages.iter().filter_map(|stage| match &stage.kind {
        Kind::Deploy { deploy } => Some((deploy.target.as_str(), deploy.release)),
        Kind::Approve { .. } => None,
    });
    let new = NewRun {
        kind: kind_of(&cause),
        pipeline,
        plan: plan_digest(releases),
        artifacts,
        by: by.clone(),
        comment: String::new(),
        cause: Some(cause.clone()),
        caused_by,
        stages,
    };
    let run = create_run(state, new);
    record(state, by, &run, &cause);
    run
}

/// The kind of a run that restores releases for this cause.
fn kind_of(cause: &Why) -> RunKind {
    if matches!(cause, Why::Adopted { .. }) {
        RunKind::Adopt
    } else if matches!(cause, Why::Reapplied { .. }) {
        RunKind::Reapply
    } else {
        RunKind::Rollback
    }
}

/// Whether a user said after a restore what should run: that says nothing against what the state had.
pub(super) fn is_decision(cause: &Why) -> bool {
    matches!(cause, Why::Adopted { .. } | Why::Reapplied { .. })
}

/// The stage that restores one release, or stops what runs where there is none.
fn stage_of(state: &State, it: &Restoration, release: Digest, cause: &Why) -> NewStage {
    let target = it.installation.id.target.clone();
    let reason = state.reason(cause.clone());
    let direction = match it.to {
        Some(_) => Direction::Forward,
        None => Direction::Back { to: stop(state, &target, it.all), reason: reason.clone() },
    };
    let deploy = Deploy {
        target: target.clone(),
        release,
        goal: Goal::Restore { reason },
        bake: Millis::ZERO,
        batches: Batches {
            sizes: vec![IntOrPercent::Percent(100)],
            max_unavailable: IntOrPercent::Count(1),
            max_failures: IntOrPercent::Count(0),
            max_lost: IntOrPercent::Percent(100),
            pause_between: Millis::ZERO,
        },
        rollback_on_health: false,
        scope: RollbackScope::Environment,
        direction,
        restore_from: None,
        attempt: None,
        state: DeployState::Held { held: Held::Pending },
    };
    let name =
        StageName { environment: it.installation.environment.clone(), part: StagePart::Deploy(target) };
    NewStage { name, needs: Vec::new(), kind: Kind::Deploy { deploy } }
}
