//! `trimaran rollback`: inside of a live run it ends that run; otherwise it makes a run of kind rollback.

use trimaran_model::id::{Digest, EnvironmentName, Identity, PipelineName, RunId};
use trimaran_model::limits::REFUSAL_TEXT_BYTES_MAX;
use trimaran_model::pipeline::FlinkRestore;
use trimaran_model::target::PlatformKind;
use trimaran_model::text::cut;
use trimaran_model::why::Why;
use trimaran_wire::v1::assignment::flink_restore;

use super::convert::{named, record, with_reason};
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::settle::rollback::{self, Restoration};
use crate::state::State;
use crate::state::installation::Installation;
use crate::state::pipeline::ReleaseEntry;
use crate::state::request::Outcome;
use crate::state::run::Run;
use crate::state::stage::{DeployState, Stage, Wait};

/// What was asked for.
pub(super) struct Order<'a> {
    /// The last stable release without.
    pub(super) to: Option<[u8; 32]>,
    /// The version that the user saw running.
    pub(super) from: Option<&'a str>,
    /// The state that a job on Flink begins from.
    pub(super) restore_from: Option<&'a str>,
    pub(super) comment: &'a str,
    /// `traffic`: where there is no earlier good release, what serves is ended too.
    pub(super) overrides: &'a [String],
}

pub(super) fn run(
    state: &mut State,
    identity: &Identity,
    (pipeline, environment): (&str, &str),
    order: &Order<'_>,
) -> Result<Outcome, Refusal> {
    let (pipeline, environment): (PipelineName, EnvironmentName) = (named(pipeline)?, named(environment)?);
    let here = state.installations_of(&pipeline).filter(|it| it.environment == environment);
    let here: Vec<Installation> = here.cloned().collect();
    if here.is_empty() {
        return Err(Refusal::NothingDeployed { pipeline, environment });
    }
    if let Some(it) = here.iter().find(|it| state.is_undecided(&it.id)) {
        return Err(Refusal::Undecided { installation: it.id.clone(), environment });
    }
    if mutant!(PanicInCommand) {
        state.set_cluster(|cluster| cluster.fence += 1000);
        panic!("the mutant of this name");
    }
    if let Some(from) = order.from {
        here.iter().try_for_each(|it| check_from(state, it, from))?;
    }
    let restore_from = order.restore_from.map(|from| state_to_restore(state, &here, from)).transpose()?;
    let stops_all = order.overrides.iter().any(|it| it == "traffic");
    if stops_all && let Some(run) = rollback::stop_serving(state, &pipeline, &environment) {
        return Ok(Outcome::Run(run));
    }
    if let Some(run) = here.iter().find_map(|it| rollback::in_progress(state, &it.id)) {
        choose_state(state, &run, &environment, restore_from);
        return Ok(Outcome::Run(run));
    }
    let cause = Why::RollbackRequested { by: identity.clone(), comment: order.comment.to_owned() };
    let touches = |run: &&Run| {
        let begun = |stage: &Stage| stage.deploy().is_some_and(|deploy| deploy.attempt.is_some());
        state.stages_of(&run.id).any(|stage| stage.name.environment == environment && begun(stage))
    };
    let touching = state.live_runs_of(&pipeline).find(touches).map(|run| run.id.clone());
    if let Some(run) = touching {
        rollback::end_with_rollback(state, &run, &environment, cause);
        choose_state(state, &run, &environment, restore_from);
        return Ok(Outcome::Run(run));
    }
    let restorations = restorations(state, &here, &pipeline, order.to.map(Digest), stops_all)?;
    if restorations.is_empty() {
        return Err(Refusal::NothingToRollBack { pipeline, environment });
    }
    let left = restorations.iter().find_map(|it| it.installation.run.clone());
    let run = rollback::start_rollback_run(state, &restorations, identity, cause, left);
    choose_state(state, &run, &environment, restore_from);
    Ok(Outcome::Run(run))
}

/// The state that was named. Where no job on Flink is restored it is taken for a version, which does not run.
fn state_to_restore(state: &State, here: &[Installation], from: &str) -> Result<FlinkRestore, Refusal> {
    let is_flink = |it: &Installation| {
        state.target(&it.id.target).is_some_and(|target| target.platform.kind() == PlatformKind::Flink)
    };
    if let Some(other) = here.iter().find(|it| !is_flink(it)) {
        check_from(state, other, from)?;
    }
    flink_restore(from).map_err(|_| Refusal::Malformed)
}

/// The jobs that the run restores in this environment begin from the state that was chosen; one that waits for a choice
/// goes on.
fn choose_state(state: &mut State, run: &RunId, environment: &EnvironmentName, chosen: Option<FlinkRestore>) {
    let Some(chosen) = chosen else { return };
    let mut graph = state.graph(run).expect("a run that goes back is in memory");
    for stage in graph.stages.iter_mut().filter(|stage| stage.name.environment == *environment) {
        let restores = stage.deploy().is_some_and(|deploy| deploy.restores() && !deploy.is_done());
        if restores {
            let deploy = stage.deploy_mut();
            deploy.restore_from = Some(chosen);
            if matches!(deploy.state, DeployState::Waiting { wait: Wait::Resume { .. } }) {
                deploy.work(None);
            }
        }
    }
    state.put_graph(graph);
    state.wake(run);
}

/// Refuses when another version runs: two users who saw the same one do not go two releases back.
fn check_from(state: &State, it: &Installation, from: &str) -> Result<(), Refusal> {
    let current = it.current.and_then(|digest| state.releases.get(&digest));
    let version = current.map(|entry| entry.release.version.clone());
    if version.as_deref() == Some(from) {
        return Ok(());
    }
    let (pipeline, target) = (it.id.pipeline.clone(), it.id.target.clone());
    Err(Refusal::OtherReleaseRuns {
        pipeline,
        target,
        version,
        from: cut(from.to_owned(), REFUSAL_TEXT_BYTES_MAX),
    })
}

/// Where each installation goes back to: the last stable release, or the one that the user named.
fn restorations(
    state: &State,
    here: &[Installation],
    pipeline: &PipelineName,
    to: Option<Digest>,
    all: bool,
) -> Result<Vec<Restoration>, Refusal> {
    let named = to.map(|to| release(state, pipeline, to)).transpose()?;
    let mut found = Vec::new();
    for it in here.iter().filter(|it| it.current.is_some()) {
        let to = match &named {
            None => it.previous_stable(),
            Some(named) => Some(release_for(state, it, named)?).filter(|to| Some(*to) != it.current),
        };
        if to.is_some() || (all && named.is_none()) {
            found.push(Restoration { installation: it.clone(), to, all });
        }
    }
    Ok(found)
}

/// The release that a user named.
fn release(state: &State, pipeline: &PipelineName, to: Digest) -> Result<ReleaseEntry, Refusal> {
    let found = state.releases.get(&to).filter(|it| it.release.pipeline == *pipeline);
    found.cloned().ok_or_else(|| Refusal::ReleaseTooOld { pipeline: pipeline.clone(), release: to })
}

/// Each target has releases of its own: elsewhere the one of the same version is meant, the last stable one first.
fn release_for(state: &State, it: &Installation, named: &ReleaseEntry) -> Result<Digest, Refusal> {
    let (target, version) = (&it.id.target, &named.release.version);
    if named.release.target == *target {
        return Ok(named.digest);
    }
    let fits = |entry: &&ReleaseEntry| {
        let release = &entry.release;
        release.pipeline == it.id.pipeline && release.target == *target && release.version == *version
    };
    let here = it.current.iter().chain(&it.stable_releases).chain(&it.previous);
    let known = here.filter_map(|digest| state.releases.get(digest)).find(fits);
    let found = known.or_else(|| state.releases.iter().find(fits));
    found.map(|entry| entry.digest).ok_or_else(|| Refusal::ReleaseOfOtherTarget {
        release: named.digest,
        version: version.clone(),
        target: target.clone(),
    })
}

pub(super) fn audit(pipeline: &str, environment: &str, to: Option<[u8; 32]>, reason: &str) -> Record {
    let to = to.map(|to| format!(" to {}", Digest(to).short())).unwrap_or_default();
    record("rollback", with_reason(&format!("{pipeline} {environment}{to}"), reason))
}
