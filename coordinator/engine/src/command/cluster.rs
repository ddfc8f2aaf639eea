//! The cluster itself: its first command, members, time and alarms.

use trimaran_model::error_code;
use trimaran_model::limits::TOKEN_TTL;
use trimaran_wire::v1::command::TokenGrant;
use trimaran_wire::v1::row;

use crate::alarm;
use crate::idempotency::{Outcome, Rejection, reject};
use crate::state::State;

pub(super) fn bootstrap(
    state: &mut State,
    cluster: &str,
    wall_ms: i64,
    admin_token: [u8; 32],
    admin: &str,
) -> Result<Outcome, Rejection> {
    if !state.meta().cluster.is_empty() {
        return reject(error_code::BUG, "the cluster exists already");
    }
    let now = i64::try_from(state.now().0).unwrap_or(0);
    state.set_meta(|meta| {
        meta.cluster = cluster.to_owned();
        meta.epoch = 1;
        meta.offset_ms = wall_ms - now;
    });
    let grant = TokenGrant::Operator { name: admin.to_owned(), role: "admin".to_owned() };
    let expires_ms = (state.wall() + TOKEN_TTL).0;
    state.tokens.put(row::Token { sha256: admin_token, grant, expires_ms, used: false });
    Ok(Outcome::Nothing)
}

pub(super) fn member(
    state: &mut State,
    name: &str,
    raft_id: u64,
    address: &str,
    certificate_sha256: [u8; 32],
) -> Result<Outcome, Rejection> {
    // A process that starts again may be another build, so what defects it met is of the past.
    state.clear_alarm(alarm::CLUSTER, alarm::BUG);
    let (name, address) = (name.to_owned(), address.to_owned());
    state.members.put(row::Member { name, raft_id, address, certificate_sha256 });
    Ok(Outcome::Nothing)
}

/// Wall time moves; a jump alarms until the clocks agree again.
pub(super) fn wall_offset(state: &mut State, offset_ms: i64, jump: bool) -> Result<Outcome, Rejection> {
    state.set_meta(|meta| meta.offset_ms = offset_ms);
    if jump {
        let message =
            "the coordinator's wall clock jumped; cluster time follows it by at most one second a minute";
        state.raise_alarm(alarm::CLUSTER, alarm::CLOCK_JUMP, message);
    } else {
        state.clear_alarm(alarm::CLUSTER, alarm::CLOCK_JUMP);
    }
    // Reasons name moments of wall time.
    state.wake_where(|_| true);
    Ok(Outcome::Nothing)
}

/// Sets an alarm, or clears it without a message.
pub(super) fn alarm(
    state: &mut State,
    member: &str,
    code: &str,
    message: Option<&str>,
) -> Result<Outcome, Rejection> {
    match message {
        Some(message) => state.raise_alarm(member, code, message),
        None => state.clear_alarm(member, code),
    }
    Ok(Outcome::Nothing)
}
