//! `trimaran rollback PIPELINE --env NAME`: back to the last good release, or to one that is named.

mod release;

use clap_complete::engine::ArgValueCandidates;
use trimaran_model::error_code;
use trimaran_model::pipeline::FlinkRestore;
use trimaran_model::run::Status;
use trimaran_wire::document::{History, PlanDocument, PlanStage, RunDocument, RunList};
use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::RequestIdArg;
use crate::confirmation::confirm;
use crate::error::CliError;
use crate::follow::{WaitArgs, follow_started};
use crate::known_names::pipelines;
use crate::pipelines::with_nearest;
use crate::remote::Remote;
use crate::ui::{OutputForm, Ui, short, words};

/// Entries of the history among which a version or run is looked for.
const ENTRIES_SEARCHED_MAX: u32 = 500;
/// Newest runs of the pipeline among which live ones are looked for.
const RUNS_SEARCHED_MAX: u32 = 100;

/// Roll back to an earlier release: the last good one unless another is named.
///
/// Twice in a row goes two releases back; `--from VERSION` guards against that: the cluster refuses when something
/// else runs by then.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran rollback web --env prod\n  trimaran rollback web --env prod --to v12\n  trimaran rollback web --env prod --to web#12 --from v14 --yes --wait\n  trimaran rollback web --env prod --override traffic\n  trimaran rollback clicks --env prod --from last_checkpoint"
)]
pub(crate) struct Args {
    /// The pipeline.
    #[arg(add = ArgValueCandidates::new(pipelines))]
    pipeline: String,
    /// The environment to restore.
    #[arg(long = "env", value_name = "NAME")]
    environment: String,
    /// The release to restore: a version, the run that deployed it, or a digest (`trimaran history` shows them).
    #[arg(long, value_name = "VERSION|RUN|DIGEST")]
    to: Option<String>,
    /// Fail unless this version runs now. For a job on Flink also the state to begin from, whatever that costs:
    /// `savepoint` is the one from before the version that is left, `last_checkpoint` the newest that it has written.
    #[arg(long, value_name = "VERSION|savepoint|last_checkpoint")]
    from: Vec<String>,
    /// Where there is no earlier good release: end what serves, too.
    #[arg(long = "override", value_name = "WHAT")]
    overrides: Vec<Override>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Kept in the audit log.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    request: RequestIdArg,
}

/// What a rollback may pass over.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Override {
    /// The guard that keeps the last instances that serve.
    Traffic,
}

impl Override {
    fn as_str(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
        }
    }
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    let history = history(args, &remote)?;
    let release = |to: &str| release::find(&args.pipeline, &args.environment, to, &history.entries);
    let to = args.to.as_deref().map(release).transpose()?;
    if !args.yes {
        confirm_rollback(args, to.clone(), &remote)?;
    }
    let (restore_from, from) = from(&args.from)?;
    let body = OperatorBody::Rollback {
        pipeline: args.pipeline.clone(),
        environment: args.environment.clone(),
        to,
        from,
        restore_from,
        reason: args.reason.clone(),
        overrides: args.overrides.iter().map(|it| it.as_str().to_owned()).collect(),
    };
    let answer = remote.change::<RunDocument>(&args.request, body)?;
    // The rollback has begun; a remark is not worth an error.
    if ui.form() == OutputForm::Table
        && let Ok(lines) = later_lines(&remote, &answer.document, &args.environment)
    {
        lines.iter().for_each(|line| ui.note(line));
    }
    follow_started(&remote, ui, &args.wait, &answer)
}

/// The state to begin from and the version that has to run: each `--from` is one of them.
fn from(words: &[String]) -> Result<(Option<String>, Option<String>), CliError> {
    let states = [FlinkRestore::Savepoint, FlinkRestore::LastCheckpoint].map(FlinkRestore::as_str);
    let (mut named, mut versions): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| states.contains(&word.as_str()));
    let one = (named.pop().cloned(), versions.pop().cloned());
    if named.is_empty() && versions.is_empty() {
        return Ok(one);
    }
    let message = "`--from` names one version and one state at most";
    Err(CliError::new(error_code::USAGE, message).help(format!("states are {}", states.join(" and "))))
}

/// What was deployed to the environment; an unknown pipeline or environment is an error with the nearest name.
fn history(args: &Args, remote: &Remote) -> Result<History, CliError> {
    let body = OperatorBody::History {
        pipeline: args.pipeline.clone(),
        environment: Some(args.environment.clone()),
        limit: ENTRIES_SEARCHED_MAX,
    };
    let answer = remote.read::<History>(body);
    Ok(answer.map_err(|error| with_nearest(error, &args.pipeline, remote))?.document)
}

/// Shows what would happen and asks for the pipeline's name.
fn confirm_rollback(args: &Args, to: Option<String>, remote: &Remote) -> Result<(), CliError> {
    let question = format!("rolling `{}` back needs a confirmation", args.pipeline);
    confirm(&question, &args.pipeline, || {
        let body = OperatorBody::RollbackPlan {
            pipeline: args.pipeline.clone(),
            environment: args.environment.clone(),
            to,
        };
        let plan = remote.read::<PlanDocument>(body)?.document;
        let line = |stage: &PlanStage| {
            let from = stage.from.as_ref().map_or("nothing".to_owned(), |from| from.version.clone());
            format!("{}: {from} -> {} ({})", stage.name, stage.to.version, short(&stage.to.release))
        };
        Ok(plan.stages.iter().map(line).collect())
    })
}

/// A line for each run that deploys to the environment when the rollback is done, over what it restored.
fn later_lines(remote: &Remote, own: &RunDocument, environment: &str) -> Result<Vec<String>, CliError> {
    let body = OperatorBody::RunList { pipeline: Some(own.pipeline.clone()), limit: RUNS_SEARCHED_MAX };
    let mut runs = remote.read::<RunList>(body)?.document.runs;
    runs.retain(|run| run.run != own.run && Status::from_name(&run.status).is_some_and(|it| !it.is_done()));
    let mut lines = Vec::new();
    for run in runs.into_iter().rev() {
        let shown = remote.read::<RunDocument>(OperatorBody::RunShow { run: run.run })?.document;
        lines.extend(later_line(&shown, environment));
    }
    Ok(lines)
}

/// What a live run still does to an environment; nothing when it has been there.
fn later_line(run: &RunDocument, environment: &str) -> Option<String> {
    let waits = |status: &str| {
        matches!(
            Status::from_name(status),
            Some(Status::Queued | Status::Pending | Status::Waiting | Status::Blocked)
        )
    };
    let mut deploys = run.stages.iter().filter(|it| it.environment == environment && it.target.is_some());
    deploys.find(|stage| waits(&stage.status))?;
    let versions: Vec<_> = run.artifacts.iter().map(|artifact| artifact.version.as_str()).collect();
    let is = match Status::from_name(&run.status) {
        Some(Status::Queued) => "is queued behind it".to_owned(),
        Some(_) | None => format!("is {}", words(&run.status)),
    };
    Some(format!(
        "{} {is} and deploys {} afterwards; to stop that: trimaran cancel {0}",
        run.run,
        versions.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn from_names_a_version_a_state_or_both() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let from = |text: &str| super::from(&words(text)).map_err(|error| error.exit());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(from(""), Ok((None, None)));
        assert_eq!(from("v14"), Ok((None, some("v14"))));
        assert_eq!(from("last_checkpoint v14"), Ok((some("last_checkpoint"), some("v14"))));
        assert_eq!(from("savepoint last_checkpoint"), Err(2));
        assert_eq!(from("v14 v15"), Err(2));
    }

    #[test]
    fn what_deploys_after_a_rollback_is_named() {
        let mut run = samples::run("queued");
        run.stages.iter_mut().for_each(|stage| stage.status = "queued".to_owned());
        let line =
            "web#9 is queued behind it and deploys v10 afterwards; to stop that: trimaran cancel web#9";
        assert_eq!(later_line(&run, "prod").as_deref(), Some(line));
        let mut run = samples::run("running");
        run.stages[0].status = "running".to_owned();
        let line = "web#9 is running and deploys v10 afterwards; to stop that: trimaran cancel web#9";
        assert_eq!(later_line(&run, "prod").as_deref(), Some(line), "its stage of prod is pending");
        assert_eq!(later_line(&run, "staging"), None, "it works there already");
        run.stages[1].target = None;
        assert_eq!(later_line(&run, "prod"), None, "an approval deploys nothing");
    }
}
