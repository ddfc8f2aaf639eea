//! Timers: bakes, pauses and handovers on cluster life; approvals on wall time.

use trimaran_model::time::Timestamp;
use trimaran_wire::v1::row;

use crate::event::Event;
use crate::settle::outcome::make_good;
use crate::state::State;

/// Runs everything that is due.
pub(crate) fn run(state: &mut State) {
    let (now, wall) = (state.now().0, state.wall().0);
    let baked: Vec<row::Installation> = state
        .installations
        .iter()
        .filter(|it| it.bake_until.is_some_and(|until| until <= now))
        .cloned()
        .collect();
    for mut it in baked {
        match it.current {
            Some(current) => make_good(&mut it, current),
            None => it.bake_until = None,
        }
        state.events.push(Event::Installation { installation: it.id.clone(), health: it.health.clone() });
        state.installations.put(it);
    }
    let handed: Vec<row::Agent> = state
        .agents
        .iter()
        .filter(|it| it.handover_until.is_some_and(|until| until <= now))
        .cloned()
        .collect();
    for agent in handed {
        let name = agent.name.clone();
        state.agents.put(row::Agent { handover_until: None, ..agent });
        state.events.push(Event::AgentWork { agent: name.clone() });
        state.wake_agent(&name);
    }
    state.wake_where(|run| {
        run.stages.iter().any(|stage| {
            let paused = stage.pause_until.is_some_and(|until| until <= now) && stage.assignment.is_none();
            let expired = stage.expires_ms.is_some_and(|at| at <= wall) && stage.finished_ms.is_none();
            paused || (expired && stage.decision.is_none())
        })
    });
}

/// The next moment at which something is due.
pub(crate) fn next(state: &State) -> Option<Timestamp> {
    let offset = state.meta().offset_ms;
    let on_life = |wall: i64| u64::try_from(wall.saturating_sub(offset)).unwrap_or(0);
    let bakes = state.installations.iter().filter_map(|it| it.bake_until);
    let handovers = state.agents.iter().filter_map(|it| it.handover_until);
    let stages = state.live_runs().flat_map(|run| &run.stages).filter(|stage| stage.finished_ms.is_none());
    let waits = stages.flat_map(|stage| {
        let pause = stage.pause_until.filter(|_| stage.assignment.is_none());
        let expiry = stage.expires_ms.filter(|_| stage.decision.is_none()).map(on_life);
        [pause, expiry]
    });
    bakes.chain(handovers).chain(waits.flatten()).min().map(Timestamp)
}
