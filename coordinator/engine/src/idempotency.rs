//! The table that answers a repeated request with the outcome of the first.

use trimaran_model::id::{Digest, Identity, RequestId};
use trimaran_model::limits::{
    REQUEST_KEPT, REQUESTS_MAX, REQUESTS_PER_IDENTITY_MAX, REQUESTS_PER_IDENTITY_RESERVED, REQUESTS_RESERVED,
};
use trimaran_model::time::WallTime;
use trimaran_wire::v1::command::RequestKey;

use crate::refusal::Refusal;
use crate::state::State;
use crate::state::request::{Outcome, Request};

/// Ids are forgotten later than they are refused, because wall time may be set back a little.
const FORGET_LATER_MS: i64 = 3_600_000;

/// Milliseconds of wall time since the sender made an id.
fn age(state: &State, id: RequestId) -> i64 {
    let made = i64::try_from(id.made_at_ms()).unwrap_or(i64::MAX);
    state.wall().0.saturating_sub(made)
}

/// Milliseconds for which an id is remembered, counted from when it was made.
fn kept() -> i64 {
    i64::try_from(REQUEST_KEPT.0).unwrap_or(i64::MAX)
}

/// The ids of stored rows, by who sent them.
pub(crate) fn index(state: &mut State) {
    for request in state.requests.iter() {
        state.request_ids.entry(request.identity.clone()).or_default().insert(request.id);
    }
}

/// The answer without doing anything: of a repetition, or the refusal of the id itself. `has_reserve`: the last ids of
/// the table, and of those of one identity, are for this change.
pub(crate) fn earlier(
    state: &State,
    identity: &Identity,
    request: &RequestKey,
    has_reserve: bool,
) -> Option<Outcome> {
    let id = RequestId(request.id);
    let refused = |refusal| Some(Outcome::Refused(refusal));
    if let Some(known) = state.requests.get(&(id, identity.clone())) {
        if known.body.0 != request.body_sha256 {
            return refused(Refusal::RequestIdReused);
        }
        return Some(known.outcome.clone());
    }
    let age = age(state, id);
    if age > kept() {
        return refused(Refusal::RequestExpired);
    }
    if age < -kept() {
        return refused(Refusal::RequestFromFuture);
    }
    let limit = |max: usize, reserved: usize| if has_reserve { max } else { max - reserved };
    if let Some(own) = state.request_ids.get(identity)
        && own.len() >= limit(REQUESTS_PER_IDENTITY_MAX, REQUESTS_PER_IDENTITY_RESERVED)
    {
        let oldest = own.first().expect("it is full");
        let made = i64::try_from(oldest.made_at_ms()).unwrap_or(i64::MAX);
        let retry_at = WallTime(made.saturating_add(kept() + FORGET_LATER_MS));
        return refused(Refusal::OwnRequestsFull { retry_at });
    }
    if state.requests.len() >= limit(REQUESTS_MAX, REQUESTS_RESERVED) {
        return refused(Refusal::RequestsFull);
    }
    None
}

/// Remembers an outcome.
pub(crate) fn remember(state: &mut State, identity: &Identity, request: &RequestKey, outcome: &Outcome) {
    if mutant!(ForgetRequests) {
        return;
    }
    state.request_ids.entry(identity.clone()).or_default().insert(RequestId(request.id));
    state.requests.put(Request {
        identity: identity.clone(),
        id: RequestId(request.id),
        body: Digest(request.body_sha256),
        outcome: outcome.clone(),
        at: state.wall(),
    });
}

/// Forgets requests that would be refused as too old anyway; more than an entry of so many commands can add.
pub(crate) fn expire(state: &mut State, commands: usize) {
    let after = if mutant!(ForgetSoon) { 0 } else { kept() + FORGET_LATER_MS };
    let old = |request: &&Request| age(state, request.id) > after;
    let old = state.requests.iter().take_while(old).take(commands * 2 + 1);
    let old: Vec<_> = old.map(|request| (request.id, request.identity.clone())).collect();
    for (id, identity) in old {
        if let Some(own) = state.request_ids.get_mut(&identity) {
            own.remove(&id);
            if own.is_empty() {
                state.request_ids.remove(&identity);
            }
        }
        state.requests.remove(&(id, identity));
    }
}

#[cfg(test)]
mod tests {
    use trimaran_model::time::Timestamp;

    use super::*;

    fn identity(number: usize) -> Identity {
        Identity::Agent(format!("a{number}").parse().expect("a name"))
    }

    fn key(number: u64) -> RequestKey {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        RequestKey { id, body_sha256: [1; 32] }
    }

    fn refused(state: &State, by: usize, number: u64, has_reserve: bool) -> Option<Refusal> {
        match earlier(state, &identity(by), &key(number), has_reserve) {
            Some(Outcome::Refused(refusal)) => Some(refusal),
            Some(_) | None => None,
        }
    }

    /// A state with so many requests, of senders with so many each.
    fn filled(requests: usize, each: usize) -> State {
        let mut state = State::default();
        for number in 0..requests {
            remember(&mut state, &identity(number / each), &key(number as u64), &Outcome::Nothing);
        }
        state
    }

    #[test]
    fn a_full_table_refuses_and_forgets_nothing_early() {
        let mut state = filled(REQUESTS_MAX - REQUESTS_RESERVED, 50_000);
        let new = REQUESTS_MAX as u64;
        assert_eq!(refused(&state, 9, new, false), Some(Refusal::RequestsFull));
        assert_eq!(refused(&state, 9, new, true), None, "what stops or undoes has a reserve");
        assert_eq!(refused(&state, 0, 7, false), None, "a known one is answered");
        for number in REQUESTS_MAX - REQUESTS_RESERVED..REQUESTS_MAX {
            remember(&mut state, &identity(9), &key(number as u64), &Outcome::Nothing);
        }
        assert_eq!(refused(&state, 9, new, true), Some(Refusal::RequestsFull), "the reserve has an end");
        expire(&mut state, 1);
        assert_eq!(state.requests.len(), REQUESTS_MAX);
        let later = Timestamp(REQUEST_KEPT.0 + 2 * FORGET_LATER_MS.unsigned_abs());
        state.set_cluster(|cluster| cluster.now = later);
        expire(&mut state, 1);
        assert_eq!(state.requests.len(), REQUESTS_MAX - 3, "an entry forgets more than it can add");
        assert_eq!(state.request_ids[&identity(0)].len(), 50_000 - 3);
    }

    #[test]
    fn one_identity_fills_its_own_share_and_no_other() {
        let share = REQUESTS_PER_IDENTITY_MAX - REQUESTS_PER_IDENTITY_RESERVED;
        let mut state = filled(share, share);
        let new = REQUESTS_MAX as u64;
        let retry_at = WallTime(kept() + FORGET_LATER_MS);
        assert_eq!(refused(&state, 0, new, false), Some(Refusal::OwnRequestsFull { retry_at }));
        assert_eq!(refused(&state, 0, new, true), None, "it can still cancel");
        assert_eq!(refused(&state, 1, new, false), None, "no one else is concerned");
        // As after a restart.
        state.request_ids.clear();
        index(&mut state);
        assert_eq!(refused(&state, 0, new, false), Some(Refusal::OwnRequestsFull { retry_at }));
    }
}
