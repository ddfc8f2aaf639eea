//! `trimaran rollback`: inside of a live run it ends that run; otherwise it makes a run of kind rollback.

use trimaran_model::id::{Digest, EnvironmentName, Identity, PipelineName};
use trimaran_model::why::Why;

use super::convert::{named, record};
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::settle::rollback::{self, Restoration};
use crate::state::State;
use crate::state::installation::Installation;
use crate::state::pipeline::ReleaseEntry;
use crate::state::request::Outcome;
use crate::state::run::Run;
use crate::state::stage::Stage;

pub(super) fn run(
    state: &mut State,
    identity: &Identity,
    (pipeline, environment): (&str, &str),
    to: Option<[u8; 32]>,
    comment: &str,
) -> Result<Outcome, Refusal> {
    let (pipeline, environment): (PipelineName, EnvironmentName) = (named(pipeline)?, named(environment)?);
    let here = state.installations_of(&pipeline).filter(|it| it.environment == environment);
    let here: Vec<Installation> = here.cloned().collect();
    if here.is_empty() {
        return Err(Refusal::NothingDeployed { pipeline, environment });
    }
    if mutant!(PanicInCommand) {
        state.set_cluster(|cluster| cluster.fence += 1000);
        panic!("the mutant of this name");
    }
    if let Some(run) = here.iter().find_map(|it| rollback::in_progress(state, &it.id)) {
        return Ok(Outcome::Run(run));
    }
    let cause = Why::RollbackRequested { by: identity.clone(), comment: comment.to_owned() };
    let touches = |run: &&Run| {
        let begun = |stage: &Stage| stage.deploy().is_some_and(|deploy| deploy.attempt.is_some());
        state.stages_of(&run.id).any(|stage| stage.name.environment == environment && begun(stage))
    };
    let touching = state.live_runs_of(&pipeline).find(touches).map(|run| run.id.clone());
    if let Some(run) = touching {
        rollback::end_with_rollback(state, &run, &environment, cause);
        return Ok(Outcome::Run(run));
    }
    let restorations = restorations(state, &here, &pipeline, to.map(Digest))?;
    if restorations.is_empty() {
        return Err(Refusal::NothingToRollBack { pipeline, environment });
    }
    let left = restorations.iter().find_map(|it| it.installation.run.clone());
    let run = rollback::start_rollback_run(state, &restorations, identity, cause, left);
    Ok(Outcome::Run(run))
}

/// Where each installation goes back to: the last stable release, or the one that the user named.
fn restorations(
    state: &State,
    here: &[Installation],
    pipeline: &PipelineName,
    to: Option<Digest>,
) -> Result<Vec<Restoration>, Refusal> {
    let named = to.map(|to| release(state, pipeline, to)).transpose()?;
    let mut found = Vec::new();
    for it in here.iter().filter(|it| it.current.is_some()) {
        let to = match &named {
            None => it.previous_stable(),
            Some(named) => Some(release_for(state, it, named)?).filter(|to| Some(*to) != it.current),
        };
        found.extend(to.map(|to| Restoration { installation: it.clone(), to: Some(to) }));
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

pub(super) fn audit(pipeline: &str, environment: &str, reason: &str) -> Record {
    record("rollback", format!("{pipeline} {environment} {reason}"))
}
