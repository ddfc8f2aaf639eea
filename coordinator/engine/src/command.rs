//! Commands: one file a concern. Each validates against the state, changes it, and queues the runs it concerns.

mod agents;
mod cluster;
mod decide;
mod deploy;
mod enroll;
mod results;
mod rollback;

use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_wire::v1::command::CommandBody;

use crate::audit;
use crate::idempotency::{Outcome, Rejection, reject};
use crate::state::{State, run_name};

pub use results::can_be_healthy;

/// Carries one command out.
pub(crate) fn run(state: &mut State, identity: &Identity, body: &CommandBody) -> Result<Outcome, Rejection> {
    match body {
        CommandBody::Bootstrap { cluster, wall_ms, admin_token_sha256, admin } => {
            cluster::bootstrap(state, cluster, *wall_ms, *admin_token_sha256, admin)
        }
        CommandBody::Member { name, raft_id, address, certificate_sha256 } => {
            cluster::member(state, name, *raft_id, address, *certificate_sha256)
        }
        CommandBody::Advance | CommandBody::Settle => Ok(Outcome::Nothing),
        CommandBody::WallOffset { offset_ms, jump } => cluster::wall_offset(state, *offset_ms, *jump),
        CommandBody::Alarm { member, code, message } => {
            cluster::alarm(state, member, code, message.as_deref())
        }
        CommandBody::Apply { pipelines, targets } => deploy::apply(state, pipelines, targets),
        CommandBody::StartRun { source, plan, overrides, reason } => {
            deploy::start_run(state, identity, source.as_ref(), plan, overrides, reason)
        }
        CommandBody::Approve { run, stage, option, plan_digest, comment } => {
            let answer = decide::Answer { option: option.as_deref(), plan_digest: *plan_digest, comment };
            decide::approve(state, identity, run, stage.as_ref(), &answer)
        }
        CommandBody::Cancel { run } => decide::cancel(state, identity, run),
        CommandBody::Resume { run, stage } => decide::resume(state, identity, run, stage.as_ref()),
        CommandBody::Rollback { pipeline, environment, to, reason } => {
            rollback::rollback(state, identity, pipeline, environment, *to, reason)
        }
        CommandBody::CreateToken { token_sha256, grant } => enroll::create_token(state, *token_sha256, grant),
        CommandBody::Refusals { .. } => Ok(Outcome::Nothing),
        CommandBody::UseToken { token_sha256, spki_sha256 } => {
            enroll::use_token(state, *token_sha256, *spki_sha256)
        }
        CommandBody::Attach { .. }
        | CommandBody::Detach { .. }
        | CommandBody::AgentLost { .. }
        | CommandBody::Commit { .. }
        | CommandBody::Result { .. }
        | CommandBody::Verdict(_)
        | CommandBody::RunnersSeen { .. } => agent(state, identity, body),
    }
}

/// Commands that only the agent itself gives, through the coordinator that serves it.
fn agent(state: &mut State, identity: &Identity, body: &CommandBody) -> Result<Outcome, Rejection> {
    let name = match (identity, body) {
        (Identity::Agent(name), _) => name.to_string(),
        (Identity::System, CommandBody::AgentLost { agent, incarnation }) => {
            return agents::lost(state, agent, *incarnation);
        }
        (other, _) => return reject(error_code::DENIED, format!("{other} is no agent")),
    };
    match body {
        CommandBody::Attach { incarnation, coordinator, address, .. } => {
            agents::attach(state, &name, *incarnation, coordinator, address)
        }
        CommandBody::Detach { incarnation, goodbye } => agents::detach(state, &name, *incarnation, *goodbye),
        CommandBody::Commit { n, body, progress } => results::commit(state, &name, (*n, body), progress),
        CommandBody::Result { assignment, fence, outcome, progress } => {
            results::result(state, &name, (*assignment, *fence), outcome, progress)
        }
        CommandBody::Verdict(verdict) => results::verdict(state, &name, verdict),
        CommandBody::RunnersSeen { runners } => Ok(agents::runners_seen(state, &name, runners)),
        _ => reject(error_code::BUG, "not a command of agents"),
    }
}

/// Writes the audit record of a command that changes something for people.
pub(crate) fn audit(state: &mut State, identity: &Identity, body: &CommandBody, outcome: &Outcome) {
    let run = run_name;
    let (verb, object) = match body {
        CommandBody::Bootstrap { cluster, .. } => ("bootstrap", cluster.clone()),
        CommandBody::Apply { targets, pipelines } => {
            let names = targets.iter().map(|it| &it.name).chain(pipelines.iter().map(|it| &it.pipeline));
            ("apply", names.cloned().collect::<Vec<_>>().join(" "))
        }
        CommandBody::StartRun { plan, overrides, reason, .. } if !overrides.is_empty() => {
            ("deploy", format!("{} override {}: {reason}", plan.pipeline, overrides.join(",")))
        }
        CommandBody::StartRun { plan, .. } => ("deploy", plan.pipeline.clone()),
        CommandBody::Approve { run: id, comment, .. } if !comment.is_empty() => {
            ("approve", format!("{}: {comment}", run(id)))
        }
        CommandBody::Approve { run: id, .. } => ("approve", run(id)),
        CommandBody::Cancel { run: id } => ("cancel", run(id)),
        CommandBody::Resume { run: id, .. } => ("resume", run(id)),
        CommandBody::Rollback { pipeline, environment, reason, .. } => {
            ("rollback", format!("{pipeline} {environment} {reason}"))
        }
        CommandBody::CreateToken { grant, .. } => ("create_token", enroll::grant_name(grant)),
        CommandBody::Refusals { verb, object, count } => {
            ("refused", format!("{verb} {object} {count} times"))
        }
        CommandBody::UseToken { .. } => ("use_token", String::new()),
        CommandBody::WallOffset { jump: true, offset_ms } => ("clock_jump", format!("offset {offset_ms} ms")),
        CommandBody::Member { .. }
        | CommandBody::Advance
        | CommandBody::Settle
        | CommandBody::WallOffset { .. }
        | CommandBody::Alarm { .. }
        | CommandBody::Attach { .. }
        | CommandBody::Detach { .. }
        | CommandBody::AgentLost { .. }
        | CommandBody::Commit { .. }
        | CommandBody::Result { .. }
        | CommandBody::Verdict(_)
        | CommandBody::RunnersSeen { .. } => return,
    };
    let text = match outcome {
        Outcome::Rejected(rejection) => format!("refused {}", rejection.code),
        Outcome::Run(id) => format!("ok {}", run(id)),
        Outcome::Decided { decision, .. } => format!("ok {decision}"),
        Outcome::Enrolled { identity } => format!("ok {identity}"),
        _ => "ok".to_owned(),
    };
    audit::record(state, &identity.to_string(), verb, &object, &text);
}
