//! Answers of the leader as they travel between coordinators.

use trimaran_engine::Outcome;
use trimaran_engine::rows::Frozen as _;
use trimaran_model::id::Fence;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::peer::{WireOutcomeOfCommand, WireProposed, WireReadAnswer};

use crate::io::{Proposed, ReadAnswer};

pub(crate) fn proposed_to_wire(answer: Proposed) -> WireProposed {
    match answer {
        Proposed::Done { revision, outcome } => {
            WireProposed::Done { revision, outcome: outcome_to_wire(&outcome) }
        }
        Proposed::NotLeader => WireProposed::NotLeader,
        Proposed::Busy(why) => WireProposed::Busy { why },
        Proposed::Refused(why) => WireProposed::Refused { why },
        Proposed::NoSpace => WireProposed::NoSpace,
        Proposed::Indeterminate => WireProposed::Indeterminate,
    }
}

/// An answer that this build can't read is one whose outcome is not known.
pub(crate) fn proposed_from_wire(answer: WireProposed) -> Proposed {
    match answer {
        WireProposed::Done { revision, outcome } => match outcome_from_wire(outcome) {
            Ok(outcome) => Proposed::Done { revision, outcome },
            Err(_) => Proposed::Indeterminate,
        },
        WireProposed::NotLeader => Proposed::NotLeader,
        WireProposed::Busy { why } => Proposed::Busy(why),
        WireProposed::Refused { why } => Proposed::Refused(why),
        WireProposed::NoSpace => Proposed::NoSpace,
        WireProposed::Indeterminate => Proposed::Indeterminate,
    }
}

pub(crate) fn read_to_wire(answer: ReadAnswer) -> WireReadAnswer {
    match answer {
        ReadAnswer::At(revision) => WireReadAnswer::At { revision },
        ReadAnswer::NotLeader => WireReadAnswer::NotLeader,
        ReadAnswer::Busy(why) => WireReadAnswer::Busy { why },
    }
}

pub(crate) fn read_from_wire(answer: WireReadAnswer) -> ReadAnswer {
    match answer {
        WireReadAnswer::At { revision } => ReadAnswer::At(revision),
        WireReadAnswer::NotLeader => ReadAnswer::NotLeader,
        WireReadAnswer::Busy { why } => ReadAnswer::Busy(why),
    }
}

fn outcome_to_wire(outcome: &Outcome) -> WireOutcomeOfCommand {
    match outcome {
        Outcome::Enrolled { identity } => {
            WireOutcomeOfCommand::Enrolled { identity: WireIdentity::from(identity) }
        }
        Outcome::Attached { attach } => WireOutcomeOfCommand::Attached { attach: *attach },
        Outcome::ReportApplied => WireOutcomeOfCommand::ReportApplied,
        Outcome::ResultSuperseded { by } => WireOutcomeOfCommand::ResultSuperseded { by: by.0 },
        Outcome::ReportUnknown => WireOutcomeOfCommand::ReportUnknown,
        Outcome::Stored { parts } => WireOutcomeOfCommand::ContentStored { parts: *parts },
        Outcome::Nothing
        | Outcome::Run(_)
        | Outcome::Decided { .. }
        | Outcome::Applied { .. }
        | Outcome::Token { .. }
        | Outcome::Runners { .. }
        | Outcome::Resumed { .. }
        | Outcome::Finalized { .. }
        | Outcome::Refused(_) => WireOutcomeOfCommand::Stored(outcome.freeze()),
    }
}

fn outcome_from_wire(wire: WireOutcomeOfCommand) -> Result<Outcome, CodecError> {
    Ok(match wire {
        WireOutcomeOfCommand::Stored(stored) => Outcome::thaw(stored)?,
        WireOutcomeOfCommand::Enrolled { identity } => Outcome::Enrolled { identity: identity.try_into()? },
        WireOutcomeOfCommand::Attached { attach } => Outcome::Attached { attach },
        WireOutcomeOfCommand::ReportApplied => Outcome::ReportApplied,
        WireOutcomeOfCommand::ResultSuperseded { by } => Outcome::ResultSuperseded { by: Fence(by) },
        WireOutcomeOfCommand::ReportUnknown => Outcome::ReportUnknown,
        WireOutcomeOfCommand::ContentStored { parts } => Outcome::Stored { parts },
    })
}

#[cfg(test)]
mod tests {
    use trimaran_engine::Refusal;
    use trimaran_model::id::Identity;
    use trimaran_model::time::WallTime;

    use super::*;

    #[test]
    fn every_answer_arrives_as_it_was_given() {
        let outcomes = [
            Outcome::Nothing,
            Outcome::Run("web#1".parse().expect("a run")),
            Outcome::Applied { targets: vec!["t".to_owned()], pipelines: Vec::new() },
            Outcome::Token { name: "lab".to_owned(), expires: WallTime(5) },
            Outcome::Runners { names: vec!["r1".to_owned()], change: "removed".to_owned() },
            Outcome::Enrolled { identity: Identity::Agent("lab".parse().expect("a name")) },
            Outcome::Attached { attach: 7 },
            Outcome::ReportApplied,
            Outcome::ResultSuperseded { by: Fence(9) },
            Outcome::ReportUnknown,
            Outcome::Stored { parts: 4 },
            Outcome::Refused(Refusal::TokenUnknown),
        ];
        let done = outcomes.map(|outcome| Proposed::Done { revision: 3, outcome });
        let others = [
            Proposed::NotLeader,
            Proposed::Busy("b".to_owned()),
            Proposed::Refused("r".to_owned()),
            Proposed::NoSpace,
            Proposed::Indeterminate,
        ];
        for answer in done.into_iter().chain(others) {
            assert_eq!(proposed_from_wire(proposed_to_wire(answer.clone())), answer);
        }
        for answer in [ReadAnswer::At(1), ReadAnswer::NotLeader, ReadAnswer::Busy("b".to_owned())] {
            assert_eq!(read_from_wire(read_to_wire(answer.clone())), answer);
        }
    }
}
