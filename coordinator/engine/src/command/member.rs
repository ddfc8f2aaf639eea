//! A coordinator says who it is: at every start and when it changes.

use trimaran_model::feature_level::Levels;
use trimaran_model::id::Digest;

use super::convert::named;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::cluster::{ALARM_BUG, AlarmSubject, Member};
use crate::state::request::Outcome;

pub(super) struct About<'a> {
    pub(super) address: &'a str,
    /// Of its certificate, and the one with which it signs.
    pub(super) keys: ([u8; 32], [u8; 32]),
    pub(super) levels: (u16, u16),
}

pub(super) fn run(
    state: &mut State,
    name: &str,
    (raft_id, disk): (u64, [u8; 16]),
    of: &About<'_>,
) -> Result<Outcome, Refusal> {
    if state.members.get(&raft_id).is_some_and(|known| known.removed) {
        // It was on its way when the member was removed.
        return Ok(Outcome::Nothing);
    }
    // A process that starts again may be another build, so what defects it met is of the past.
    state.clear_alarm(AlarmSubject::Cluster, ALARM_BUG);
    let (name, address) = (named(name)?, of.address.to_owned());
    let (certificate, issuer) = (Digest(of.keys.0), Digest(of.keys.1));
    let (min, max) = of.levels;
    // What rows hold is a range, whoever says it.
    let levels = Levels { min, max: max.max(min) };
    state.members.put(Member { raft_id, disk, name, address, certificate, issuer, removed: false, levels });
    Ok(Outcome::Nothing)
}
