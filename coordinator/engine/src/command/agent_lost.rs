//! No sign of an agent for `limits::AGENT_LOST_AFTER`, as the coordinators say themselves.

use trimaran_model::id::{AgentName, Identity};

use super::convert::named;
use super::detach::change_session;
use crate::event::{AgentState, Event};
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::agent::Agent;
use crate::state::request::Outcome;

pub(super) fn run(
    state: &mut State,
    identity: &Identity,
    agent: &str,
    attach: u64,
) -> Result<Outcome, Refusal> {
    if *identity != Identity::System {
        return Err(Refusal::NotAnAgent { identity: identity.clone() });
    }
    let (name, now, wall): (AgentName, _, _) = (named(agent)?, state.now(), state.wall());
    let lose = |agent: &mut Agent| {
        if agent.attached.is_some() {
            // Its coordinator ended without a word, so no one knows better when it was seen last.
            agent.changed = wall;
        }
        agent.lose(now);
    };
    if change_session(state, &name, attach, lose)? {
        state.events.push(Event::Agent { agent: name, state: AgentState::Lost });
    }
    Ok(Outcome::Nothing)
}
