//! Timers: bakes, pauses and handovers on cluster life; approvals on wall time.

use trimaran_model::time::Timestamp;
use trimaran_model::verdict::Verdict;
use trimaran_wire::v1::row;

use crate::event::Event;
use crate::settle::assignment_result::mark_stable;
use crate::state::{State, status};

/// Runs everything that is due.
pub(crate) fn run(state: &mut State) {
    let (now, wall) = (state.now().0, state.wall().0);
    let due = |it: &&row::Installation| bake_end(state, it).is_some_and(|until| until <= now);
    let baked: Vec<row::Installation> = state.installations.active().filter(due).cloned().collect();
    for it in baked {
        end_bake(state, it);
    }
    let handed: Vec<row::Agent> = state
        .agents
        .active()
        .filter(|it| it.handover_until.is_some_and(|until| until <= now))
        .cloned()
        .collect();
    for agent in handed {
        let name = agent.name.clone();
        state.agents.put(row::Agent { handover_until: None, ..agent });
        state.events.push(Event::AgentWork { agent: name.clone(), assignment: None });
        state.wake_agent(&name);
    }
    state.wake_where(|run| {
        run.stages.iter().any(|stage| {
            pause_end(stage).is_some_and(|until| until <= now)
                || expiry(stage).is_some_and(|until| until <= wall)
        })
    });
}

/// When the bake ends: never while the agent is silent, because nobody looks.
fn bake_end(state: &State, it: &row::Installation) -> Option<u64> {
    let target = state.targets.get(&it.id.target)?;
    let agent = state.agents.get(&target.target.agent)?;
    it.bake_until.filter(|_| agent.attached.is_some())
}

/// What stayed healthy is good from now on; anything else is not, and its bake is over all the same.
fn end_bake(state: &mut State, mut it: row::Installation) {
    match it.current.filter(|_| it.health == Verdict::Healthy.as_str()) {
        Some(current) => mark_stable(&mut it, current),
        None => it.bake_until = None,
    }
    state.events.push(Event::Installation { installation: it.id.clone(), health: it.health.clone() });
    state.installations.put(it);
}

/// When the pause between two waves ends, of a stage that waits for it.
fn pause_end(stage: &row::Stage) -> Option<u64> {
    let waits = stage.assignment.is_none() && !status(&stage.status).is_done();
    stage.pause_until.filter(|_| waits)
}

/// When an approval that waits expires, on wall time.
fn expiry(stage: &row::Stage) -> Option<i64> {
    let waits = stage.decision.is_none() && !status(&stage.status).is_done();
    stage.expires_ms.filter(|_| waits)
}

/// The next moment at which something is due.
pub(crate) fn next(state: &State) -> Option<Timestamp> {
    let offset = state.meta().offset_ms;
    let on_life = |wall: i64| u64::try_from(wall.saturating_sub(offset)).unwrap_or(0);
    let bakes = state.installations.active().filter_map(|it| bake_end(state, it));
    let handovers = state.agents.active().filter_map(|it| it.handover_until);
    let stages = state.live_runs().flat_map(|run| &run.stages);
    let waits = stages.flat_map(|stage| [pause_end(stage), expiry(stage).map(on_life)]);
    bakes.chain(handovers).chain(waits.flatten()).min().map(Timestamp)
}
