//! Every other row.

use trimaran_model::release::Content;
use trimaran_wire::codec::CodecError;
use trimaran_wire::v1::agent;
use trimaran_wire::v1::command;
use trimaran_wire::v1::{release_platforms, row};

use super::Frozen;
use super::convert::{frozen_enum, frozen_struct};
use crate::state::agent::{Agent, Runner, Superseded};
use crate::state::assignment::{LiveAssignment, TargetEntry};
use crate::state::cluster::{Alarm, AlarmDetail, AlarmSubject, Cluster, Member};
use crate::state::installation::{EndedAssignment, HostFinding, Installation, Mixed};
use crate::state::pipeline::{ContentEntry, Pipeline, Quarantine, ReleaseEntry, SettleEntry};
use crate::state::request::{Outcome, Request};
use crate::state::run::{Rollback, Run};
use crate::state::token::{Audience, Grant, Operator, Revoked, RevokedId, Token};
use crate::state::undecided::{Undecided, UndecidedSubject};

frozen_struct!(Cluster => row::Meta {
    epoch, incarnation, offset_ms, fence, assignment, sequence, attach, revocation, audit_seq, audit_hash, level
} { name: cluster, now: now_at });
frozen_struct!(Member => row::Member {
    raft_id, disk, name, address, removed, levels
} { certificate: certificate_sha256, issuer: issuer_sha256 });
frozen_struct!(Alarm => row::Alarm { subject, code, detail } { since: since_ms });
frozen_enum!(AlarmSubject => row::AlarmSubject { Cluster, Member { name }, Run { run }, Agent { name } });
frozen_enum!(AlarmDetail => row::AlarmDetail {
    CommandBug { revision },
    RunBug { run, revision },
    ClockJump,
    OtherIncarnation { epoch, incarnation },
    Reported { message },
    Restored { observes, installations, runs },
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
    desired, updated, down, members, lost, diverged, crashes, crash, findings, was_healthy, mixed, committed
} { since: since_ms, blind_since: blind_since_ms });
frozen_struct!(HostFinding => agent::HostFinding { host, code, message } { since: since_ms });
frozen_struct!(Mixed => row::Mixed { run, stage, release, hosts, cause });
frozen_struct!(EndedAssignment => row::Ended { agent, assignment, fence, applied });
frozen_struct!(ReleaseEntry => row::ReleaseRow { digest, release });
frozen_struct!(Content => release_platforms::WireContent { bytes } { digest: sha256 });
frozen_struct!(ContentEntry => row::ContentRow { content, parts } { begun: begun_at });
frozen_struct!(LiveAssignment => row::AssignmentRow { agent, order, cancel });
frozen_struct!(Superseded => row::Superseded { incarnation } { at: at_ms });
frozen_struct!(Agent => row::Agent {
    name, key, incarnation, superseded, attach, attached, address, platforms, lost, calls_until, handover_until
} { changed: changed_ms });
frozen_struct!(Runner => row::Runner { name, agent, labels, key, revoked, facts, cordoned, drained } {
    seen: seen_ms, away: away_ms
});
frozen_struct!(Operator => row::Operator { name, role, key });
frozen_struct!(Token => row::Token { sha256, grant } { expires: expires_ms });
impl Frozen for Grant {
    type Wire = command::TokenGrant;
    fn freeze(&self) -> command::TokenGrant {
        use command::TokenGrant as Wire;
        match self {
            Self::Agent { name } => Wire::Agent { name: name.freeze() },
            Self::Runner { name, agent, labels } => {
                Wire::Runner { name: name.freeze(), agent: agent.freeze(), labels: labels.clone() }
            }
            Self::Operator { name, role } => Wire::Operator { name: name.freeze(), role: role.freeze() },
            Self::Coordinator { name } => Wire::Coordinator { name: name.freeze() },
            Self::Runners { group, agent, labels, uses, ttl } => Wire::Runners {
                group: group.clone(),
                agent: agent.freeze(),
                labels: labels.clone(),
                uses: *uses,
                ttl_ms: ttl.freeze(),
            },
        }
    }
    fn thaw(wire: command::TokenGrant) -> Result<Self, CodecError> {
        use command::TokenGrant as Wire;
        Ok(match wire {
            Wire::Agent { name } => Self::Agent { name: Frozen::thaw(name)? },
            Wire::Runner { name, agent, labels } => {
                Self::Runner { name: Frozen::thaw(name)?, agent: Frozen::thaw(agent)?, labels }
            }
            Wire::Operator { name, role } => {
                Self::Operator { name: Frozen::thaw(name)?, role: Frozen::thaw(role)? }
            }
            Wire::Coordinator { name } => Self::Coordinator { name: Frozen::thaw(name)? },
            Wire::Runners { group, agent, labels, uses, ttl_ms } => {
                let (agent, ttl) = (Frozen::thaw(agent)?, Frozen::thaw(ttl_ms)?);
                Self::Runners { group, agent, labels, uses, ttl }
            }
        })
    }
}
frozen_struct!(RevokedId => row::RevokedId { number } { until: until_ms });
frozen_enum!(Audience => row::Audience { Coordinators, Agent { name }, Agents, Issuer, Runners { agent } });
frozen_struct!(Quarantine => row::Quarantine { pipeline, plan, run, cause } { at: at_ms });
frozen_struct!(SettleEntry => row::Settle { run });
frozen_struct!(Undecided => row::Undecided { subject } { since: since_ms });
frozen_enum!(UndecidedSubject => row::UndecidedSubject { Cluster, Installation { installation }, Run { run } });
frozen_struct!(Request => row::Request { identity, id, outcome } { body: body_sha256, at: at_ms });

impl Frozen for Revoked {
    type Wire = row::Revoked;
    fn freeze(&self) -> row::Revoked {
        let row::RevokedId { until_ms, number } = self.id.freeze();
        row::Revoked { until_ms, number, key: self.key.freeze(), audience: self.audience.freeze() }
    }
    fn thaw(wire: row::Revoked) -> Result<Self, CodecError> {
        let row::Revoked { until_ms, number, key, audience } = wire;
        let id = Frozen::thaw(row::RevokedId { until_ms, number })?;
        Ok(Self { id, key: Frozen::thaw(key)?, audience: Frozen::thaw(audience)? })
    }
}

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
            Self::Runners { names, change } => {
                Stored::Runners { names: names.clone(), change: change.clone() }
            }
            Self::Resumed { epoch, incarnation } => {
                Stored::Resumed { epoch: epoch.freeze(), incarnation: *incarnation }
            }
            Self::Finalized { level } => Stored::Finalized { level: *level },
            Self::Refused(refusal) => Stored::Refused { refusal: refusal.freeze() },
            // A part may be sent again at any time: it has no request to remember.
            Self::Stored { .. } => Stored::Nothing,
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
            Stored::Runners { names, change } => Self::Runners { names, change },
            Stored::Resumed { epoch, incarnation } => {
                Self::Resumed { epoch: Frozen::thaw(epoch)?, incarnation }
            }
            Stored::Finalized { level } => Self::Finalized { level },
            Stored::Refused { refusal } => Self::Refused(Frozen::thaw(refusal)?),
            Stored::Nothing => Self::Nothing,
        })
    }
}
