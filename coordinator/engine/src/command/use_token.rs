//! What using a token makes: an identity, and the end of an earlier one of the same name.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::id::{AgentName, Digest, HostName, Identity};
use trimaran_model::limits::REFUSAL_TEXT_BYTES_MAX;
use trimaran_model::text::cut;

use super::convert::record;
use crate::audit::Record;
use crate::event::Event;
use crate::refusal::Refusal;
use crate::revocation;
use crate::state::State;
use crate::state::agent::{Agent, Runner};
use crate::state::request::Outcome;
use crate::state::token::{Grant, Operator, Token};

/// The token is used once; whoever had the name before is revoked.
pub(super) fn run(
    state: &mut State,
    sha256: [u8; 32],
    key: [u8; 32],
    own_name: Option<&str>,
) -> Result<Outcome, Refusal> {
    let (found, key, wall) = (state.tokens.get(&Digest(sha256)), Digest(key), state.wall());
    let Some(token) = found.filter(|token| token.expires >= wall).cloned() else {
        return Err(Refusal::TokenUnknown);
    };
    if let Grant::Runners { agent, labels, .. } = &token.grant {
        let (agent, labels) = (agent.clone(), labels.clone());
        return one_of_many(state, token, own_name, agent, labels, key);
    }
    // It is unknown from now on: a fleet that is enrolled at once must not fill the table with used ones.
    state.tokens.remove(&token.sha256);
    let identity = match &token.grant {
        Grant::Agent { name } => {
            let known = state.agents.get(name).cloned();
            let mut agent = known.unwrap_or_else(|| Agent::new(name.clone(), wall));
            if let Some(old) = agent.key.replace(key).filter(|old| *old != key) {
                revocation::of_agent(state, name.clone(), old);
            }
            state.agents.put(agent);
            Identity::Agent(name.clone())
        }
        Grant::Runner { name, agent, labels } => {
            enroll_runner(state, new_runner(name.clone(), agent.clone(), labels.clone(), key));
            Identity::Runner(name.clone())
        }
        Grant::Operator { name, role } => {
            let old = state.operators.get(name).map(|old| old.key);
            if let Some(old) = old.filter(|old| *old != key) {
                revocation::of_operator(state, old);
            }
            state.operators.put(Operator { name: name.clone(), role: *role, key });
            Identity::Operator(name.clone(), *role)
        }
        Grant::Coordinator { name } => Identity::Coordinator(name.clone()),
        Grant::Runners { .. } => unreachable!("one of many is enrolled above"),
    };
    Ok(Outcome::Enrolled { identity })
}

fn new_runner(name: HostName, agent: AgentName, labels: BTreeMap<String, String>, key: Digest) -> Runner {
    Runner {
        name,
        agent,
        labels,
        key: Some(key),
        seen: None,
        facts: BTreeMap::new(),
        cordoned: false,
        drained: false,
        away: None,
        revoked: Vec::new(),
    }
}

/// A runner that names itself. It takes no name that another one has: two machines of one image would take it from each
/// other for ever.
fn one_of_many(
    state: &mut State,
    mut token: Token,
    own_name: Option<&str>,
    agent: AgentName,
    labels: BTreeMap<String, String>,
    key: Digest,
) -> Result<Outcome, Refusal> {
    let text = own_name.unwrap_or_default();
    let not_a_name = |_| Refusal::NotAName { text: cut(text.to_owned(), REFUSAL_TEXT_BYTES_MAX) };
    let name: HostName = text.parse().map_err(not_a_name)?;
    let known = state.runners.get(&name).and_then(|runner| runner.key);
    if known.is_some_and(|known| known != key) {
        return Err(Refusal::NameTaken { runner: name });
    }
    if known.is_none()
        && let Grant::Runners { uses, .. } = &mut token.grant
    {
        *uses = uses.saturating_sub(1);
        if *uses == 0 {
            state.tokens.remove(&token.sha256);
        } else {
            state.tokens.put(token);
        }
    }
    enroll_runner(state, new_runner(name.clone(), agent, labels, key));
    Ok(Outcome::Enrolled { identity: Identity::Runner(name) })
}

/// A runner is enrolled, perhaps again and with another agent.
fn enroll_runner(state: &mut State, mut runner: Runner) {
    let old: Option<Runner> = state.runners.get(&runner.name).cloned();
    if let Some(old) = &old {
        runner.seen = old.seen;
        // A user who took it out brings it back, and not a new certificate.
        (runner.cordoned, runner.drained) = (old.cordoned, old.drained);
        revocation::of_runner(state, old, &mut runner);
    }
    // A replacement of the same name, agent and labels changes no inventory: it would be sent for each host of a fleet.
    let listed = |it: &Runner| it.agent == runner.agent && it.labels == runner.labels && it.key.is_some();
    let same = old.as_ref().is_some_and(listed);
    let agents: BTreeSet<AgentName> =
        old.map(|old| old.agent).into_iter().chain([runner.agent.clone()]).collect();
    state.runners.put(runner);
    for agent in agents.into_iter().filter(|_| !same) {
        state.events.push(Event::AgentRunners { agent: agent.clone() });
        state.wake_agent(&agent);
    }
}

pub(super) fn audit(token_sha256: [u8; 32]) -> Record {
    record("use_token", format!("token {}", Digest(token_sha256).short()))
}
