//! What the end of an assignment means for its stage and installation.

use trimaran_model::action::{Failure, Outcome};
use trimaran_model::id::{Digest, TargetName};
use trimaran_model::target::PlatformKind;
use trimaran_model::why::Why;

use super::assign::{Ending, withdraw};
use super::rollback::is_decision;
use super::{broken, rollback, store};
use crate::state::State;
use crate::state::assignment::LiveAssignment;
use crate::state::installation::Installation;
use crate::state::run::RunGraph;
use crate::state::stage::{Direction, End, Goal, RollbackTarget, Wait};

/// Applies the result of a live assignment.
pub(crate) fn apply(state: &mut State, live: &LiveAssignment, outcome: &Outcome) {
    withdraw(state, live.order.id, Ending::Applied);
    let before = state.graph(&live.order.run).expect("the run of an assignment is in memory");
    let index = before.find(&live.order.stage).expect("an assignment names a stage of its run");
    let mut graph = before.clone();
    let stage = &mut graph.stages[index];
    assert_eq!(stage.assignment(), Some(live.order.id), "stage and assignment name each other");
    stage.deploy_mut().work(None);
    let is_sure = leaves_known(live, outcome);
    state.installations.update(&live.order.installation, |it| it.end_work(is_sure));
    if graph.run.status.is_done() {
        return broken::apply_result(state, &before, graph, index);
    }
    if stage.deploy_mut().restores() {
        finish_restore(state, &mut graph, index, outcome, live.cancel);
    } else {
        finish_release(state, &mut graph, index, outcome, live);
    }
    let run = graph.run.id.clone();
    store::store(state, &before, graph);
    state.wake(&run);
}

/// Whether the hosts that were worked on are as healthy as before: each of them finished or was reverted. A platform
/// that has the instances goes on with what it was last given.
fn leaves_known(live: &LiveAssignment, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Done => true,
        Outcome::Stopped => live.order.platform == PlatformKind::Hosts,
        Outcome::Failed(_) | Outcome::Fault(_) => false,
    }
}

/// The end of one wave of a new release.
fn finish_release(
    state: &mut State,
    graph: &mut RunGraph,
    index: usize,
    outcome: &Outcome,
    live: &LiveAssignment,
) {
    // Whether the run was canceled, or goes back somewhere else: nothing is restored and nothing is paused.
    let ends = graph.run.is_ending();
    match outcome {
        Outcome::Done => finish_wave(state, graph, index, live),
        Outcome::Failed(failure) => {
            change_installation(state, graph, index, |it| it.degrade(failure));
            match graph.run.canceled_by {
                Some(_) => end_with_run(state, graph, index, Some(failure)),
                None => rollback::after_failure(state, graph, index, failure),
            }
        }
        Outcome::Fault(failure) if ends => end_with_run(state, graph, index, Some(failure)),
        Outcome::Fault(failure) => pause(state, graph, index, Why::Paused { failure: failure.clone() }),
        Outcome::Stopped if ends => end_with_run(state, graph, index, None),
        Outcome::Stopped => pause(state, graph, index, Why::Interrupted),
    }
}

/// Nothing goes on until a user resumes the stage.
fn pause(state: &State, graph: &mut RunGraph, index: usize, why: Why) {
    graph.stages[index].wait(Wait::Resume { why: why.clone() }, state.reason(why));
}

/// The stage ends without a release of its own, because its run does.
fn end_with_run(state: &State, graph: &mut RunGraph, index: usize, then: Option<&Failure>) {
    let then = then.cloned();
    let why = match graph.run.canceled_by.clone() {
        Some(by) => Why::Canceled { by, then },
        None => Why::OutsideScope { then },
    };
    graph.stages[index].end(End::Canceled, vec![state.reason(why)], state.wall());
}

fn finish_wave(state: &mut State, graph: &mut RunGraph, index: usize, live: &LiveAssignment) {
    let stage = &mut graph.stages[index];
    let pause = stage.deploy().map(|deploy| deploy.batches.pause_between).filter(|pause| pause.0 > 0);
    let attempt = stage.deploy_mut().begun_mut();
    if (attempt.wave as usize) + 1 < attempt.waves.len() {
        attempt.wave += 1;
        if let Some(pause) = pause {
            let until = state.now() + pause;
            stage.wait(Wait::Pause { until }, state.reason_until(Why::WavePause, until));
        }
        return;
    }
    let deploy = stage.deploy().expect("only deploys have waves").clone();
    if joined(state, &deploy.target, live) {
        // Hosts that joined meanwhile get the last wave's next assignment.
        return;
    }
    stage.end(End::Succeeded, Vec::new(), state.wall());
    let restore = deploy.begun().restore.filter(|restore| *restore != deploy.release);
    let here = state.installation(&graph.run.id, &deploy.target).expect("an attempt has an installation");
    // The same release once more has still the same one before it.
    let same = (here.current == Some(deploy.release)).then_some(here.previous).flatten();
    let bake_end = (deploy.bake.0 > 0).then(|| state.now() + deploy.bake);
    install(state, graph, index, deploy.release, |it| {
        it.previous = restore.or(same);
        match bake_end {
            Some(end) => it.bake_until = Some(end),
            None => it.mark_stable(deploy.release),
        }
    });
}

/// Whether the target has hosts that the assignment did not name.
fn joined(state: &State, target: &TargetName, live: &LiveAssignment) -> bool {
    let target = state.target(target).expect("targets are never removed");
    state.hosts_of(target).any(|host| !live.order.hosts.contains(host))
}

/// The end of the one wave that restores or stops.
fn finish_restore(
    state: &mut State,
    graph: &mut RunGraph,
    index: usize,
    outcome: &Outcome,
    asked_to_end: bool,
) {
    match outcome {
        Outcome::Done => finish_restored(state, graph, index),
        Outcome::Failed(failure) => {
            change_installation(state, graph, index, |it| it.degrade(failure));
            fail_rollback(state, graph, index, Why::RevertFailed { failure: failure.clone() });
        }
        Outcome::Fault(_) | Outcome::Stopped if asked_to_end => {
            fail_rollback(state, graph, index, Why::RollbackCanceled);
        }
        Outcome::Fault(failure) => pause(state, graph, index, Why::Paused { failure: failure.clone() }),
        Outcome::Stopped => pause(state, graph, index, Why::Interrupted),
    }
}

fn finish_restored(state: &mut State, graph: &mut RunGraph, index: usize) {
    let deploy = graph.stages[index].deploy().expect("only deploys restore").clone();
    match deploy.direction {
        Direction::Back { to: RollbackTarget::Stop { .. }, .. } => {
            stopped(state, graph, index, deploy.release)
        }
        Direction::Back { to: RollbackTarget::Restore { release }, .. } => {
            restored(state, graph, index, (Some(deploy.release), release), End::RolledBack);
        }
        Direction::Forward => {
            let here = state.installation(&graph.run.id, &deploy.target);
            let is_decision = matches!(&deploy.goal, Goal::Restore { reason } if is_decision(&reason.why));
            let left = here.and_then(|it| it.current).filter(|_| !is_decision);
            restored(state, graph, index, (left, deploy.release), End::Succeeded);
        }
    }
}

fn fail_rollback(state: &State, graph: &mut RunGraph, index: usize, why: Why) {
    let reason = state.reason(why);
    let stage = &mut graph.stages[index];
    let reasons = stage.with_rollback_reason(vec![reason]);
    stage.end(End::RollbackFailed, reasons, state.wall());
}

/// There was nothing to go back to: the release is stopped, and the stage failed.
fn stopped(state: &mut State, graph: &mut RunGraph, index: usize, left: Digest) {
    let stage = &mut graph.stages[index];
    let mut reasons = stage.with_rollback_reason(Vec::new());
    reasons.push(state.reason(Why::NoEarlierRelease));
    stage.end(End::Failed, reasons, state.wall());
    change_installation(state, graph, index, |it| it.stop(left));
}

/// A restored release was stable before and is again, or begins its bake anew; the one that was left is stable no more,
/// so that no later rollback leads to it.
fn restored(
    state: &mut State,
    graph: &mut RunGraph,
    index: usize,
    (left, to): (Option<Digest>, Digest),
    end: End,
) {
    let stage = &mut graph.stages[index];
    let reasons = match end {
        End::Succeeded => Vec::new(),
        End::Failed | End::Stopped | End::Canceled | End::RolledBack | End::RollbackFailed => {
            stage.with_rollback_reason(Vec::new())
        }
    };
    stage.end(end, reasons, state.wall());
    let bake = stage.deploy().map(|deploy| deploy.bake).filter(|bake| bake.0 > 0);
    let bake_end = bake.filter(|_| end == End::RolledBack).map(|bake| state.now() + bake);
    install(state, graph, index, to, |it| {
        it.forget_stable(left);
        it.previous = None;
        match bake_end {
            Some(end) if !it.stable_releases.contains(&to) => it.bake_until = Some(end),
            Some(_) | None => it.mark_stable(to),
        }
    });
}

/// The installation runs `release` now, by this run.
fn install(
    state: &mut State,
    graph: &RunGraph,
    index: usize,
    release: Digest,
    change: impl FnOnce(&mut Installation),
) {
    let done = graph.stages[index].deploy().expect("only deploys install").begun().done;
    let now = state.wall();
    change_installation(state, graph, index, |it| {
        it.install(release, &graph.run.id, done, now);
        change(it);
    });
}

fn change_installation(
    state: &mut State,
    graph: &RunGraph,
    index: usize,
    change: impl FnOnce(&mut Installation),
) {
    let deploy = graph.stages[index].deploy().expect("only deploys have installations");
    state.change_installation(&graph.run.id, &deploy.target, change);
}
