//! The kept part of a phase as bytes.

use trimaran_model::assignment::Assignment;
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::agent_journal::FleetPhase;
use trimaran_wire::v1::common::reason_code;

use super::Phase;
use super::phase::Kept;

pub(crate) fn save(phase: &Phase) -> Vec<u8> {
    let Kept { abort, failures, fault } = &phase.kept;
    FleetPhase {
        abort: abort.map(|code| code.as_str().to_owned()),
        failures: failures.iter().map(Into::into).collect(),
        fault: fault.as_ref().map(Into::into),
    }
    .to_bytes()
}

pub(crate) fn load(order: &Assignment, bytes: &[u8]) -> Result<Phase, CodecError> {
    let FleetPhase { abort, failures, fault } = FleetPhase::from_bytes(bytes)?;
    let kept = Kept {
        abort: abort.as_deref().map(reason_code).transpose()?,
        failures: failures.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        fault: fault.map(TryInto::try_into).transpose()?,
    };
    Ok(Phase { kept, ..Phase::new(order.clone()) })
}
