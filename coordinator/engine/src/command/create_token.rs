//! A one-time token. The client made it; the state knows its hash alone.

use trimaran_model::id::{AgentName, Digest, OperatorRole, name_error};
use trimaran_model::limits::{
    GROUP_TOKEN_TTL_MAX, GROUP_USES_MAX, REFUSAL_TEXT_BYTES_MAX, TOKEN_TTL, TOKENS_MAX,
};
use trimaran_model::text::cut;
use trimaran_model::time::Millis;
use trimaran_wire::v1::command::TokenGrant;

use super::convert::{named, record};
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::agent::Agent;
use crate::state::request::Outcome;
use crate::state::token::{Grant, Token};

pub(super) fn run(state: &mut State, sha256: [u8; 32], wanted: &TokenGrant) -> Result<Outcome, Refusal> {
    let grant = grant(wanted)?;
    if let Grant::Runner { agent, .. } | Grant::Runners { agent, .. } = &grant
        && state.agents.get(agent).is_none()
    {
        return Err(Refusal::AgentFirst { agent: agent.clone() });
    }
    let wall = state.wall();
    // A token past its time is refused like an unknown one.
    let stale: Vec<Digest> = state.tokens.iter().filter(|it| it.expires < wall).map(|it| it.sha256).collect();
    for sha256 in stale {
        state.tokens.remove(&sha256);
    }
    // Two clients that made the same one would each believe it theirs.
    if state.tokens.get(&Digest(sha256)).is_some() {
        return Err(Refusal::TokenExists);
    }
    if state.tokens.len() >= TOKENS_MAX {
        return Err(Refusal::TokensFull);
    }
    if let Grant::Agent { name } = &grant
        && state.agents.get(name).is_none()
    {
        state.agents.put(Agent::new(name.clone(), wall));
    }
    let ttl = match &grant {
        Grant::Runners { ttl, .. } => *ttl,
        Grant::Agent { .. } | Grant::Runner { .. } | Grant::Operator { .. } => TOKEN_TTL,
        Grant::Coordinator { .. } => TOKEN_TTL,
    };
    let (name, expires) = (grant.name().to_owned(), wall + ttl);
    state.tokens.put(Token { sha256: Digest(sha256), grant, expires });
    Ok(Outcome::Token { name, expires })
}

/// The grant with its names checked.
fn grant(wanted: &TokenGrant) -> Result<Grant, Refusal> {
    let text = |text: &str| cut(text.to_owned(), REFUSAL_TEXT_BYTES_MAX);
    let name = match wanted {
        TokenGrant::Agent { name } | TokenGrant::Runner { name, .. } => name,
        TokenGrant::Operator { name, .. } | TokenGrant::Coordinator { name } => name,
        TokenGrant::Runners { group, .. } => group,
    };
    if name_error(name).is_some() {
        return Err(Refusal::NotAName { text: text(name) });
    }
    Ok(match wanted {
        TokenGrant::Agent { name } => Grant::Agent { name: named(name)? },
        TokenGrant::Runner { name, agent, labels } => {
            let not_a_name = |_| Refusal::NotAName { text: text(agent) };
            let agent: AgentName = agent.parse().map_err(not_a_name)?;
            Grant::Runner { name: named(name)?, agent, labels: labels.clone() }
        }
        TokenGrant::Operator { name, role } => {
            let found = OperatorRole::ALL.into_iter().find(|it| it.as_str() == role);
            let role = found.ok_or_else(|| Refusal::NotARole { text: text(role) })?;
            Grant::Operator { name: named(name)?, role }
        }
        TokenGrant::Coordinator { name } => Grant::Coordinator { name: named(name)? },
        TokenGrant::Runners { group, agent, labels, uses, ttl_ms } => {
            let agent: AgentName = agent.parse().map_err(|_| Refusal::NotAName { text: text(agent) })?;
            let ttl = Millis(*ttl_ms);
            if *uses == 0 || *uses > GROUP_USES_MAX || ttl == Millis::ZERO || ttl > GROUP_TOKEN_TTL_MAX {
                return Err(Refusal::Malformed);
            }
            Grant::Runners { group: group.clone(), agent, labels: labels.clone(), uses: *uses, ttl }
        }
    })
}

pub(super) fn audit(grant: &TokenGrant) -> Record {
    let object = match grant {
        TokenGrant::Agent { name } => format!("agent {name}"),
        TokenGrant::Runner { name, .. } => format!("runner {name}"),
        TokenGrant::Operator { name, role } => format!("operator {name} ({role})"),
        TokenGrant::Coordinator { name } => format!("coordinator {name}"),
        TokenGrant::Runners { group, uses, .. } => format!("group {group}, {uses} runners"),
    };
    record("create_token", object)
}
