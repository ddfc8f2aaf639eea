//! One-time tokens, and what using one makes: an identity, and the end of an earlier one of the same name.

use trimaran_model::error_code;
use trimaran_model::id::{Identity, name_error};
use trimaran_model::limits::{TOKEN_TTL, TOKENS_MAX};
use trimaran_wire::v1::command::TokenGrant;
use trimaran_wire::v1::common::operator_role;
use trimaran_wire::v1::row;

use crate::event::Event;
use crate::idempotency::{Outcome, Rejection, reject};
use crate::state::State;

/// `agent lab`.
pub(crate) fn grant_name(grant: &TokenGrant) -> String {
    match grant {
        TokenGrant::Agent { name } => format!("agent {name}"),
        TokenGrant::Runner { name, .. } => format!("runner {name}"),
        TokenGrant::Operator { name, role } => format!("operator {name} ({role})"),
        TokenGrant::Coordinator { name } => format!("coordinator {name}"),
    }
}

fn name_of(grant: &TokenGrant) -> &str {
    match grant {
        TokenGrant::Agent { name }
        | TokenGrant::Runner { name, .. }
        | TokenGrant::Operator { name, .. }
        | TokenGrant::Coordinator { name } => name,
    }
}

pub(super) fn create_token(
    state: &mut State,
    sha256: [u8; 32],
    grant: &TokenGrant,
) -> Result<Outcome, Rejection> {
    let name = name_of(grant);
    if let Some(why) = name_error(name) {
        return reject(error_code::USAGE, format!("`{name}` is not a name: {why}"));
    }
    if let TokenGrant::Runner { agent, .. } = grant
        && state.agents.get(agent).is_none()
    {
        return reject(error_code::NOT_FOUND, format!("there is no agent `{agent}`; enroll it first"));
    }
    if let TokenGrant::Operator { role, .. } = grant
        && operator_role(role).is_err()
    {
        return reject(
            error_code::USAGE,
            format!("`{role}` is no role; there are viewer, operator and admin"),
        );
    }
    let wall = state.wall();
    // A token past its time is refused like an unknown one, used or not.
    let stale: Vec<_> = state.tokens.iter().filter(|it| it.expires_ms < wall.0).map(|it| it.sha256).collect();
    for sha256 in stale {
        state.tokens.remove(&sha256);
    }
    if state.tokens.len() >= TOKENS_MAX {
        return reject(error_code::BUSY, format!("{TOKENS_MAX} tokens were made within the last hour"));
    }
    if let TokenGrant::Agent { name } = grant
        && state.agents.get(name).is_none()
    {
        state.agents.put(new_agent(name, wall.0));
    }
    let expires_ms = (wall + TOKEN_TTL).0;
    state.tokens.put(row::Token { sha256, grant: grant.clone(), expires_ms, used: false });
    Ok(Outcome::Token { name: name.to_owned(), expires_ms })
}

fn new_agent(name: &str, changed_ms: i64) -> row::Agent {
    row::Agent {
        name: name.to_owned(),
        key: None,
        incarnation: None,
        superseded: Vec::new(),
        attached: None,
        address: None,
        lost: false,
        calls_until: None,
        handover_until: None,
        changed_ms,
    }
}

/// The token is used once; whoever had the name before is revoked.
pub(super) fn use_token(state: &mut State, sha256: [u8; 32], key: [u8; 32]) -> Result<Outcome, Rejection> {
    let unknown = || reject(error_code::TOKEN_UNKNOWN, "the token is unknown, used or expired");
    let Some(token) = state.tokens.get(&sha256).cloned() else { return unknown() };
    if token.used || token.expires_ms < state.wall().0 {
        return unknown();
    }
    let bug = |_| Rejection { code: error_code::BUG, message: "a stored name is not a name".to_owned() };
    let identity = match &token.grant {
        TokenGrant::Agent { name } => {
            let mut agent =
                state.agents.get(name).cloned().unwrap_or_else(|| new_agent(name, state.wall().0));
            revoke(state, agent.key.replace(key).filter(|old| *old != key));
            state.agents.put(agent);
            Identity::Agent(name.parse().map_err(bug)?)
        }
        TokenGrant::Runner { name, agent, labels } => {
            let old = state.runners.get(name).cloned();
            revoke(state, old.as_ref().and_then(|old| old.key).filter(|old| *old != key));
            let row = row::Runner {
                name: name.clone(),
                agent: agent.clone(),
                labels: labels.clone(),
                key: Some(key),
                seen_ms: old.as_ref().and_then(|old| old.seen_ms),
            };
            state.runners.put(row);
            for agent in old.map(|old| old.agent).into_iter().chain([agent.clone()]) {
                state.events.push(Event::AgentWork { agent: agent.clone(), assignment: None });
                state.wake_agent(&agent);
            }
            Identity::Runner(name.parse().map_err(bug)?)
        }
        TokenGrant::Operator { name, role } => {
            let old = state.operators.get(name).map(|old| old.key);
            revoke(state, old.filter(|old| *old != key));
            state.operators.put(row::Operator { name: name.clone(), role: role.clone(), key });
            let role = operator_role(role)
                .map_err(|_| Rejection { code: error_code::BUG, message: "role".to_owned() })?;
            Identity::Operator(name.parse().map_err(bug)?, role)
        }
        TokenGrant::Coordinator { name } => Identity::Coordinator(name.parse().map_err(bug)?),
    };
    state.tokens.put(row::Token { used: true, ..token });
    Ok(Outcome::Enrolled { identity })
}

fn revoke(state: &mut State, key: Option<[u8; 32]>) {
    if let Some(key) = key {
        let at_ms = state.wall().0;
        state.revoked.put(row::Revoked { key, at_ms });
        state.events.push(Event::Revoked { key });
    }
}
