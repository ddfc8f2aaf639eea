//! The first command of a cluster.

use trimaran_model::id::{Digest, Epoch, OperatorRole};
use trimaran_model::limits::TOKEN_TTL;

use super::convert::{named, record};
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::request::Outcome;
use crate::state::token::{Grant, Token};

pub(super) struct First<'a> {
    pub(super) cluster: &'a str,
    pub(super) wall_ms: i64,
    pub(super) incarnation: u64,
    pub(super) admin: &'a str,
}

pub(super) fn run(state: &mut State, first: &First<'_>, admin_token: [u8; 32]) -> Result<Outcome, Refusal> {
    if !state.cluster().name.is_empty() {
        return Err(Refusal::ClusterExists);
    }
    let now = i64::try_from(state.now().0).unwrap_or(0);
    state.set_cluster(|cluster| {
        cluster.name = first.cluster.to_owned();
        cluster.epoch = Epoch(1);
        cluster.incarnation = first.incarnation;
        cluster.offset_ms = first.wall_ms - now;
    });
    let grant = Grant::Operator { name: named(first.admin)?, role: OperatorRole::Admin };
    let expires = state.wall() + TOKEN_TTL;
    state.tokens.put(Token { sha256: Digest(admin_token), grant, expires });
    Ok(Outcome::Nothing)
}

pub(super) fn audit(cluster: &str) -> Record {
    record("bootstrap", cluster)
}
