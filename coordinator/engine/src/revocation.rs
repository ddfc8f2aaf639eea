//! Revoked keys: who has to refuse one, and for how long.
//!
//! Agents admit runners, so a runner's key concerns the agent that it was enrolled with and no other one; an agent's key
//! concerns its runners, and keys of operators the coordinators alone. A runner that goes to another agent takes its earlier keys along: from
//! then on every agent refuses them. A key is forgotten when its certificates have ended and can't be renewed any more.

use trimaran_model::id::{AgentName, Digest};
use trimaran_model::limits::{
    ISSUER_TTL, LEAF_RENEWABLE_AFTER_END, LEAF_TTL, OPERATOR_LEAF_TTL, REVOKED_SLACK, RUNNER_REVOKED_MAX,
};
use trimaran_model::time::Millis;

use crate::event::Event;
use crate::state::State;
use crate::state::agent::Runner;
use crate::state::cluster::Member;
use crate::state::token::{Audience, Revoked, RevokedId};

/// Revokes the key of an agent that another process has become. Its runners know the agent by its name, so they have to
/// know which key has it no more.
pub(crate) fn of_agent(state: &mut State, agent: AgentName, key: Digest) {
    revoke(state, key, LEAF_TTL, Audience::Runners { agent });
}

/// Revokes the key of an operator.
pub(crate) fn of_operator(state: &mut State, key: Digest) {
    revoke(state, key, OPERATOR_LEAF_TTL, Audience::Coordinators);
}

/// Revokes the keys of a coordinator that is a member no more: its own and the one that it signed with.
pub(crate) fn of_member(state: &mut State, member: &Member) {
    let unknown = Digest([0; 32]);
    for (key, ttl) in [(member.certificate, LEAF_TTL), (member.issuer, ISSUER_TTL)] {
        if key != unknown {
            revoke(state, key, ttl, Audience::Issuer);
        }
    }
}

/// Revokes the key of a runner that is replaced by one that is enrolled with `now.agent`, and notes with `now` which keys
/// that agent alone refuses.
pub(crate) fn of_runner(state: &mut State, old: &Runner, now: &mut Runner) {
    let mut local: Vec<RevokedId> = old.revoked.clone();
    local.retain(|id| state.revoked.get(id).is_some());
    if let Some(key) = old.key.filter(|key| now.key != Some(*key)) {
        local.push(revoke(state, key, LEAF_TTL, Audience::Agent { name: old.agent.clone() }));
    }
    let kept = if old.agent == now.agent { RUNNER_REVOKED_MAX } else { 0 };
    for id in local.drain(..local.len().saturating_sub(kept)) {
        widen(state, id);
    }
    now.revoked = local;
}

/// Revokes the key of a runner that is removed. Its earlier keys stay refused as they are.
pub(crate) fn of_removed(state: &mut State, old: &Runner) {
    if let Some(key) = old.key {
        revoke(state, key, LEAF_TTL, Audience::Agent { name: old.agent.clone() });
    }
}

fn revoke(state: &mut State, key: Digest, ttl: Millis, audience: Audience) -> RevokedId {
    let until = state.wall() + ttl + LEAF_RENEWABLE_AFTER_END + REVOKED_SLACK;
    let id = RevokedId { until, number: next_number(state) };
    put(state, Revoked { id, key, audience });
    id
}

/// From now on every agent refuses the key. It gets a new number, so that those who have been sent the others get it.
fn widen(state: &mut State, id: RevokedId) {
    let old = state.revoked.remove(&id).expect("forgotten ones were left out");
    let id = RevokedId { number: next_number(state), ..id };
    put(state, Revoked { id, audience: Audience::Agents, ..old });
}

fn put(state: &mut State, revoked: Revoked) {
    state.revoked.put(revoked.clone());
    state.events.push(Event::Revoked(revoked));
}

fn next_number(state: &mut State) -> u64 {
    state.set_cluster(|cluster| cluster.revocation += 1);
    state.cluster().revocation
}

/// Forgets keys whose time is over; more than an entry of so many commands can add.
pub(crate) fn expire(state: &mut State, commands: usize) {
    let wall = state.wall();
    let over = state.revoked.iter().take_while(|it| it.id.until < wall).take(commands * 2 + 1);
    let over: Vec<RevokedId> = over.map(|it| it.id).collect();
    for id in over {
        state.revoked.remove(&id);
    }
}
