//! `trimaran rollback`: inside of a live run it ends that run; otherwise it makes a run of kind rollback.

use trimaran_model::error_code;
use trimaran_model::id::{Digest, Identity};
use trimaran_wire::v1::row;

use crate::request::{Outcome, Rejection, reject};
use crate::settle::back;
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
    let touching = state.live_runs().find(|run| {
        run.id.pipeline == pipeline
            && run.stages.iter().any(|stage| stage.environment == environment && stage.attempt > 0)
    });
    if let Some(run) = touching.map(|run| run.id.clone()) {
        back::end_with_rollback(state, &run, environment, &cause);
        return Ok(Outcome::Run(run));
    }
    let ways: Vec<back::Way> = here
        .iter()
        .filter_map(|it| {
            let to = to.or_else(|| it.good.iter().copied().find(|good| Some(*good) != it.current))?;
            (Some(to) != it.current).then(|| back::Way { installation: it.clone(), to })
        })
        .collect();
    if ways.is_empty() {
        let message =
            format!("no earlier good release of `{pipeline}` in `{environment}` differs from what runs");
        return reject(error_code::NOTHING_TO_ROLL_BACK, message);
    }
    if let Some(way) = ways.iter().find(|way| state.releases.get(&way.to).is_none()) {
        return reject(error_code::NOT_FOUND, format!("there is no release {}", Digest(way.to).short()));
    }
    let run = back::start_rollback_run(state, &ways, &identity.to_string(), &cause, None);
    Ok(Outcome::Run(run))
}
