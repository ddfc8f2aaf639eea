//! An agent's session ended; its stages are lost only when it does not come back in time. A goodbye says that no call
//! is in flight.

use trimaran_model::id::AgentName;
use trimaran_model::time::WallTime;

use crate::event::{AgentState, Event};
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::agent::Agent;
use crate::state::request::Outcome;

pub(super) fn run(
    state: &mut State,
    name: &AgentName,
    attach: u64,
    goodbye: bool,
    seen: WallTime,
) -> Result<Outcome, Refusal> {
    let (now, wall) = (state.now(), state.wall());
    let detach = |agent: &mut Agent| {
        agent.detach(goodbye, now);
        agent.changed = seen.clamp(agent.changed.min(wall), wall);
    };
    if change_session(state, name, attach, detach)? {
        state.events.push(Event::Agent { agent: name.clone(), state: AgentState::Disconnected });
    }
    Ok(Outcome::Nothing)
}

/// Changes the agent when its last attach is still this one, and says whether it is: what is said of an earlier
/// session, perhaps at another coordinator, changes nothing.
pub(super) fn change_session(
    state: &mut State,
    name: &AgentName,
    attach: u64,
    change: impl FnOnce(&mut Agent),
) -> Result<bool, Refusal> {
    let known = state.agents.get(name).ok_or_else(|| Refusal::NoAgent { agent: name.clone() })?;
    if known.attach != attach {
        return Ok(false);
    }
    state.agents.update(name, change);
    state.wake_agent(name);
    Ok(true)
}
