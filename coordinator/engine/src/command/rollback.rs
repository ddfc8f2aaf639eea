//! `trimaran rollback`: inside of a live run it ends that run; otherwise it makes a run of kind rollback.

use trimaran_model::error_code;
use trimaran_model::id::{Digest, Identity};
use trimaran_model::reason::ReasonCode;
use trimaran_wire::v1::row;

use crate::request::{Outcome, Rejection, reject};
use crate::settle::back;
use crate::settle::ways::earlier_good;
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
    if let Some(run) = here.iter().find_map(|it| back::under_way(state, &it.id)) {
        return Ok(Outcome::Run(run));
    }
    let touching = state.live_runs_of(pipeline).find(|run| {
        run.stages
            .iter()
            .any(|stage| stage.environment == environment && stage.target.is_some() && stage.attempt > 0)
    });
    if let Some(run) = touching.map(|run| run.id.clone()) {
        back::end_with_rollback(state, &run, environment, &cause);
        return Ok(Outcome::Run(run));
    }
    let ways: Vec<back::Way> = here
        .iter()
        .filter(|it| it.current.is_some() && (to.is_none() || to != it.current))
        .filter_map(|it| to.or_else(|| earlier_good(it)).map(|to| (it, to)))
        .map(|(it, to)| back::Way { installation: it.clone(), to: Some(to) })
        .collect();
    if ways.is_empty() {
        let message =
            format!("no earlier good release of `{pipeline}` in `{environment}` differs from what runs");
        return reject(error_code::NOTHING_TO_ROLL_BACK, message);
    }
    let known = |to: &[u8; 32]| state.releases.get(to).is_some_and(|row| row.release.pipeline == pipeline);
    if let Some(to) = ways.iter().filter_map(|way| way.to).find(|to| !known(to)) {
        let message = format!("release {} of `{pipeline}` is too old to be brought back", Digest(to).short());
        return reject(error_code::NOT_FOUND, message);
    }
    let cause = back::Cause::said(ReasonCode::RollbackRequested, cause);
    let left = ways.iter().find_map(|way| way.installation.run.clone());
    let run = back::start_rollback_run(state, &ways, &identity.to_string(), &cause, left);
    Ok(Outcome::Run(run))
}
