//! Every other row.

use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::command;
use trimaran_wire::v1::row;

use super::Frozen;
use super::convert::{frozen_enum, frozen_struct};
use crate::state::agent::{Agent, Runner};
use crate::state::assignment::{LiveAssignment, TargetEntry};
use crate::state::cluster::{Alarm, AlarmDetail, AlarmSubject, Cluster, Member};
use crate::state::installation::{EndedAssignment, Installation, Mixed};
use crate::state::pipeline::{Pipeline, Quarantine, ReleaseEntry, SettleEntry};
use crate::state::request::{Outcome, Request};
use crate::state::run::{Rollback, Run};
use crate::state::token::{Grant, Operator, Revoked, Token};

frozen_struct!(Cluster => row::Meta {
    epoch, incarnation, offset_ms, fence, assignment, sequence, attach, audit_seq, audit_hash
} { name: cluster, now: now_at });
frozen_struct!(Member => row::Member { raft_id, disk, name, address } { certificate: certificate_sha256 });
frozen_struct!(Alarm => row::Alarm { subject, code, detail } { since: since_ms });
frozen_enum!(AlarmSubject => row::AlarmSubject { Cluster, Member { name }, Run { run } });
frozen_enum!(AlarmDetail => row::AlarmDetail {
    CommandBug { revision },
    RunBug { run, revision },
    ClockJump,
    Reported { message },
});
frozen_struct!(TargetEntry => row::TargetRow { target });
frozen_struct!(Pipeline => row::Pipeline { name, source, runs });
frozen_struct!(Run => row::Run {
    id, sequence, kind, plan, artifacts, by, comment, cause, caused_by, status, reasons, rollback, canceled_by,
    revision
} { created: created_ms, finished: finished_ms });
frozen_struct!(Rollback => row::Rollback { cause, to });
frozen_struct!(Installation => row::Installation {
    id, environment, current, run, stable_releases, previous, bake_until, assignment, fence, ended, health, failure,
    desired, updated, down, mixed, committed
} { since: since_ms });
frozen_struct!(Mixed => row::Mixed { run, stage, release, hosts, cause });
frozen_struct!(EndedAssignment => row::Ended { agent, assignment, fence, applied });
frozen_struct!(ReleaseEntry => row::ReleaseRow { digest, release });
frozen_struct!(LiveAssignment => row::AssignmentRow { agent, order, cancel });
frozen_struct!(Agent => row::Agent {
    name, key, incarnation, superseded, attach, attached, address, lost, calls_until, handover_until
} { changed: changed_ms });
frozen_struct!(Runner => row::Runner { name, agent, labels, key } { seen: seen_ms });
frozen_struct!(Operator => row::Operator { name, role, key });
frozen_struct!(Token => row::Token { sha256, grant, used } { expires: expires_ms });
frozen_enum!(Grant => command::TokenGrant {
    Agent { name },
    Runner { name, agent, labels },
    Operator { name, role },
    Coordinator { name },
});
frozen_struct!(Revoked => row::Revoked { key } { at: at_ms });
frozen_struct!(Quarantine => row::Quarantine { pipeline, plan, run, cause } { at: at_ms });
frozen_struct!(SettleEntry => row::Settle { run });
frozen_struct!(Request => row::Request { identity, id, outcome } { body: body_sha256, at: at_ms });

/// What a repeated request is answered with; outcomes of commands without a request id are none.
impl Frozen for Outcome {
    type Wire = row::StoredOutcome;
    fn freeze(&self) -> row::StoredOutcome {
        use row::StoredOutcome as Stored;
        match self {
            Self::Run(run) => Stored::Run { run: run.freeze() },
            Self::Decided { run, stage, decision, by } => Stored::Decided {
                run: run.freeze(),
                stage: stage.freeze(),
                decision: decision.clone(),
                by: by.freeze(),
            },
            Self::Applied { targets, pipelines } => {
                Stored::Applied { targets: targets.clone(), pipelines: pipelines.clone() }
            }
            Self::Token { name, expires } => {
                Stored::Token { name: name.clone(), expires_ms: expires.freeze() }
            }
            Self::Refused(refusal) => Stored::Refused { refusal: refusal.freeze() },
            Self::Nothing | Self::Enrolled { .. } | Self::Attached { .. } => Stored::Nothing,
            Self::ReportApplied | Self::ResultSuperseded { .. } | Self::ReportUnknown => Stored::Nothing,
        }
    }

    fn thaw(wire: row::StoredOutcome) -> Result<Self, CodecError> {
        use row::StoredOutcome as Stored;
        Ok(match wire {
            Stored::Run { run } => Self::Run(Frozen::thaw(run)?),
            Stored::Decided { run, stage, decision, by } => Self::Decided {
                run: Frozen::thaw(run)?,
                stage: Frozen::thaw(stage)?,
                decision,
                by: Frozen::thaw(by)?,
            },
            Stored::Applied { targets, pipelines } => Self::Applied { targets, pipelines },
            Stored::Token { name, expires_ms } => Self::Token { name, expires: Frozen::thaw(expires_ms)? },
            Stored::Refused { refusal } => Self::Refused(Frozen::thaw(refusal)?),
            Stored::Nothing => Self::Nothing,
        })
    }
}
