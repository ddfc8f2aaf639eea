//! Sessions of agents: attached, gone, lost. Two lives of one name never work at the same time.

use trimaran_model::error_code;
use trimaran_model::limits::{AGENT_LOST_AFTER, UNGUARDED_CALL};
use trimaran_model::reason::ReasonCode;

use crate::audit;
use crate::event::Event;
use crate::request::{Outcome, Rejection, reject};
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
        agent.superseded.push(old);
        if agent.superseded.len() > 64 {
            agent.superseded.remove(0);
        }
        // Calls of the old life may be in flight for this long after its last sign, unless it said goodbye.
        let works = state.assignments.iter().any(|row| row.agent == name);
        if works && (agent.attached.is_some() || agent.lost) {
            let wait = if agent.lost { UNGUARDED_CALL.0 } else { AGENT_LOST_AFTER.0 + UNGUARDED_CALL.0 };
            agent.handover_until = Some(state.now().0 + wait);
        }
        state.events.push(Event::Superseded { agent: name.to_owned(), incarnation: old });
        let object = format!("agent/{name} {old:016x} by {incarnation:016x}");
        audit::record(state, &format!("agent/{name}"), "supersede", &object, "ok");
    }
    agent.incarnation = Some(incarnation);
    agent.attached = Some(coordinator.to_owned());
    agent.address = Some(address.to_owned());
    agent.lost = false;
    agent.changed_ms = state.wall().0;
    state.agents.put(agent);
    state.events.push(Event::Agent { agent: name.to_owned(), state: "connected".to_owned() });
    state.events.push(Event::AgentWork { agent: name.to_owned() });
    state.wake_agent(name);
    Ok(Outcome::Attached)
}

/// The session ended; its stages are lost only when it does not come back in time.
pub(super) fn detach(state: &mut State, name: &str, incarnation: u64) -> Result<Outcome, Rejection> {
    change(state, name, incarnation, |agent| agent.attached = None)?;
    state.events.push(Event::Agent { agent: name.to_owned(), state: "disconnected".to_owned() });
    Ok(Outcome::Nothing)
}

pub(super) fn lost(state: &mut State, name: &str, incarnation: u64) -> Result<Outcome, Rejection> {
    change(state, name, incarnation, |agent| (agent.attached, agent.lost) = (None, true))?;
    state
        .events
        .push(Event::Agent { agent: name.to_owned(), state: ReasonCode::AgentLost.as_str().to_owned() });
    Ok(Outcome::Nothing)
}

/// Changes the row of the life that speaks; an earlier life changes nothing.
fn change(
    state: &mut State,
    name: &str,
    incarnation: u64,
    change: impl FnOnce(&mut trimaran_wire::v1::row::Agent),
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
