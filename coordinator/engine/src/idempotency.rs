//! Outcomes, and the table that answers a repeated request with the outcome of the first.

use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::id::{Identity, RequestId};
use trimaran_model::limits::{REQUEST_KEPT, REQUESTS_MAX};
use trimaran_wire::v1::command::RequestKey;
use trimaran_wire::v1::common::{WireIdentity, WireRun, WireStage};
use trimaran_wire::v1::row::{self, StoredOutcome};

use crate::state::{State, request_key};

/// Ids are forgotten later than they are refused, because wall time may be set back a little.
const FORGET_LATER_MS: i64 = 3_600_000;

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Nothing,
    Run(WireRun),
    Decided {
        run: WireRun,
        stage: Option<WireStage>,
        decision: String,
        by: String,
    },
    Applied {
        targets: Vec<String>,
        pipelines: Vec<String>,
    },
    Token {
        name: String,
        expires_ms: i64,
    },
    Enrolled {
        identity: Identity,
    },
    /// The agent is attached; earlier lives are superseded.
    Attached,
    /// A result was taken, now or before.
    ResultTaken,
    ResultSuperseded {
        by: u64,
    },
    ResultUnknown,
    Rejected(Rejection),
}

/// A refusal: data, not an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub code: ErrorCode,
    pub message: String,
}

/// The way to refuse inside of commands.
pub(crate) fn reject<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection { code, message: message.into() })
}

impl Outcome {
    fn stored(&self) -> StoredOutcome {
        match self.clone() {
            Self::Run(run) => StoredOutcome::Run(run),
            Self::Decided { run, stage, decision, by } => StoredOutcome::Decided { run, stage, decision, by },
            Self::Applied { targets, pipelines } => StoredOutcome::Applied { targets, pipelines },
            Self::Token { name, expires_ms } => StoredOutcome::Token { name, expires_ms },
            Self::Rejected(Rejection { code, message }) => StoredOutcome::Rejected { code: code.0, message },
            Self::Nothing | Self::Enrolled { .. } | Self::Attached => StoredOutcome::Nothing,
            Self::ResultTaken | Self::ResultSuperseded { .. } | Self::ResultUnknown => StoredOutcome::Nothing,
        }
    }

    fn from_stored(stored: StoredOutcome) -> Self {
        match stored {
            StoredOutcome::Run(run) => Self::Run(run),
            StoredOutcome::Decided { run, stage, decision, by } => Self::Decided { run, stage, decision, by },
            StoredOutcome::Applied { targets, pipelines } => Self::Applied { targets, pipelines },
            StoredOutcome::Token { name, expires_ms } => Self::Token { name, expires_ms },
            StoredOutcome::Rejected { code, message } => {
                Self::Rejected(Rejection { code: ErrorCode(code), message })
            }
            StoredOutcome::Nothing => Self::Nothing,
        }
    }
}

/// When the sender made an id, and the wall time, both in milliseconds.
fn age(state: &State, id: [u8; 16]) -> i64 {
    let made = i64::try_from(RequestId(id).made_at_ms()).unwrap_or(i64::MAX);
    state.wall().0.saturating_sub(made)
}

/// Milliseconds for which an id is remembered, counted from when it was made.
fn kept() -> i64 {
    i64::try_from(REQUEST_KEPT.0).unwrap_or(i64::MAX)
}

/// The outcome that must be given without doing anything: a repetition, or a refusal of the id itself.
pub(crate) fn earlier(state: &State, identity: &WireIdentity, request: &RequestKey) -> Option<Outcome> {
    let refused = |code: ErrorCode, message: &str| {
        Some(Outcome::Rejected(Rejection { code, message: message.to_owned() }))
    };
    if let Some(known) = state.requests.get(&request_key(identity, request.id)) {
        if known.body_sha256 != request.body_sha256 {
            return refused(error_code::REQUEST_ID_REUSED, "this request id was used with another body");
        }
        return Some(Outcome::from_stored(known.outcome.clone()));
    }
    let age = age(state, request.id);
    if age > kept() {
        return refused(error_code::REQUEST_EXPIRED, "this request id was made more than 24 hours ago");
    }
    if age < -kept() {
        return refused(
            error_code::REQUEST_FUTURE,
            "this request id was made more than 24 hours after the cluster's time",
        );
    }
    if state.requests.len() >= REQUESTS_MAX {
        return refused(error_code::BUSY, "the table of requests is full");
    }
    None
}

/// Remembers an outcome.
pub(crate) fn remember(state: &mut State, identity: &WireIdentity, request: &RequestKey, outcome: &Outcome) {
    if mutant!(ForgetRequests) {
        return;
    }
    let at_ms = state.wall().0;
    state.requests.put(row::Request {
        identity: identity.clone(),
        id: request.id,
        body_sha256: request.body_sha256,
        outcome: outcome.stored(),
        at_ms,
    });
}

/// Forgets requests that would be refused as too old anyway; more than an entry of so many commands can add.
pub(crate) fn expire(state: &mut State, commands: usize) {
    let old = |request: &&row::Request| age(state, request.id) > kept() + FORGET_LATER_MS;
    let old: Vec<_> = state
        .requests
        .iter()
        .take_while(old)
        .take(commands * 2 + 1)
        .map(|request| request_key(&request.identity, request.id))
        .collect();
    for key in old {
        state.requests.remove(&key);
    }
}

#[cfg(test)]
mod tests {
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
            remember(&mut state, &WireIdentity::System, &request, &Outcome::Nothing);
        }
        let refused = |state: &State, number: u64| {
            let request = RequestKey { id: id(number), body_sha256: [1; 32] };
            match earlier(state, &WireIdentity::System, &request) {
                Some(Outcome::Rejected(rejection)) => Some(rejection.code),
                _ => None,
            }
        };
        let new = REQUESTS_MAX as u64;
        assert_eq!(refused(&state, new), Some(error_code::BUSY));
        assert_eq!(refused(&state, 7), None, "a known one is answered");
        expire(&mut state, 1);
        assert_eq!(state.requests.len(), REQUESTS_MAX);
        state.set_meta(|meta| meta.now_at = REQUEST_KEPT.0 + 2 * FORGET_LATER_MS.unsigned_abs());
        expire(&mut state, 1);
        assert_eq!(state.requests.len(), REQUESTS_MAX - 3, "an entry forgets more than it can add");
    }
}
