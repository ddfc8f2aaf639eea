//! What using a token makes: an identity, and the end of an earlier one of the same name.

use trimaran_model::id::{AgentName, Digest, Identity};

use super::convert::record;
use crate::audit::Record;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::agent::{Agent, Runner};
use crate::state::request::Outcome;
use crate::state::token::{Grant, Operator, Revoked, Token};

/// The token is used once; whoever had the name before is revoked.
pub(super) fn run(state: &mut State, sha256: [u8; 32], key: [u8; 32]) -> Result<Outcome, Refusal> {
    let (found, key, wall) = (state.tokens.get(&Digest(sha256)), Digest(key), state.wall());
    let Some(token) = found.filter(|token| !token.used && token.expires >= wall).cloned() else {
        return Err(Refusal::TokenUnknown);
    };
    let identity = match &token.grant {
        Grant::Agent { name } => {
            let known = state.agents.get(name).cloned();
            let mut agent = known.unwrap_or_else(|| Agent::new(name.clone(), wall));
            revoke(state, agent.key.replace(key).filter(|old| *old != key));
            state.agents.put(agent);
            Identity::Agent(name.clone())
        }
        Grant::Runner { name, agent, labels } => {
            let (name, agent, key) = (name.clone(), agent.clone(), Some(key));
            let row = Runner { name: name.clone(), agent, labels: labels.clone(), key, seen: None };
            enroll_runner(state, row);
            Identity::Runner(name)
        }
        Grant::Operator { name, role } => {
            let old = state.operators.get(name).map(|old| old.key);
            revoke(state, old.filter(|old| *old != key));
            state.operators.put(Operator { name: name.clone(), role: *role, key });
            Identity::Operator(name.clone(), *role)
        }
        Grant::Coordinator { name } => Identity::Coordinator(name.clone()),
    };
    state.tokens.put(Token { used: true, ..token });
    Ok(Outcome::Enrolled { identity })
}

/// A runner is enrolled, perhaps again and with another agent.
fn enroll_runner(state: &mut State, mut runner: Runner) {
    let old: Option<Runner> = state.runners.get(&runner.name).cloned();
    let old_key = old.as_ref().and_then(|old| old.key).filter(|old| Some(*old) != runner.key);
    revoke(state, old_key);
    runner.seen = old.as_ref().and_then(|old| old.seen);
    let agents: Vec<AgentName> = old.map(|old| old.agent).into_iter().chain([runner.agent.clone()]).collect();
    state.runners.put(runner);
    for agent in agents {
        state.events.push(Event::AgentWork { agent: agent.clone(), assignment: None });
        state.wake_agent(&agent);
    }
}

fn revoke(state: &mut State, key: Option<Digest>) {
    if let Some(key) = key {
        let at = state.wall();
        state.revoked.put(Revoked { key, at });
        state.events.push(Event::Revoked { key });
    }
}

pub(super) fn audit() -> Record {
    record("use_token", "")
}
