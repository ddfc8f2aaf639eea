//! What commands share: their values as types of the state, and the form of their audit records.

use std::str::FromStr;

use trimaran_model::reason::ReasonCode;
use trimaran_wire::v1::common::WireRun;

use crate::audit::Record;
use crate::refusal::Refusal;

/// Converts a value of a command to a type of the state.
pub(super) fn checked<T, W: TryInto<T>>(wire: W) -> Result<T, Refusal> {
    wire.try_into().map_err(|_| Refusal::Malformed)
}

/// Reads a name of a command.
pub(super) fn named<T: FromStr>(text: &str) -> Result<T, Refusal> {
    text.parse().map_err(|_| Refusal::Malformed)
}

/// Reads a reason's code.
pub(super) fn reason(text: &str) -> Result<ReasonCode, Refusal> {
    ReasonCode::from_name(text).ok_or(Refusal::Malformed)
}

/// A record of one verb.
pub(super) fn record(verb: &'static str, object: impl Into<String>) -> Record {
    Record { verb, object: object.into() }
}

/// What a record is about, with the reason that its author gave.
pub(super) fn with_reason(object: &str, reason: &str) -> String {
    match (object.trim_end(), reason) {
        (object, "") => object.to_owned(),
        (object, reason) => format!("{object}: {reason}"),
    }
}

/// `web#12`, as a command names it.
pub(super) fn run_text(run: &WireRun) -> String {
    format!("{}#{}", run.pipeline, run.number)
}
