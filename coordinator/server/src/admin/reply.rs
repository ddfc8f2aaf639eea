//! What requests of operators have in common: how answers are formed, and how names in requests are read.
//!
//! Not here: which request gets which answer.

use trimaran_engine::Outcome;
use trimaran_member::{Proposed, ReadAnswer, SIGN_MAX_AGE};
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::id::{InvalidName, RunId, StageName, StagePart};
use trimaran_process::clock;
use trimaran_query::text;
use trimaran_wire::document::Document;
use trimaran_wire::v1::common::{WireRun, WireStage};
use trimaran_wire::v1::operator::{OperatorReply, Refusal};

use crate::low_disk::{self, NoSpace};
use crate::server::Server;

/// A reply or a refusal.
pub(crate) type Answer = Result<OperatorReply, Refusal>;

/// Waits until views show everything that was answered before; a refusal when that can't be known now. `has_reserve` as
/// in `CommandBody::has_reserve`.
pub(crate) async fn wait_linearizable(server: &Server, has_reserve: bool) -> Result<u64, Refusal> {
    match server.node.read_revision(has_reserve).await {
        ReadAnswer::At(revision) => Ok(revision),
        ReadAnswer::NotLeader => Err(no_leader(server)),
        ReadAnswer::Busy(why) => Err(refusal(error_code::BUSY, why)),
    }
}

/// Revision and outcome of a change that the state accepted; otherwise why it was not.
pub(crate) fn accepted(server: &Server, proposed: Proposed) -> Result<(u64, Outcome), Refusal> {
    Err(match proposed {
        Proposed::Done { outcome: Outcome::Refused(why), .. } => refusal(why.code(), text::refusal(&why)),
        Proposed::Done { revision, outcome } => return Ok((revision, outcome)),
        Proposed::Busy(why) => refusal(error_code::BUSY, why),
        Proposed::NotLeader => no_leader(server),
        Proposed::Refused(why) => refusal(error_code::BUG, why),
        Proposed::NoSpace => {
            let NoSpace { message, help } = low_disk::no_space(server);
            Refusal { help: Some(help), ..refusal(error_code::DISK_FULL, message) }
        }
        Proposed::Indeterminate => refusal(error_code::INDETERMINATE, "leadership was lost meanwhile"),
    })
}

/// Why there is no leader: an election is in progress, or too few voters are there.
pub(crate) fn no_leader(server: &Server) -> Refusal {
    let status = server.node.member_status().borrow().clone();
    let (voters, present) = (status.voters.len(), status.voters_present(clock::boot_time(), SIGN_MAX_AGE));
    if present * 2 > voters {
        return refusal(error_code::NO_LEADER, "there is no leader now");
    }
    refusal(error_code::NO_QUORUM, format!("no quorum: {present} of {voters}"))
}

/// A refusal with the catalogue's cause and help.
pub(crate) fn refusal(code: ErrorCode, message: impl Into<String>) -> Refusal {
    Refusal { code: code.0, message: message.into(), cause: None, help: None, diagnostics: Vec::new() }
}

/// A document at a revision.
pub(crate) fn document<D: Document>(revision: u64, document: &D) -> OperatorReply {
    OperatorReply::Document { revision, json: document.to_json() }
}

/// Reads `web#12`.
pub(crate) fn parse_run(text: &str) -> Result<WireRun, Refusal> {
    run_id(text).map(|id| WireRun::from(&id))
}

/// Reads `web#12` as the state names runs.
pub(crate) fn run_id(text: &str) -> Result<RunId, Refusal> {
    text.parse().map_err(|error: InvalidName| Refusal {
        cause: Some(error.to_string()),
        ..refusal(error_code::USAGE, format!("`{text}` is not a run"))
    })
}

/// Reads `prod/lab-prod`.
pub(crate) fn parse_stage(text: &str) -> Result<WireStage, Refusal> {
    match text.parse::<StageName>() {
        Ok(stage) => {
            let target = match &stage.part {
                StagePart::Approve => None,
                StagePart::Deploy(target) => Some(target.to_string()),
            };
            Ok(WireStage { environment: stage.environment.to_string(), target })
        }
        Err(error) => Err(Refusal {
            cause: Some(error.to_string()),
            ..refusal(error_code::USAGE, format!("`{text}` is not a stage"))
        }),
    }
}
