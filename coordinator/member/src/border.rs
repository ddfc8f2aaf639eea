//! The border of the log: every field of a command is of its type and within its bound before it is queued.
//!
//! What an agent or operator sends passes it where it arrives, in the coordinator that serves them; what a peer passes on
//! passes it here once more, since a peer may be of another build, or hostile. The rules of texts and reports are one for
//! both ways.
//!
//! Not here: whether what is named exists, and who may do what (`trimaran-engine`); that the identity was verified, for
//! which the peer's certificate vouches.

pub mod reports;
pub mod texts;

use trimaran_model::id::{
    AgentName, CoordinatorName, EnvironmentName, HostName, Identity, InstallationId, PipelineName, RunId,
    StageName,
};
use trimaran_model::limits::{
    ADDRESS_BYTES_MAX, ARTIFACTS_MAX, COMMAND_BYTES_MAX, COMMENT_BYTES_MAX, ENVIRONMENTS_MAX,
    FILE_NAME_BYTES_MAX, LABEL_BYTES_MAX, LABELS_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX, OVERRIDES_MAX,
    REFUSAL_TEXT_BYTES_MAX, RUNNERS_PER_CHANGE_MAX, RUNNERS_PER_MESSAGE_MAX, SPEC_FILE_BYTES_MAX,
    TARGETS_PER_ENVIRONMENT_MAX, VERSION_BYTES_MAX, WAVES_MAX,
};
use trimaran_model::plan::Plan;
use trimaran_model::release::{Content, Release};
use trimaran_model::target::Target;
use trimaran_model::text::cut;
use trimaran_model::time::WallTime;
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::command::{
    Command, CommandBody, Entry, PipelineSource, RunnerChange, TokenGrant, WireMemberChange,
};
use trimaran_wire::v1::common::{WireRun, WireStage, name};
use trimaran_wire::v1::plan::WirePlan;

type Checked<T> = Result<T, CodecError>;

/// A command that a peer passes on, of so many bytes, or why it is refused. `now` is wall time: nothing was seen later.
pub(crate) fn passed_on(command: Command, bytes: usize, now: WallTime) -> Checked<Command> {
    if bytes > COMMAND_BYTES_MAX {
        return Err(CodecError::value(format_args!("{bytes} bytes, allowed are {COMMAND_BYTES_MAX}")));
    }
    let Command { identity, request, body } = command;
    let identity = Identity::try_from(identity)?;
    if !may_give(&identity, &body) {
        return Err(CodecError::value(format_args!("a command that {identity} does not give")));
    }
    Ok(Command { identity: (&identity).into(), request, body: checked(body, now)? })
}

/// What travels with a change of the members that a peer passes on.
pub(crate) fn with_members(context: &[u8]) -> Checked<()> {
    if context.is_empty() {
        return Ok(());
    }
    if context.len() > COMMAND_BYTES_MAX {
        return Err(CodecError::value(format_args!("{} bytes with a change of members", context.len())));
    }
    for Command { identity, body, .. } in Entry::from_bytes(context)?.commands {
        let identity = Identity::try_from(identity)?;
        let person = matches!(identity, Identity::Operator(..));
        match body {
            CommandBody::ChangeMember { .. } | CommandBody::Advance if person => {}
            // What a coordinator or a simulated one does on its own.
            CommandBody::Member { .. } | CommandBody::ChangeMember { .. } if identity == Identity::System => {
                checked(body, WallTime(i64::MAX))?;
            }
            _ => return Err(CodecError::value("a command that does not travel with a change of members")),
        }
    }
    Ok(())
}

/// Whether such a command is passed on, and under such an identity.
fn may_give(identity: &Identity, body: &CommandBody) -> bool {
    match body {
        // The leader's own, or of a moment at which there is none.
        CommandBody::Bootstrap { .. }
        | CommandBody::Recover { .. }
        | CommandBody::Restore { .. }
        | CommandBody::Advance
        | CommandBody::Settle
        | CommandBody::WallOffset { .. } => false,
        CommandBody::Member { .. }
        | CommandBody::Alarm { .. }
        | CommandBody::AgentLost { .. }
        | CommandBody::UseToken { .. } => *identity == Identity::System,
        CommandBody::Refusals { .. } => *identity != Identity::System,
        CommandBody::Attach { .. }
        | CommandBody::Detach { .. }
        | CommandBody::Commit { .. }
        | CommandBody::Result { .. }
        | CommandBody::Verdict(_)
        | CommandBody::RunnersSeen { .. } => matches!(identity, Identity::Agent(_)),
        // The others travel with a change of the members.
        CommandBody::ChangeMember { change, .. } => {
            *change == WireMemberChange::Transfer && matches!(identity, Identity::Operator(..))
        }
        CommandBody::Apply { .. }
        | CommandBody::StartRun { .. }
        | CommandBody::Approve { .. }
        | CommandBody::Cancel { .. }
        | CommandBody::Resume { .. }
        | CommandBody::Rollback { .. }
        | CommandBody::CreateToken { .. }
        | CommandBody::Runners { .. }
        | CommandBody::BackUp { .. }
        | CommandBody::ResumeCluster { .. }
        | CommandBody::Finalize
        | CommandBody::Adopt { .. }
        | CommandBody::Reapply { .. }
        | CommandBody::PutContent { .. } => matches!(identity, Identity::Operator(..)),
    }
}

fn checked(body: CommandBody, now: WallTime) -> Checked<CommandBody> {
    match body {
        CommandBody::Attach { .. }
        | CommandBody::Detach { .. }
        | CommandBody::Commit { .. }
        | CommandBody::Result { .. }
        | CommandBody::Verdict(_)
        | CommandBody::RunnersSeen { .. } => of_agent(body, now),
        CommandBody::Member { .. }
        | CommandBody::Alarm { .. }
        | CommandBody::AgentLost { .. }
        | CommandBody::UseToken { .. }
        | CommandBody::Refusals { .. }
        | CommandBody::ChangeMember { .. } => of_coordinator(body),
        other => of_operator(&other).map(|()| other),
    }
}

/// What agents report.
fn of_agent(body: CommandBody, now: WallTime) -> Checked<CommandBody> {
    Ok(match body {
        CommandBody::Attach {
            incarnation,
            coordinator,
            address,
            epoch_seen,
            incarnation_seen,
            platforms,
        } => {
            let coordinator: CoordinatorName = name(&coordinator)?;
            texts::short("an address", &address, ADDRESS_BYTES_MAX).map_err(CodecError::value)?;
            let (coordinator, platforms) = (coordinator.to_string(), reports::platforms(platforms)?);
            CommandBody::Attach { incarnation, coordinator, address, epoch_seen, incarnation_seen, platforms }
        }
        CommandBody::Detach { attach, goodbye, seen_ms } => {
            CommandBody::Detach { attach, goodbye, seen_ms: seen_ms.min(now.0) }
        }
        CommandBody::Commit { n, body, progress } => {
            reports::commit_body(&body)?;
            CommandBody::Commit { n, body, progress: reports::progress(progress)? }
        }
        CommandBody::Result { assignment, fence, outcome, progress } => CommandBody::Result {
            assignment,
            fence,
            outcome: reports::outcome(outcome)?,
            progress: reports::progress(progress)?,
        },
        CommandBody::Verdict(verdict) => CommandBody::Verdict(reports::verdict(verdict, now)?),
        CommandBody::RunnersSeen { runners } => {
            texts::few("runners", runners.len(), RUNNERS_PER_MESSAGE_MAX).map_err(CodecError::value)?;
            for (host, news) in &runners {
                name::<HostName>(host)?;
                news.facts.as_ref().map_or(Ok(()), reports::facts)?;
            }
            CommandBody::RunnersSeen { runners }
        }
        other => unreachable!("{other:?} is of no agent"),
    })
}

/// What operators give.
fn of_operator(body: &CommandBody) -> Checked<()> {
    let text = |checked: Result<(), String>| checked.map_err(CodecError::value);
    match body {
        CommandBody::Apply { pipelines, targets } => {
            pipelines.iter().try_for_each(source)?;
            targets.iter().try_for_each(|it| Target::try_from(it.clone()).map(drop))
        }
        CommandBody::StartRun { source: from, plan, overrides, reason } => {
            from.iter().try_for_each(source)?;
            planned(plan)?;
            text(named_overrides(overrides))?;
            text(texts::short("a reason", reason, COMMENT_BYTES_MAX))
        }
        CommandBody::Approve { run, stage, option, plan_digest: _, comment } => {
            run_and_stage(run, stage.as_ref())?;
            let option = option.as_deref().unwrap_or_default();
            text(texts::short("an option", option, NAME_BYTES_MAX))?;
            text(texts::short("a comment", comment, COMMENT_BYTES_MAX))
        }
        CommandBody::Cancel { run } => run_and_stage(run, None),
        CommandBody::Resume { run, stage } => run_and_stage(run, stage.as_ref()),
        CommandBody::Rollback { pipeline, environment, to: _, from, restore_from, reason, overrides } => {
            text(texts::name("a pipeline's name", pipeline))?;
            text(texts::name("an environment's name", environment))?;
            text(texts::short("a version", from.as_deref().unwrap_or_default(), VERSION_BYTES_MAX))?;
            text(texts::short("a state", restore_from.as_deref().unwrap_or_default(), NAME_BYTES_MAX))?;
            text(named_overrides(overrides))?;
            text(texts::short("a reason", reason, COMMENT_BYTES_MAX))
        }
        CommandBody::CreateToken { token_sha256: _, grant } => text(granted(grant)),
        CommandBody::Runners { names, change } => text(runners(names, change)),
        CommandBody::BackUp { coordinator } => name::<CoordinatorName>(coordinator).map(drop),
        CommandBody::ResumeCluster { .. } | CommandBody::Finalize => Ok(()),
        CommandBody::Adopt { installation, environment, release } => {
            InstallationId::try_from(installation.clone())?;
            name::<EnvironmentName>(environment)?;
            Release::try_from(release.clone()).map(drop)
        }
        CommandBody::Reapply { installation, environment } => {
            InstallationId::try_from(installation.clone())?;
            name::<EnvironmentName>(environment).map(drop)
        }
        CommandBody::PutContent { content, part, bytes } => {
            let content = Content::try_from(*content)?;
            match content.part_bytes(*part) {
                Some(length) if length == bytes.len() => Ok(()),
                _ => Err(CodecError::value(format_args!("part {part} of {} bytes", bytes.len()))),
            }
        }
        other => unreachable!("{other:?} is of no operator"),
    }
}

/// What coordinators give on their own. Texts that the engine repeats, or that are for people, are cut.
fn of_coordinator(body: CommandBody) -> Checked<CommandBody> {
    let text = |checked: Result<(), String>| checked.map_err(CodecError::value);
    Ok(match body {
        CommandBody::Refusals { ref verb, ref object, count: _ } => {
            text(texts::short("a verb", verb, NAME_BYTES_MAX))?;
            text(texts::short("an object", object, NAME_BYTES_MAX))?;
            body
        }
        CommandBody::Member { name: ref of, ref address, levels: (min, max), .. } => {
            if min > max {
                return Err(CodecError::value(format_args!("feature levels {min} to {max}")));
            }
            name::<CoordinatorName>(of)?;
            text(texts::short("an address", address, ADDRESS_BYTES_MAX))?;
            body
        }
        CommandBody::AgentLost { ref agent, attach: _ } => {
            name::<AgentName>(agent)?;
            body
        }
        CommandBody::Alarm { member, code, message } => {
            name::<CoordinatorName>(&member)?;
            text(texts::short("a code", &code, NAME_BYTES_MAX))?;
            let message = message.map(|it| cut(it, MESSAGE_BYTES_MAX));
            CommandBody::Alarm { member, code, message }
        }
        CommandBody::UseToken { token_sha256, spki_sha256, name } => {
            let name = name.map(|it| cut(it, REFUSAL_TEXT_BYTES_MAX));
            CommandBody::UseToken { token_sha256, spki_sha256, name }
        }
        CommandBody::ChangeMember { .. } => body,
        other => unreachable!("{other:?} is of no coordinator"),
    })
}

fn run_and_stage(run: &WireRun, stage: Option<&WireStage>) -> Checked<()> {
    RunId::try_from(run.clone())?;
    stage.map_or(Ok(()), |it| StageName::try_from(it.clone()).map(drop))
}

fn source(it: &PipelineSource) -> Checked<()> {
    name::<PipelineName>(&it.pipeline)?;
    let text = |checked: Result<(), String>| checked.map_err(CodecError::value);
    text(texts::short("a file's name", &it.file, FILE_NAME_BYTES_MAX))?;
    text(texts::short("a file", &it.text, SPEC_FILE_BYTES_MAX))
}

fn planned(plan: &WirePlan) -> Checked<()> {
    let Plan { environments, artifacts, .. } = Plan::try_from(plan.clone())?;
    let text = |checked: Result<(), String>| checked.map_err(CodecError::value);
    text(texts::few("environments", environments.len(), ENVIRONMENTS_MAX))?;
    text(texts::few("artifacts", artifacts.len(), ARTIFACTS_MAX))?;
    for environment in &environments {
        text(texts::few("targets of an environment", environment.stages.len(), TARGETS_PER_ENVIRONMENT_MAX))?;
        for stage in &environment.stages {
            text(texts::few("waves of a stage", stage.batches.sizes.len(), WAVES_MAX))?;
        }
    }
    Ok(())
}

fn named_overrides(overrides: &[String]) -> Result<(), String> {
    texts::few("overrides", overrides.len(), OVERRIDES_MAX)?;
    overrides.iter().try_for_each(|it| texts::short("an override", it, NAME_BYTES_MAX))
}

fn granted(grant: &TokenGrant) -> Result<(), String> {
    match grant {
        TokenGrant::Agent { name } | TokenGrant::Coordinator { name } => texts::name("a name", name),
        TokenGrant::Operator { name, role } => {
            texts::name("a name", name)?;
            texts::short("a role", role, NAME_BYTES_MAX)
        }
        TokenGrant::Runner { name, agent, labels }
        | TokenGrant::Runners { group: name, agent, labels, uses: _, ttl_ms: _ } => {
            texts::name("a name", name)?;
            texts::name("a name", agent)?;
            texts::labels(labels)
        }
    }
}

fn runners(names: &[String], change: &RunnerChange) -> Result<(), String> {
    texts::few("runners", names.len(), RUNNERS_PER_CHANGE_MAX)?;
    names.iter().try_for_each(|it| texts::name("a name", it))?;
    match change {
        RunnerChange::Remove | RunnerChange::Cordon | RunnerChange::Uncordon | RunnerChange::Drain => Ok(()),
        RunnerChange::Label { set, remove } => {
            texts::few("labels", remove.len(), LABELS_MAX)?;
            remove.iter().try_for_each(|it| texts::short("a label", it, LABEL_BYTES_MAX))?;
            texts::labels(set)
        }
    }
}
