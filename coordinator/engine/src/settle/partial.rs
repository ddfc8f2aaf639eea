//! What is left where a stage ended early: some hosts may have its release, the others what was there before.
//!
//! Not here: how the hosts are. Their agent says it as soon as nothing works on the installation any more.

use trimaran_model::run::Status;
use trimaran_model::verdict::Verdict;
use trimaran_wire::v1::row;

use super::{installation, planned};
use crate::state::{State, status};

/// Looks at the stages that ended with this change of their run.
pub(super) fn record(state: &mut State, before: &row::Run, run: &row::Run) {
    for (old, new) in before.stages.iter().zip(&run.stages) {
        let ends = !status(&old.status).is_done() && new.attempt > 0;
        match status(&new.status) {
            Status::Canceled | Status::Failed if ends && new.rollback_target.is_none() => {
                left(state, run, new)
            }
            Status::RollbackFailed if ends => unknown(state, run, new),
            _ => {}
        }
    }
}

/// Nothing brings the earlier release back to the hosts that have the stage's.
fn left(state: &mut State, run: &row::Run, stage: &row::Stage) {
    let Some((_, planned)) = planned(&run.plan, stage) else { return };
    let Some(mut it) = installation(state, run, stage).cloned() else { return };
    if stage.done > 0 && it.current != Some(planned.release_digest) {
        it.mixed = Some(row::Mixed {
            run: run.id.clone(),
            release: planned.release_digest,
            hosts: stage.done,
            cause: stage.reasons.first().map(|reason| reason.message.clone()).unwrap_or_default(),
        });
    }
    it.updated = match &it.mixed {
        Some(mixed) => mixed.hosts,
        None if it.current.is_some() => it.desired,
        None => 0,
    };
    if it.current.is_none() && it.mixed.is_none() && it.failure.is_none() {
        it.health = Verdict::Missing.as_str().to_owned();
    }
    state.installations.put(it);
    unknown(state, run, stage);
}

/// What was progressing is so no more.
fn unknown(state: &mut State, run: &row::Run, stage: &row::Stage) {
    let Some(mut it) = installation(state, run, stage).cloned() else { return };
    if it.health == Verdict::Progressing.as_str() {
        it.health = Verdict::Unknown.as_str().to_owned();
        state.installations.put(it);
    }
}
