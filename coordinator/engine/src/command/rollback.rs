//! `trimaran rollback`: inside of a live run it ends that run; otherwise it makes a run of kind rollback.

use trimaran_model::error_code;
use trimaran_model::id::{Digest, Identity};
use trimaran_model::reason::ReasonCode;
use trimaran_wire::v1::row;

use crate::idempotency::{Outcome, Rejection, reject};
use crate::settle::rollback as go_back;
use crate::settle::rollback_target::previous_stable;
use crate::state::State;

pub(super) fn rollback(
    state: &mut State,
    identity: &Identity,
    pipeline: &str,
    environment: &str,
    to: Option<[u8; 32]>,
    reason: &str,
) -> Result<Outcome, Rejection> {
    let here: Vec<row::Installation> = state
        .installations
        .iter()
        .filter(|it| it.id.pipeline == pipeline && it.environment == environment)
        .cloned()
        .collect();
    if here.is_empty() {
        return reject(
            error_code::NOT_FOUND,
            format!("nothing of `{pipeline}` was deployed to `{environment}`"),
        );
    }
    let words = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let cause = format!("{identity} asked for it{words}");
    if mutant!(PanicInCommand) {
        state.set_meta(|meta| meta.fence += 1000);
        panic!("the mutant of this name");
    }
    if let Some(run) = here.iter().find_map(|it| go_back::under_way(state, &it.id)) {
        return Ok(Outcome::Run(run));
    }
    let touching = state.live_runs_of(pipeline).find(|run| {
        run.stages
            .iter()
            .any(|stage| stage.environment == environment && stage.target.is_some() && stage.attempt > 0)
    });
    if let Some(run) = touching.map(|run| run.id.clone()) {
        go_back::end_with_rollback(state, &run, environment, &cause);
        return Ok(Outcome::Run(run));
    }
    let named = match to {
        None => None,
        Some(to) => Some(named(state, pipeline, to)?),
    };
    let mut ways = Vec::new();
    for it in here.iter().filter(|it| it.current.is_some()) {
        let to = match &named {
            None => previous_stable(it),
            Some(named) => Some(release_for(state, it, named)?).filter(|to| Some(*to) != it.current),
        };
        ways.extend(to.map(|to| go_back::Way { installation: it.clone(), to: Some(to) }));
    }
    if ways.is_empty() {
        let message =
            format!("no earlier good release of `{pipeline}` in `{environment}` differs from what runs");
        return reject(error_code::NOTHING_TO_ROLL_BACK, message);
    }
    let cause = go_back::Cause::said(ReasonCode::RollbackRequested, cause);
    let left = ways.iter().find_map(|way| way.installation.run.clone());
    let run = go_back::start_rollback_run(state, &ways, &identity.to_string(), &cause, left);
    Ok(Outcome::Run(run))
}

/// The release that somebody named.
fn named(state: &State, pipeline: &str, to: [u8; 32]) -> Result<row::ReleaseRow, Rejection> {
    match state.releases.get(&to).filter(|row| row.release.pipeline == pipeline) {
        Some(row) => Ok(row.clone()),
        None => reject(
            error_code::NOT_FOUND,
            format!("release {} of `{pipeline}` is too old to be brought back", Digest(to).short()),
        ),
    }
}

/// Each target has releases of its own: elsewhere the one of the same version is meant, the last good one first.
fn release_for(
    state: &State,
    it: &row::Installation,
    named: &row::ReleaseRow,
) -> Result<[u8; 32], Rejection> {
    let (target, version) = (&it.id.target, &named.release.version);
    if named.release.target == *target {
        return Ok(named.digest);
    }
    let fits = |row: &&row::ReleaseRow| {
        let release = &row.release;
        release.pipeline == it.id.pipeline && release.target == *target && release.version == *version
    };
    let here = it.current.iter().chain(&it.stable_releases).chain(&it.before);
    let known = here.filter_map(|digest| state.releases.get(digest)).find(fits);
    match known.or_else(|| state.releases.iter().find(fits)) {
        Some(row) => Ok(row.digest),
        None => reject(
            error_code::NOT_FOUND,
            format!(
                "release {} is of another target, and {version} is not kept for `{target}`",
                Digest(named.digest).short()
            ),
        ),
    }
}
