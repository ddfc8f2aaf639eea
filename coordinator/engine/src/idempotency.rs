//! The table that answers a repeated request with the outcome of the first.

use trimaran_model::id::{Digest, Identity, RequestId};
use trimaran_model::limits::{REQUEST_KEPT, REQUESTS_MAX};
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

/// The answer without doing anything: of a repetition, or the refusal of the id itself.
pub(crate) fn earlier(state: &State, identity: &Identity, request: &RequestKey) -> Option<Outcome> {
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
    if state.requests.len() >= REQUESTS_MAX {
        return refused(Refusal::RequestsFull);
    }
    None
}

/// Remembers an outcome.
pub(crate) fn remember(state: &mut State, identity: &Identity, request: &RequestKey, outcome: &Outcome) {
    if mutant!(ForgetRequests) {
        return;
    }
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
    let old = |request: &&Request| age(state, request.id) > kept() + FORGET_LATER_MS;
    let old = state.requests.iter().take_while(old).take(commands * 2 + 1);
    let old: Vec<_> = old.map(|request| (request.id, request.identity.clone())).collect();
    for key in old {
        state.requests.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use trimaran_model::time::Timestamp;

    use super::*;

    #[test]
    fn a_full_table_refuses_and_forgets_nothing_early() {
        let mut state = State::default();
        let id = |number: u64| {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&number.to_be_bytes());
            id
        };
        for number in 0..REQUESTS_MAX as u64 {
            let request = RequestKey { id: id(number), body_sha256: [1; 32] };
            remember(&mut state, &Identity::System, &request, &Outcome::Nothing);
        }
        let refused = |state: &State, number: u64| {
            let request = RequestKey { id: id(number), body_sha256: [1; 32] };
            match earlier(state, &Identity::System, &request) {
                Some(Outcome::Refused(refusal)) => Some(refusal),
                _ => None,
            }
        };
        let new = REQUESTS_MAX as u64;
        assert_eq!(refused(&state, new), Some(Refusal::RequestsFull));
        assert_eq!(refused(&state, 7), None, "a known one is answered");
        expire(&mut state, 1);
        assert_eq!(state.requests.len(), REQUESTS_MAX);
        let later = Timestamp(REQUEST_KEPT.0 + 2 * FORGET_LATER_MS.unsigned_abs());
        state.set_cluster(|cluster| cluster.now = later);
        expire(&mut state, 1);
        assert_eq!(state.requests.len(), REQUESTS_MAX - 3, "an entry forgets more than it can add");
    }
}
