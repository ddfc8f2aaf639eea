//! The kept part of a phase as bytes.

use trimaran_model::assignment::Assignment;
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::agent_journal::FleetPhase;
use trimaran_wire::v1::common::{name, reason_code};

use super::Phase;
use super::phase::Kept;

pub(crate) fn save(phase: &Phase) -> Vec<u8> {
    let Kept { abort, ordered, failures, fault } = &phase.kept;
    FleetPhase {
        abort: abort.map(|code| code.as_str().to_owned()),
        ordered: ordered.iter().map(ToString::to_string).collect(),
        failures: failures.iter().map(Into::into).collect(),
        fault: fault.as_ref().map(Into::into),
    }
    .to_bytes()
}

pub(crate) fn load(order: &Assignment, bytes: &[u8]) -> Result<Phase, CodecError> {
    let FleetPhase { abort, ordered, failures, fault } = FleetPhase::from_bytes(bytes)?;
    let kept = Kept {
        abort: abort.as_deref().map(reason_code).transpose()?,
        ordered: ordered.iter().map(|host| name(host)).collect::<Result<_, _>>()?,
        failures: failures.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
        fault: fault.map(TryInto::try_into).transpose()?,
    };
    Ok(Phase { kept, ..Phase::new(order.clone()) })
}
