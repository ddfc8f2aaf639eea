//! A member sets an alarm of its own, or clears it without a message.

use super::convert::named;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::cluster::{AlarmDetail, AlarmSubject};
use crate::state::request::Outcome;

pub(super) fn run(
    state: &mut State,
    member: &str,
    code: &str,
    message: Option<&str>,
) -> Result<Outcome, Refusal> {
    let subject = AlarmSubject::Member { name: named(member)? };
    match message.map(str::to_owned) {
        Some(message) => state.raise_alarm(subject, code, AlarmDetail::Reported { message }),
        None => state.clear_alarm(subject, code),
    }
    Ok(Outcome::Nothing)
}
