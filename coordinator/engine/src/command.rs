//! Commands: one file each. A command validates against the state, changes it, and queues the runs it concerns; what
//! changes something for people leaves an audit record.

mod agent_lost;
mod agent_report;
mod alarm;
mod apply;
mod approve;
mod attach;
mod back_up;
mod bootstrap;
mod cancel;
mod change_member;
mod commit;
mod convert;
mod create_token;
mod decide;
mod detach;
mod finalize;
mod find;
mod member;
mod put_content;
mod recover;
mod refusals;
mod restore;
mod result;
mod resume;
mod resume_cluster;
mod rollback;
mod runners;
mod runners_seen;
mod start_run;
mod use_token;
mod verdict;
mod wall_offset;

use trimaran_model::id::{AgentName, Epoch, Identity};
use trimaran_model::time::WallTime;
use trimaran_wire::v1::command::CommandBody as Body;

use crate::audit;
use crate::refusal::Refusal;
use crate::state::State;
use crate::state::request::Outcome;

/// Performs one command.
pub(crate) fn run(state: &mut State, identity: &Identity, body: &Body) -> Result<Outcome, Refusal> {
    refuse(state, body)?;
    match body {
        Body::Bootstrap { cluster, wall_ms, incarnation, admin_token_sha256, admin } => {
            let first = bootstrap::First { cluster, wall_ms: *wall_ms, incarnation: *incarnation, admin };
            bootstrap::run(state, &first, *admin_token_sha256)
        }
        Body::Member { name, raft_id, disk, address, certificate_sha256, issuer_sha256, levels } => {
            let keys = (*certificate_sha256, *issuer_sha256);
            let of = member::About { address, keys, levels: *levels };
            member::run(state, name, (*raft_id, *disk), &of)
        }
        Body::Advance | Body::Settle | Body::Refusals { .. } => Ok(Outcome::Nothing),
        Body::WallOffset { offset_ms, jump } => wall_offset::run(state, *offset_ms, *jump),
        Body::Alarm { member, code, message } => alarm::run(state, member, code, message.as_deref()),
        Body::Apply { pipelines, targets } => apply::run(state, pipelines, targets),
        Body::PutContent { content, part, bytes } => put_content::run(state, *content, *part, bytes),
        Body::StartRun { source, plan, overrides, reason } => start_run::run(
            state,
            identity,
            &start_run::Start { source: source.as_ref(), plan, overrides, reason },
        ),
        Body::Approve { run, stage, option, plan_digest, comment } => {
            let answer = approve::Answer { option: option.as_deref(), plan_digest: *plan_digest, comment };
            approve::run(state, identity, run, stage.as_ref(), &answer)
        }
        Body::Cancel { run } => cancel::run(state, identity, run),
        Body::Resume { run, stage } => resume::run(state, identity, run, stage.as_ref()),
        Body::Rollback { pipeline, environment, to, from, restore_from, reason, overrides } => {
            let (from, restore_from) = (from.as_deref(), restore_from.as_deref());
            let order = rollback::Order { to: *to, from, restore_from, comment: reason, overrides };
            rollback::run(state, identity, (pipeline, environment), &order)
        }
        Body::CreateToken { token_sha256, grant } => create_token::run(state, *token_sha256, grant),
        Body::UseToken { token_sha256, spki_sha256, name } => {
            use_token::run(state, *token_sha256, *spki_sha256, name.as_deref())
        }
        Body::AgentLost { agent, attach } => agent_lost::run(state, identity, agent, *attach),
        Body::Attach { incarnation, coordinator, address, epoch_seen, incarnation_seen, platforms } => {
            let seen = attach::Seen { epoch: Epoch(*epoch_seen), incarnation: *incarnation_seen };
            let session =
                attach::Session { incarnation: *incarnation, coordinator, address, seen, platforms };
            attach::run(state, agent(identity)?, &session)
        }
        Body::Detach { attach, goodbye, seen_ms } => {
            detach::run(state, agent(identity)?, *attach, *goodbye, WallTime(*seen_ms))
        }
        Body::Commit { n, body, progress } => commit::run(state, agent(identity)?, (*n, body), progress),
        Body::Result { assignment, fence, outcome, progress } => {
            result::run(state, agent(identity)?, (*assignment, *fence), outcome, progress)
        }
        Body::Verdict(verdict) => verdict::run(state, agent(identity)?, verdict),
        Body::RunnersSeen { runners } => runners_seen::run(state, agent(identity)?, runners),
        Body::Runners { names, change } => runners::run(state, names, change),
        Body::ChangeMember { change, raft_id } => change_member::run(state, *change, *raft_id),
        Body::Recover { raft_id, incarnation } => recover::run(state, *raft_id, *incarnation),
        // Its audit record is all that it is for.
        Body::BackUp { .. } => Ok(Outcome::Nothing),
        Body::Restore { raft_id } => restore::run(state, *raft_id),
        Body::ResumeCluster { epoch, incarnation } => resume_cluster::run(state, *epoch, *incarnation),
        Body::Adopt { installation, environment, release } => {
            decide::adopt(state, identity, (installation, environment), release)
        }
        Body::Reapply { installation, environment } => {
            decide::reapply(state, identity, (installation, environment))
        }
        Body::Finalize => finalize::run(state),
    }
}

/// Why a command is not performed now, whatever it says.
fn refuse(state: &State, body: &Body) -> Result<(), Refusal> {
    if state.observes() && orders_work(body) {
        return Err(Refusal::Observes);
    }
    let (needed, level) = (body.feature_level(), state.level());
    if needed > level { Err(Refusal::LevelTooLow { needed, level }) } else { Ok(()) }
}

/// Whether it leads to work on targets: not while the cluster only observes. Ending a run does not.
fn orders_work(body: &Body) -> bool {
    matches!(body, Body::StartRun { .. } | Body::Approve { .. } | Body::Resume { .. } | Body::Rollback { .. })
}

/// The agent itself, whose commands come through the coordinator that serves it.
fn agent(identity: &Identity) -> Result<&AgentName, Refusal> {
    match identity {
        Identity::Agent(name) => Ok(name),
        Identity::System | Identity::Coordinator(_) | Identity::Runner(_) | Identity::Operator(..) => {
            Err(Refusal::NotAnAgent { identity: identity.clone() })
        }
    }
}

/// Writes the audit record of a command that changes something for people.
pub(crate) fn audit(state: &mut State, identity: &Identity, body: &Body, outcome: &Outcome) {
    let record = match body {
        Body::Bootstrap { cluster, .. } => bootstrap::audit(cluster),
        Body::Apply { targets, pipelines } => apply::audit(pipelines, targets),
        Body::StartRun { plan, overrides, reason, .. } => start_run::audit(plan, overrides, reason),
        Body::Approve { run, comment, .. } => approve::audit(run, comment),
        Body::Cancel { run } => cancel::audit(run),
        Body::Resume { run, .. } => resume::audit(run),
        Body::Rollback { pipeline, environment, to, reason, .. } => {
            rollback::audit(pipeline, environment, *to, reason)
        }
        Body::CreateToken { grant, .. } => create_token::audit(grant),
        Body::UseToken { token_sha256, .. } => use_token::audit(*token_sha256),
        Body::Runners { names, change } => runners::audit(names, change),
        Body::Refusals { verb, object, count } => refusals::audit(verb, object, *count),
        Body::ChangeMember { change, raft_id } => change_member::audit(state, *change, *raft_id),
        Body::Recover { raft_id, .. } => recover::audit(state, *raft_id),
        Body::BackUp { coordinator } => back_up::audit(coordinator),
        Body::Restore { raft_id } => restore::audit(state, *raft_id),
        Body::ResumeCluster { .. } => resume_cluster::audit(state),
        Body::Adopt { installation, environment, .. } => decide::audit("adopt", installation, environment),
        Body::Reapply { installation, environment } => decide::audit("reapply", installation, environment),
        Body::Finalize => finalize::audit(state),
        Body::WallOffset { jump: true, offset_ms } => wall_offset::audit(*offset_ms),
        Body::Member { .. } | Body::Advance | Body::Settle | Body::WallOffset { .. } | Body::Alarm { .. } => {
            return;
        }
        // The deploy that names it has a record.
        Body::PutContent { .. } => return,
        Body::Attach { .. } | Body::Detach { .. } | Body::AgentLost { .. } | Body::Commit { .. } => return,
        Body::Result { .. } | Body::Verdict(_) | Body::RunnersSeen { .. } => return,
    };
    audit::append(state, identity, record, &outcome_text(outcome));
}

/// What became of a command, as the audit log has it.
fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Refused(refusal) => format!("refused {}", refusal.code()),
        Outcome::Run(run) => format!("ok {run}"),
        Outcome::Runners { .. } => "ok".to_owned(),
        Outcome::Decided { decision, .. } => format!("ok {decision}"),
        Outcome::Enrolled { identity } => format!("ok {identity}"),
        Outcome::Nothing | Outcome::Applied { .. } | Outcome::Token { .. } | Outcome::Attached { .. } => {
            "ok".to_owned()
        }
        Outcome::Stored { .. } | Outcome::Resumed { .. } | Outcome::Finalized { .. } => "ok".to_owned(),
        Outcome::ReportApplied | Outcome::ResultSuperseded { .. } | Outcome::ReportUnknown => "ok".to_owned(),
    }
}
