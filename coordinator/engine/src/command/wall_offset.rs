//! Wall time moves; a jump alarms until the clocks agree again.

use super::convert::record;
use crate::audit::Record;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::cluster::{ALARM_CLOCK_JUMP, AlarmDetail, AlarmSubject};
use crate::state::request::Outcome;

pub(super) fn run(state: &mut State, offset_ms: i64, jump: bool) -> Result<Outcome, Refusal> {
    state.set_cluster(|cluster| cluster.offset_ms = offset_ms);
    if jump {
        state.raise_alarm(AlarmSubject::Cluster, ALARM_CLOCK_JUMP, AlarmDetail::ClockJump);
    } else {
        state.clear_alarm(AlarmSubject::Cluster, ALARM_CLOCK_JUMP);
    }
    // Reasons name moments of wall time.
    state.wake_all();
    Ok(Outcome::Nothing)
}

pub(super) fn audit(offset_ms: i64) -> Record {
    record("clock_jump", format!("offset {offset_ms} ms"))
}
