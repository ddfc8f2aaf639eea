//! An agent's session begins. Two incarnations of one name never work at the same time.

use trimaran_model::id::{AgentName, CoordinatorName, Identity, Incarnation, InstallationId};
use trimaran_model::limits::AGENT_LOST_AFTER;

use super::convert::{named, record};
use crate::audit;
use crate::event::{AgentState, Event};
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::request::Outcome;

pub(super) struct Session<'a> {
    pub(super) incarnation: u64,
    pub(super) coordinator: &'a str,
    pub(super) address: &'a str,
}

pub(super) fn run(state: &mut State, name: &AgentName, session: &Session<'_>) -> Result<Outcome, Refusal> {
    let incarnation = Incarnation(session.incarnation);
    let coordinator: CoordinatorName = named(session.coordinator)?;
    let Some(mut agent) = state.agents.get(name).cloned() else {
        return Err(Refusal::NoAgent { agent: name.clone() });
    };
    if agent.superseded.contains(&incarnation) {
        return Err(Refusal::Superseded);
    }
    if let Some(old) = agent.incarnation.filter(|old| *old != incarnation) {
        agent.supersede(old, state.now());
        state.events.push(Event::Superseded { agent: name.clone(), incarnation: old });
        let superseded = record("supersede", format!("agent/{name} {old} by {incarnation}"));
        audit::append(state, &Identity::Agent(name.clone()), superseded, "ok");
    }
    state.set_cluster(|cluster| cluster.attach += 1);
    let attach = state.cluster().attach;
    agent.attach(incarnation, attach, coordinator);
    agent.address = Some(session.address.to_owned());
    agent.changed = state.wall();
    state.agents.put(agent);
    observe_before_stable(state, name);
    state.events.push(Event::Agent { agent: name.clone(), state: AgentState::Connected });
    state.events.push(Event::AgentWork { agent: name.clone(), assignment: None });
    state.wake_agent(name);
    Ok(Outcome::Attached { attach })
}

/// What ran without an agent that observes it is not stable before the agent had a moment to report.
fn observe_before_stable(state: &mut State, name: &AgentName) {
    let earliest = state.now() + AGENT_LOST_AFTER;
    let due = state.installations_at(name).filter(|it| it.bake_until.is_some_and(|until| until < earliest));
    let due: Vec<InstallationId> = due.map(|it| it.id.clone()).collect();
    for id in due {
        state.installations.update(&id, |it| it.bake_until = Some(earliest));
    }
}
