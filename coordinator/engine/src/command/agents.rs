//! Sessions of agents: attached, gone, lost. Two lives of one name never work at the same time.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::limits::{AGENT_LOST_AFTER, SUPERSEDED_KEPT, UNGUARDED_CALL};
use trimaran_model::reason::ReasonCode;
use trimaran_wire::v1::row;

use crate::audit;
use crate::event::Event;
use crate::idempotency::{Outcome, Rejection, reject};
use crate::state::State;

pub(super) fn attach(
    state: &mut State,
    name: &str,
    incarnation: u64,
    coordinator: &str,
    address: &str,
) -> Result<Outcome, Rejection> {
    let Some(mut agent) = state.agents.get(&name.to_owned()).cloned() else {
        return reject(error_code::NOT_FOUND, format!("there is no agent `{name}`"));
    };
    if agent.superseded.contains(&incarnation) {
        return reject(
            error_code::IDENTITY,
            "a later life of this agent has attached; this one is superseded",
        );
    }
    if let Some(old) = agent.incarnation.filter(|old| *old != incarnation) {
        supersede(state, &mut agent, old, incarnation);
    }
    agent.incarnation = Some(incarnation);
    agent.attached = Some(coordinator.to_owned());
    agent.address = Some(address.to_owned());
    (agent.lost, agent.calls_until) = (false, None);
    agent.changed_ms = state.wall().0;
    state.agents.put(agent);
    look_before_good(state, name);
    state.events.push(Event::Agent { agent: name.to_owned(), state: "connected".to_owned() });
    state.events.push(Event::AgentWork { agent: name.to_owned(), assignment: None });
    state.wake_agent(name);
    Ok(Outcome::Attached)
}

/// A new life takes over: calls of the old one may be in flight for a while, unless it said goodbye.
fn supersede(state: &mut State, agent: &mut row::Agent, old: u64, new: u64) {
    agent.superseded.push(old);
    if agent.superseded.len() > SUPERSEDED_KEPT {
        agent.superseded.remove(0);
    }
    let now = state.now();
    let until = match agent.attached {
        Some(_) => Some((now + AGENT_LOST_AFTER + UNGUARDED_CALL).0),
        None => agent.calls_until,
    };
    agent.handover_until = agent.handover_until.max(until).filter(|until| *until > now.0);
    state.events.push(Event::Superseded { agent: agent.name.clone(), incarnation: old });
    let object = format!("agent/{} {old:016x} by {new:016x}", agent.name);
    audit::record(state, &format!("agent/{}", agent.name), "supersede", &object, "ok");
}

/// What ran without an agent's eye is not good before the agent had a moment to say otherwise.
fn look_before_good(state: &mut State, name: &str) {
    let earliest = (state.now() + AGENT_LOST_AFTER).0;
    let due: Vec<row::Installation> = state
        .installations_at(name)
        .filter(|it| it.bake_until.is_some_and(|until| until < earliest))
        .cloned()
        .collect();
    for it in due {
        state.installations.put(row::Installation { bake_until: Some(earliest), ..it });
    }
}

/// The session ended; its stages are lost only when it does not come back in time. A goodbye says that no
/// call is in flight.
pub(super) fn detach(
    state: &mut State,
    name: &str,
    incarnation: u64,
    goodbye: bool,
) -> Result<Outcome, Rejection> {
    let silent = (state.now() + AGENT_LOST_AFTER + UNGUARDED_CALL).0;
    change(state, name, incarnation, |agent| {
        agent.attached = None;
        agent.calls_until = (!goodbye).then_some(silent);
    })?;
    state.events.push(Event::Agent { agent: name.to_owned(), state: "disconnected".to_owned() });
    Ok(Outcome::Nothing)
}

/// No sign for `AGENT_LOST_AFTER`.
pub(super) fn lost(state: &mut State, name: &str, incarnation: u64) -> Result<Outcome, Rejection> {
    let silent = (state.now() + UNGUARDED_CALL).0;
    change(state, name, incarnation, |agent| {
        if agent.attached.take().is_some() {
            agent.calls_until = Some(silent);
        }
        agent.lost = true;
    })?;
    state
        .events
        .push(Event::Agent { agent: name.to_owned(), state: ReasonCode::AgentLost.as_str().to_owned() });
    Ok(Outcome::Nothing)
}

/// Notes when runners were last seen; those of other agents are passed over, and nobody is seen in the future.
pub(super) fn runners_seen(state: &mut State, agent: &str, runners: &BTreeMap<String, i64>) -> Outcome {
    let now = state.wall().0;
    for (name, seen) in runners {
        let Some(runner) = state.runners.get(name).filter(|it| it.agent == agent).cloned() else { continue };
        let seen_ms = runner.seen_ms.max(Some((*seen).min(now)));
        state.runners.put(row::Runner { seen_ms, ..runner });
    }
    Outcome::Nothing
}

/// Changes the row of the life that speaks; an earlier life changes nothing.
fn change(
    state: &mut State,
    name: &str,
    incarnation: u64,
    change: impl FnOnce(&mut row::Agent),
) -> Result<(), Rejection> {
    let Some(mut agent) = state.agents.get(&name.to_owned()).cloned() else {
        return reject(error_code::NOT_FOUND, format!("there is no agent `{name}`"));
    };
    if agent.incarnation == Some(incarnation) {
        change(&mut agent);
        agent.changed_ms = state.wall().0;
        state.agents.put(agent);
        state.wake_agent(name);
    }
    Ok(())
}
