//! `trimaran rollback PIPELINE --env NAME`: back to the last good release, or to one that is named.

mod release;

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use trimaran_model::error_code;
use trimaran_model::run::Status;
use trimaran_wire::document::{History, PlanDocument, RunDocument, RunList, RunSummary, StatusDocument};
use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::RequestIdArg;
use crate::error::CliError;
use crate::follow::{WaitArgs, follow_started};
use crate::pipelines::with_nearest;
use crate::remote::Remote;
use crate::ui::{OutputForm, Ui, short};

/// Entries of the history among which a version or run is looked for.
const ENTRIES_SEARCHED_MAX: u32 = 500;
/// Newest runs of the pipeline among which queued ones are looked for.
const RUNS_SEARCHED_MAX: u32 = 100;

/// Roll back to an earlier release: the last good one unless another is named.
///
/// Twice in a row goes two releases back; `--from VERSION` guards against that: the command fails when something
/// else runs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran rollback web --env prod\n  trimaran rollback web --env prod --to v12\n  trimaran rollback web --env prod --to web#12 --from v14 --yes --wait"
)]
pub(crate) struct Args {
    /// The pipeline.
    pipeline: String,
    /// The environment to restore.
    #[arg(long = "env", value_name = "NAME")]
    environment: String,
    /// The release to restore: a version, the run that deployed it, or a digest (`trimaran history` shows them).
    #[arg(long, value_name = "VERSION|RUN|DIGEST")]
    to: Option<String>,
    /// Fail unless this version runs now.
    #[arg(long, value_name = "VERSION")]
    from: Option<String>,
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

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    let history = history(args, &remote)?;
    let release = |to: &str| release::find(&args.pipeline, &args.environment, to, &history.entries);
    let to = args.to.as_deref().map(release).transpose()?;
    if let Some(from) = &args.from {
        check_from(args, from, &remote)?;
    }
    if !args.yes {
        confirm(args, to.clone(), &remote)?;
    }
    let body = OperatorBody::Rollback {
        pipeline: args.pipeline.clone(),
        environment: args.environment.clone(),
        to,
        reason: args.reason.clone(),
    };
    let answer = remote.change::<RunDocument>(&args.request, body)?;
    if ui.form() == OutputForm::Table {
        note_queued(&remote, ui, &answer.document)?;
    }
    follow_started(&remote, ui, &args.wait, &answer)
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

/// Refuses when something else than `from` runs in the environment.
fn check_from(args: &Args, from: &str, remote: &Remote) -> Result<(), CliError> {
    let body = OperatorBody::Status { pipeline: Some(args.pipeline.clone()) };
    let status = remote.read::<StatusDocument>(body)?.document;
    let here = status.installations.iter().filter(|it| it.environment == args.environment);
    let other = here.into_iter().find(|it| it.version.as_deref() != Some(from));
    let Some(other) = other else { return Ok(()) };
    let runs = other.version.as_deref().unwrap_or("nothing");
    let message = format!("`{}` runs {runs} on {}, not {from}", args.pipeline, other.target);
    Err(CliError::new(error_code::NOT_WAITING, message)
        .cause("`--from` names the version that has to run now; another rollback or deploy was faster.")
        .help(format!(
            "check `trimaran status {}`, then roll back with the version that runs",
            args.pipeline
        )))
}

/// Shows what would happen and asks for the pipeline's name.
fn confirm(args: &Args, to: Option<String>, remote: &Remote) -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::new(
            error_code::CONFIRMATION,
            format!("rolling `{}` back needs a confirmation", args.pipeline),
        ));
    }
    let body = OperatorBody::RollbackPlan {
        pipeline: args.pipeline.clone(),
        environment: args.environment.clone(),
        to,
    };
    let plan = remote.read::<PlanDocument>(body)?.document;
    for stage in &plan.stages {
        let from = stage.from.as_ref().map_or("nothing".to_owned(), |from| from.version.clone());
        eprintln!("{}: {from} -> {} ({})", stage.name, stage.to.version, short(&stage.to.release));
    }
    eprint!("type `{}` to continue: ", args.pipeline);
    // A terminal that can't be written to can't be asked either; the read below then fails.
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == args.pipeline {
        return Ok(());
    }
    Err(CliError::new(error_code::CONFIRMATION, "not confirmed; nothing was changed")
        .cause("The answer was not the name that was asked for.")
        .help("type the pipeline's name, or add `--yes`"))
}

/// Runs that start when the rollback is done, and would deploy over it.
fn note_queued(remote: &Remote, ui: &Ui, run: &RunDocument) -> Result<(), CliError> {
    let body = OperatorBody::RunList { pipeline: Some(run.pipeline.clone()), limit: RUNS_SEARCHED_MAX };
    let runs = remote.read::<RunList>(body)?.document.runs;
    queued_lines(&run.run, &runs).iter().for_each(|line| ui.note(line));
    Ok(())
}

/// A line for each run that waits, in the order in which they start.
fn queued_lines(own: &str, runs: &[RunSummary]) -> Vec<String> {
    let waits = |run: &&RunSummary| {
        matches!(Status::from_name(&run.status), Some(Status::Queued | Status::Pending)) && run.run != own
    };
    let line = |run: &RunSummary| {
        let versions: Vec<_> = run.artifacts.iter().map(|artifact| artifact.version.as_str()).collect();
        let name = &run.run;
        format!(
            "{name} is queued behind it and deploys {} afterwards; to stop that: trimaran cancel {name}",
            versions.join(", ")
        )
    };
    runs.iter().rev().filter(waits).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn what_is_queued_behind_a_rollback_is_named() {
        let run = |name: &str, status: &str| {
            let mut run = samples::rollback_of("web#1", name, "");
            (run.status, run.artifacts) = (status.to_owned(), samples::run(status).artifacts);
            run
        };
        let runs = [run("web#31", "queued"), run("web#30", "queued"), run("web#29", "succeeded")];
        let lines = queued_lines("web#30", &runs);
        let line =
            "web#31 is queued behind it and deploys v10 afterwards; to stop that: trimaran cancel web#31";
        assert_eq!(lines, [line]);
    }
}
