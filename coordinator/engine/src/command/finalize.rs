//! `trimaran cluster finalize`: the feature level becomes the highest that a member supports, when all of them do. A member that
//! was removed counts no more. Nothing takes a level back: what it brings may stand in the log and the rows from then on.

use trimaran_model::feature_level;
use trimaran_model::id::CoordinatorName;

use super::convert::record;
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::cluster::Member;
use crate::state::request::Outcome;

pub(super) fn run(state: &mut State) -> Result<Outcome, Refusal> {
    let level = state.level();
    let members = state.members.iter().filter(|it| !it.removed);
    let next = feature_level::next(level, members.map(|it: &Member| (&it.name, it.levels)));
    let Some((level, lacking)) = next else { return Ok(Outcome::Finalized { level }) };
    if !lacking.is_empty() {
        let members: Vec<CoordinatorName> = lacking.into_iter().cloned().collect();
        return Err(Refusal::LevelNotSupported { level, members });
    }
    state.set_cluster(|cluster| cluster.level = level);
    Ok(Outcome::Finalized { level })
}

pub(super) fn audit(state: &State) -> Record {
    record("finalize", format!("feature level {}", state.level()))
}
