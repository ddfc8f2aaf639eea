//! Sentences: what a reason, a cause, a refusal or an alarm says to people, the command that clears it, and who may run
//! that command.
//!
//! Made where something is shown, from codes and parameters: nothing here is stored or hashed, so that a better
//! sentence changes no row.

use trimaran_engine::Refusal;
use trimaran_engine::state::agent::Agent;
use trimaran_engine::state::cluster::{AlarmDetail, AlarmSubject};
use trimaran_model::action::Failure;
use trimaran_model::id::{EnvironmentName, InstallationId, RunId, StageName, name_error};
use trimaran_model::limits::{REQUESTS_PER_IDENTITY_MAX, SUPERSEDED_PER_HOUR_MAX, TOKENS_MAX};
use trimaran_model::pipeline::ApproveOption;
use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::run::Status;
use trimaran_model::time::WallTime;
use trimaran_model::why::{Place, Reason, Why};
use trimaran_wire::document::{ReasonDocument, rfc3339};

/// Whether a test wants codes for sentences.
fn shows_codes() -> bool {
    #[cfg(feature = "codes")]
    return crate::codes::is_on();
    #[cfg(not(feature = "codes"))]
    false
}

/// Who has a reason: a run, or one of its stages.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub run: &'a RunId,
    pub stage: Option<&'a StageName>,
}

/// A reason as a document.
pub fn reason(reason: &Reason, owner: Owner<'_>) -> ReasonDocument {
    let clears = clears(&reason.why, owner);
    let failure = reason.why.failure();
    ReasonDocument {
        code: reason.why.code().as_str().to_owned(),
        first: first(&reason.why),
        cause: failure.map(|failure| failure.code.as_str().to_owned()),
        instance: failure.and_then(|failure| failure.instance.as_ref()).map(ToString::to_string),
        run: reason.why.run_before().map(ToString::to_string),
        message: message(&reason.why, owner),
        since: rfc3339(reason.since),
        who: who(&clears),
        clears,
        next_check: reason.next_check.map(rfc3339),
    }
}

/// Reasons as documents.
pub fn reasons(list: &[Reason], owner: Owner<'_>) -> Vec<ReasonDocument> {
    list.iter().map(|it| reason(it, owner)).collect()
}

/// What to do before `resume`, which alone only pauses again while the cause is there.
fn first(why: &Why) -> Option<String> {
    let code = match why {
        Why::Paused { failure } => failure.code,
        Why::StillServing { .. } => why.code(),
        _ => return None,
    };
    Some(if shows_codes() { code.as_str() } else { code.advice() }.to_owned())
}

/// The roles that may run the command that clears a reason; none when no command does.
fn who(clears: &str) -> Vec<String> {
    match clears {
        CLEARS_WAIT => Vec::new(),
        _ => vec!["operator".to_owned(), "admin".to_owned()],
    }
}

/// One runnable command, or `wait`.
fn clears(why: &Why, Owner { run, stage }: Owner<'_>) -> String {
    if shows_codes() {
        return CLEARS_WAIT.to_owned();
    }
    match (why, stage) {
        (Why::Approval { options }, Some(stage)) => {
            let first = options.first().map_or("", |option| option.as_str());
            format!("trimaran approve {run}/{}/approve --option {first}", stage.environment)
        }
        // The newest state is there in every such case; which costs less is said in the message.
        (Why::Paused { failure }, Some(stage)) if failure.code == ReasonCode::StateChoice => {
            let (pipeline, environment) = (&run.pipeline, &stage.environment);
            format!("trimaran rollback {pipeline} --env {environment} --from last_checkpoint --yes")
        }
        (Why::Paused { .. } | Why::Interrupted | Why::StillServing { .. }, Some(stage)) => {
            format!("trimaran resume {run}/{stage}")
        }
        (Why::Observes, _) => "trimaran cluster resume --yes".to_owned(),
        (Why::Restored { stage: None }, _) => format!("trimaran resume {run}"),
        (Why::Restored { stage: Some(undecided) }, _) => {
            format!("trimaran installation reapply {}/{undecided}", run.pipeline)
        }
        (Why::Bug { run, .. }, _) => format!("trimaran cancel {run}"),
        _ => CLEARS_WAIT.to_owned(),
    }
}

fn listed<T: ToString>(list: &[T], separator: &str) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

fn option_names(options: &[ApproveOption]) -> String {
    options.iter().map(|option| option.as_str()).collect::<Vec<_>>().join(", ")
}

fn spoken(status: Status) -> String {
    status.as_str().replace('_', " ")
}

/// The sentence of a reason.
pub fn message(why: &Why, owner: Owner<'_>) -> String {
    if shows_codes() {
        return why.code().as_str().to_owned();
    }
    match why {
        Why::NotSettled => "the scheduler has not processed it yet".to_owned(),
        Why::After { environments } => format!("waiting for `{}` to finish", listed(environments, "`, `")),
        Why::Approval { options } => approval(options, owner.stage),
        Why::ApprovalExpired => "no one chose before the timeout".to_owned(),
        Why::Concurrency { first, position } => {
            format!("waiting for `{first}` of the same pipeline to finish; position {position} in the queue")
        }
        Why::InstallationBusy { run, target } => format!("`{run}` works on `{target}`"),
        Why::NoTarget { target } => format!("there is no target `{target}`"),
        Why::NoHosts { agent, target } => {
            format!("no enrolled runner of agent `{agent}` has the labels of target `{target}`")
        }
        Why::AgentNotConnected { agent, target } => {
            format!("agent `{agent}` of target `{target}` is not connected")
        }
        Why::TargetParallel { target, busy } => {
            format!("target `{target}` works on {busy} installations, as many as it allows")
        }
        Why::AgentLost { agent } => {
            format!("agent `{agent}` is silent; what runs keeps running, nothing else starts here")
        }
        Why::AgentHandover { agent } => {
            format!("calls of an earlier incarnation of agent `{agent}` may still be in flight")
        }
        Why::WavePause => "the strategy pauses between waves".to_owned(),
        Why::Failed { .. } | Why::Paused { .. } | Why::RevertFailed { .. } => failed(why, owner),
        Why::Interrupted => {
            let place = owner.stage.map_or_else(|| owner.run.to_string(), ToString::to_string);
            format!(
                "{place}: {}: the agent ended the work before it was finished",
                ReasonCode::Interrupted.as_str()
            )
        }
        Why::Bug { run, revision } => format!("a defect stopped `{run}` at revision {revision}"),
        Why::StillServing { instances } => {
            let serve = match instances {
                1 => "1 instance still serves".to_owned(),
                more => format!("{more} instances still serve"),
            };
            format!("{serve}, and there is no earlier good release to go back to")
        }
        Why::Observes | Why::Restored { .. } | Why::Adopted { .. } | Why::Reapplied { .. } => restored(why),
        Why::Canceled { .. }
        | Why::OutsideScope { .. }
        | Why::LeftAsItIs
        | Why::NeverStarts
        | Why::Canceling { .. }
        | Why::UpstreamFailed { .. }
        | Why::RollbackChosen { .. }
        | Why::StopChosen { .. }
        | Why::RollbackRequested { .. }
        | Why::Unhealthy { .. }
        | Why::RollbackCanceled
        | Why::NoEarlierRelease => ended(why, owner),
    }
}

/// Sentences of what a restore of the cluster left to users.
fn restored(why: &Why) -> String {
    let cluster = "the cluster was restored from a backup";
    match why {
        Why::Observes => format!("{cluster} and only observes before it is resumed"),
        Why::Restored { stage: None } => {
            format!("{cluster}, in which this run was not done; what runs may be newer")
        }
        Why::Restored { stage: Some(stage) } => {
            format!("{cluster}, and what runs of `{stage}` may be newer than what it knows")
        }
        Why::Adopted { by } => format!("{by} decided after a restore that what runs is right"),
        Why::Reapplied { by } => format!("{by} decided after a restore that what the cluster knows is right"),
        other => unreachable!("{other:?} has its sentence elsewhere"),
    }
}

/// Sentences of what ended, or goes back.
fn ended(why: &Why, owner: Owner<'_>) -> String {
    let outside = "the run goes back, and this stage is outside of what the rollback's scope restores";
    match why {
        Why::Canceled { by, then } => and_then(format!("{by} canceled the run"), then.as_ref(), owner),
        Why::OutsideScope { then } => and_then(outside.to_owned(), then.as_ref(), owner),
        Why::LeftAsItIs => outside.to_owned(),
        Why::NeverStarts => "the run goes back, so this stage never starts".to_owned(),
        Why::Canceling { by: Some(by) } => format!("{by} canceled the run; hosts in flight finish or revert"),
        Why::Canceling { by: None } => "the run goes back; hosts in flight finish or revert".to_owned(),
        Why::UpstreamFailed { stage, status } => format!("`{stage}` is {}", spoken(*status)),
        Why::RollbackChosen { by } => format!("{by} chose to roll back"),
        Why::StopChosen { by } => format!("{by} chose to stop"),
        Why::RollbackRequested { by, comment } if comment.is_empty() => {
            format!("{by} asked for the rollback")
        }
        Why::RollbackRequested { by, comment } => format!("{by} asked for the rollback: {comment}"),
        Why::Unhealthy { target } => format!("{target} became unhealthy in its bake"),
        Why::RollbackCanceled => "the rollback was canceled".to_owned(),
        Why::NoEarlierRelease => {
            "there is no earlier stable release, so the failed one was stopped".to_owned()
        }
        other => unreachable!("{other:?} has its sentence elsewhere"),
    }
}

fn approval(options: &[ApproveOption], stage: Option<&StageName>) -> String {
    match stage {
        Some(StageName { environment, part: trimaran_model::id::StagePart::Deploy(_) }) => {
            format!("`{environment}/approve` is not decided")
        }
        Some(StageName { environment, .. }) => {
            format!("`{environment}` waits for one of: {}", option_names(options))
        }
        None => format!("an approval waits for one of: {}", option_names(options)),
    }
}

fn and_then(message: String, then: Option<&Failure>, owner: Owner<'_>) -> String {
    match then {
        Some(failure) => format!("{message}; at its end {}", describe_failure(failure, &Place::Here, owner)),
        None => message,
    }
}

/// A failure in a reason: its own code is not said twice.
fn failed(why: &Why, owner: Owner<'_>) -> String {
    let (failure, place) = match why {
        Why::Failed { failure, place } => (failure, place),
        Why::Paused { failure } | Why::RevertFailed { failure } => (failure, &Place::Here),
        other => unreachable!("{other:?} is no failure"),
    };
    if failure.code == why.code() {
        format!("{}: {}", place_of(failure, place, owner), failure.message)
    } else {
        describe_failure(failure, place, owner)
    }
}

/// A failure where no code is beside it: `host-3: probe_failed: 503 Service Unavailable`.
fn describe_failure(failure: &Failure, place: &Place, owner: Owner<'_>) -> String {
    format!("{}: {}: {}", place_of(failure, place, owner), failure.code.as_str(), failure.message)
}

fn place_of(failure: &Failure, place: &Place, owner: Owner<'_>) -> String {
    match (&failure.instance, place) {
        (Some(instance), _) => instance.to_string(),
        (None, Place::Stage { stage }) => stage.to_string(),
        (None, Place::Target { target }) => target.to_string(),
        (None, Place::Here) => owner.stage.map_or_else(|| owner.run.to_string(), ToString::to_string),
    }
}

/// A cause that stands alone, without a code beside it.
pub fn cause(why: &Why, owner: Owner<'_>) -> String {
    match why {
        Why::Failed { failure, place } if !shows_codes() => describe_failure(failure, place, owner),
        other => message(other, owner),
    }
}

/// What is said of an installation that a restore left undecided, and what decides.
pub(crate) fn undecided(
    id: &InstallationId,
    environment: &EnvironmentName,
    since: WallTime,
    observes: bool,
) -> ReasonDocument {
    let place = format!("{}/{environment}/{}", id.pipeline, id.target);
    let (clears, decide) = match observes {
        true => {
            ("trimaran cluster resume --yes".to_owned(), "it only observes before it is resumed".to_owned())
        }
        false => (
            format!("trimaran installation adopt {place}"),
            format!(
                "`trimaran installation adopt {place}` keeps what runs, `trimaran installation reapply {place}` brings \
                 back what it knows"
            ),
        ),
    };
    let message = format!(
        "the cluster was restored from a backup, and what runs may be newer than what it knows; {decide}"
    );
    ReasonDocument {
        code: ReasonCode::Restored.as_str().to_owned(),
        message: if shows_codes() { ReasonCode::Restored.as_str().to_owned() } else { message },
        since: rfc3339(since),
        who: who(&clears),
        clears,
        next_check: None,
        first: None,
        cause: None,
        instance: None,
        run: None,
    }
}

/// What is said of an agent that is lost.
pub(crate) fn agent_silent(agent: &Agent) -> String {
    format!(
        "agent `{}` has been silent since {}: how its installations are is not known, and what runs keeps running",
        agent.name,
        rfc3339(agent.changed)
    )
}

/// What an alarm says.
pub fn alarm(detail: &AlarmDetail) -> String {
    if shows_codes() {
        return "alarm".to_owned();
    }
    match detail {
        AlarmDetail::CommandBug { revision } => command_bug(*revision),
        AlarmDetail::RunBug { run, revision } => format!("a defect stopped `{run}` at revision {revision}"),
        AlarmDetail::ClockJump => {
            "the coordinator's wall clock jumped; cluster time follows it by at most one second a minute"
                .to_owned()
        }
        AlarmDetail::OtherIncarnation { epoch, .. } => format!(
            "the agent has seen epoch {} of another incarnation of this cluster, so it gets no orders; was this \
             coordinator restored from a backup?",
            epoch.0
        ),
        AlarmDetail::Reported { message } => message.clone(),
        AlarmDetail::Restored { observes: true, .. } => {
            "the cluster was restored from a backup and only observes: agents get no orders before it is resumed".to_owned()
        }
        AlarmDetail::Restored { installations, runs, .. } => format!(
            "the cluster was restored from a backup; not decided: {}, {}",
            counted(*installations, "installation"),
            counted(*runs, "run")
        ),
    }
}

fn counted(count: u32, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The command that ends an alarm, or shows what does.
pub fn alarm_clears(subject: &AlarmSubject, detail: &AlarmDetail) -> String {
    if let AlarmDetail::Restored { observes, .. } = detail {
        return if *observes { "trimaran cluster resume --yes" } else { "trimaran installation list" }
            .to_owned();
    }
    match subject {
        AlarmSubject::Run { run } => format!("trimaran cancel {run}"),
        AlarmSubject::Agent { name } => format!("trimaran agent enroll {name}"),
        AlarmSubject::Cluster | AlarmSubject::Member { .. } => CLEARS_WAIT.to_owned(),
    }
}

fn command_bug(revision: u64) -> String {
    format!("a defect stopped a command at revision {revision}; nothing was changed")
}

/// What a refusal says.
pub fn refusal(refusal: &Refusal) -> String {
    if shows_codes() {
        return refusal.code().to_string();
    }
    match refusal {
        Refusal::Bug { revision } => command_bug(*revision),
        Refusal::RowTooLarge { bytes, .. } => {
            format!("the change would store a row of {bytes} bytes, which is more than rows may have")
        }
        Refusal::Malformed => "a value of the command is outside of its range".to_owned(),
        Refusal::RequestIdReused => "this request id was used with another body".to_owned(),
        Refusal::RequestExpired => "this request id was made more than 24 hours ago".to_owned(),
        Refusal::RequestFromFuture => {
            "this request id was made more than 24 hours after the cluster's time".to_owned()
        }
        Refusal::RequestsFull => "the table of requests is full".to_owned(),
        Refusal::ClusterExists => "the cluster exists already".to_owned(),
        Refusal::NotAnAgent { identity } => format!("{identity} is not an agent"),
        Refusal::NoAgent { agent } => format!("there is no agent `{agent}`"),
        Refusal::Superseded => {
            "a later incarnation of this agent has attached; this one is superseded".to_owned()
        }
        Refusal::OtherAgentServes => "another agent serves this installation".to_owned(),
        Refusal::TokensFull => format!("{TOKENS_MAX} tokens were made within the last hour"),
        Refusal::ReplacedTooOften { agent, retry_at } => format!(
            "{SUPERSEDED_PER_HOUR_MAX} processes took over from each other as agent `{agent}` within an hour; the \
             next one may at {}. Do two run with one identity, or does it end again and again?",
            rfc3339(*retry_at)
        ),
        Refusal::OwnRequestsFull { retry_at } => format!(
            "this identity made {} changes within a day; the next one is possible at {}",
            REQUESTS_PER_IDENTITY_MAX,
            rfc3339(*retry_at)
        ),
        Refusal::TokenExists => "a token with this hash was made before".to_owned(),
        Refusal::OtherIncarnation { agent, epoch, seen } => format!(
            "agent `{agent}` has seen epoch {} of another incarnation of this cluster, which is at epoch {}",
            seen.0, epoch.0
        ),
        Refusal::TokenUnknown => "the token is unknown, used or expired".to_owned(),
        Refusal::AgentFirst { agent } => format!("there is no agent `{agent}`; enroll it first"),
        Refusal::NameTaken { runner } => format!(
            "there is a runner `{runner}` already: two machines need two names; `trimaran runner remove {runner}` frees the name \
             of one that is gone"
        ),
        Refusal::NoRunner { runner } => format!("there is no runner `{runner}`"),
        Refusal::NotAName { text } => {
            format!("`{text}` is not a name: {}", name_error(text).unwrap_or("it is too long"))
        }
        Refusal::Observes => {
            "the cluster was restored from a backup and only observes before it is resumed".to_owned()
        }
        Refusal::LevelTooLow { needed, level } => {
            format!("this needs feature level {needed}, and the cluster is at {level}")
        }
        Refusal::LevelNotSupported { level, members } => format!(
            "feature level {level} is not supported by {}: upgrade first what lacks it",
            members.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
        Refusal::NotObserving => "the cluster does not only observe".to_owned(),
        Refusal::EpochClaimed { agent, epoch } => format!(
            "agent `{agent}` says that it has seen epoch {}, far above what this cluster ever had",
            epoch.0
        ),
        Refusal::EpochTooLow { lowest } => {
            format!("the epoch has to be {} or larger: agents have seen the one before", lowest.0)
        }
        Refusal::NotARole { text } => format!("`{text}` is not a role; there are viewer, operator and admin"),
        other => refusal_of_run(other),
    }
}

/// How a run ended, behind its name.
fn ended_as(status: Status) -> String {
    match status {
        Status::Succeeded | Status::Failed => status.as_str().to_owned(),
        Status::Warned => "succeeded with warnings".to_owned(),
        other => format!("was {}", spoken(other)),
    }
}

/// Why a plan is not deployed again: it failed, or a person took it back.
fn quarantined(run: &RunId, why: &Why) -> String {
    match why {
        Why::RollbackRequested { by, comment } if comment.is_empty() => {
            format!("{by} rolled back what {run} deployed by this plan")
        }
        Why::RollbackRequested { by, comment } => {
            format!("{by} rolled back what {run} deployed by this plan: {comment}")
        }
        Why::RollbackChosen { by } => format!("{by} chose to roll this plan back in {run}"),
        other => format!("this plan failed in {run}: {}", cause(other, Owner { run, stage: None })),
    }
}

/// Refusals of what users do with runs and releases.
fn refusal_of_run(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoTarget { target } => format!("there is no target `{target}`"),
        Refusal::Quarantined { run, cause: why } => quarantined(run, why),
        Refusal::ContentMissing { content } => {
            format!("the files with digest {} were not uploaded, or not all of them", content.short())
        }
        Refusal::ContentsFull { waiting } => {
            format!("{waiting} uploads wait for a deploy that uses them")
        }
        Refusal::QueueFull { pipeline, waiting } => format!("{waiting} runs of `{pipeline}` wait already"),
        Refusal::NoRun { run } => format!("there is no run `{run}`"),
        Refusal::RunDone { run, status } => match status {
            Some(status) => format!("`{run}` {}", ended_as(*status)),
            None => format!("`{run}` is done"),
        },
        Refusal::NoStage { run, stage } => format!("`{run}` has no stage `{stage}`"),
        Refusal::NotAnApproval { run, stage } => format!("`{stage}` of `{run}` is not an approval"),
        Refusal::ApprovalExpired { stage, at } => {
            format!("`{stage}` expired at {}: no one chose before, so the run was stopped", rfc3339(*at))
        }
        Refusal::PlanChanged => "the digest that was given is not the digest of this run's plan".to_owned(),
        Refusal::UnknownOption { option, options } => {
            format!("`{option}` is not an option of this approval; there are: {}", option_names(options))
        }
        Refusal::AmbiguousStage { stages } => format!("several stages wait: {}", listed(stages, ", ")),
        Refusal::AlreadyDecided { by, option } => format!("{by} chose `{}` already", option.as_str()),
        Refusal::NothingWaits { run, environment: Some(environment) } => {
            format!("`{environment}/approve` of `{run}` does not wait now")
        }
        Refusal::NothingWaits { run, environment: None } => format!("no approval of `{run}` waits now"),
        Refusal::NothingPaused { run } => format!("no stage of `{run}` is paused"),
        Refusal::NothingDeployed { pipeline, environment } => {
            format!("nothing of `{pipeline}` was deployed to `{environment}`")
        }
        Refusal::NothingToRollBack { pipeline, environment } => {
            format!("no earlier stable release of `{pipeline}` in `{environment}` differs from what runs")
        }
        Refusal::Undecided { installation: it, environment } => format!(
            "the cluster was restored from a backup, and what runs of `{}/{environment}/{}` may be newer than what it knows",
            it.pipeline, it.target
        ),
        Refusal::NothingUndecided { installation: it, environment } => {
            format!("`{}/{environment}/{}` is not undecided", it.pipeline, it.target)
        }
        Refusal::NothingToReapply { installation: it, environment } => format!(
            "when the backup was made nothing of `{}/{environment}/{}` was deployed to its end",
            it.pipeline, it.target
        ),
        Refusal::ReleaseTooOld { pipeline, release } => {
            format!("release {} of `{pipeline}` is too old to be restored", release.short())
        }
        Refusal::OtherReleaseRuns { pipeline, target, version, from } => {
            let runs = version.as_deref().unwrap_or("nothing");
            format!("`{pipeline}` runs {runs} on {target}, not {from}")
        }
        Refusal::ReleaseOfOtherTarget { release, version, target } => {
            format!(
                "release {} is of another target, and {version} is not kept for `{target}`",
                release.short()
            )
        }
        other => unreachable!("{other:?} has its sentence elsewhere"),
    }
}
