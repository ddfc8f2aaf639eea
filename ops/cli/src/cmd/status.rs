//! `trimaran status` and `trimaran installation list|show`: what runs where. `installation adopt|reapply` are beside this.

mod decide;

use clap_complete::engine::ArgValueCandidates;
use serde_json::Value;
use trimaran_model::error_code;
use trimaran_model::run::Status;
use trimaran_wire::document::{
    InstallationDocument, RunDocument, RunList, RunSummary, StageDocument, StatusDocument,
};
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::known_names::pipelines;
use crate::remote::{Answer, Remote};
use crate::ui::{Cell, OutputForm, Table, Ui, View, printable, words};

/// Newest runs among which live ones are looked for.
const RUNS_SEARCHED_MAX: u32 = 200;
/// Live runs that are named.
const LIVE_RUNS_SHOWN_MAX: usize = 20;

/// Show what runs where, since when and how well.
///
/// READY counts the hosts that serve, on whatever release. RUN is the run in progress, with its status; else the one
/// that brought the release, by deploying it or by rolling back to it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran status\n  trimaran status web -o json\n  trimaran status --stale"
)]
pub(crate) struct Args {
    /// Only this pipeline.
    #[arg(add = ArgValueCandidates::new(pipelines))]
    pipeline: Option<String>,
    /// Answer from what one coordinator has, also without a quorum; `as_of` says how old it is.
    #[arg(long)]
    stale: bool,
}

/// Installations: one pipeline on one target each.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran installation list web -o json\n  trimaran installation show web/lab-prod\n  trimaran installation adopt web/prod/lab-prod"
)]
pub(crate) struct InstallationArgs {
    #[command(subcommand)]
    verb: InstallationVerb,
}

#[derive(Debug, clap::Subcommand)]
enum InstallationVerb {
    /// List them: the same as `trimaran status`.
    List(Args),
    /// Show one, with the reason when it is not healthy.
    #[command(
        after_help = "Examples:\n  trimaran installation show web/lab-prod\n  trimaran installation show web/prod/lab-prod -o json"
    )]
    Show {
        /// `PIPELINE/TARGET` or `PIPELINE/ENV/TARGET`.
        name: String,
    },
    /// After a restore from a backup: what runs is right.
    ///
    /// The hosts are asked what they run, which may be newer than what the cluster knows. A run takes it over without a
    /// change where it runs already. Refused when hosts have different releases.
    #[command(
        after_help = "Examples:\n  trimaran installation adopt web/prod/lab-prod\n  trimaran installation adopt web/prod/lab-prod --wait"
    )]
    Adopt(decide::Args),
    /// After a restore from a backup: what the cluster knows is right, and a run brings it back.
    #[command(
        after_help = "Examples:\n  trimaran installation reapply web/prod/lab-prod\n  trimaran installation reapply web/prod/lab-prod --wait"
    )]
    Reapply(decide::Args),
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?.stale(args.stale);
    let answer = remote.read::<StatusDocument>(OperatorBody::Status { pipeline: args.pipeline.clone() })?;
    answer.note_as_of(ui);
    print(&answer, args.pipeline.clone(), &remote, ui)?;
    Ok(0)
}

pub(crate) fn installation(args: &InstallationArgs, ui: &Ui) -> Result<u8, CliError> {
    match &args.verb {
        InstallationVerb::List(args) => run(args, ui),
        InstallationVerb::Show { name } => show(name, ui),
        InstallationVerb::Adopt(args) => decide::run(args, decide::Right::WhatRuns, ui),
        InstallationVerb::Reapply(args) => decide::run(args, decide::Right::WhatIsKnown, ui),
    }
}

/// Prints installations, for people with the runs that are at work on them.
fn print(
    answer: &Answer<StatusDocument>,
    pipeline: Option<String>,
    remote: &Remote,
    ui: &Ui,
) -> Result<(), CliError> {
    let runs = match ui.form() {
        OutputForm::Table => live_runs(pipeline, remote)?,
        OutputForm::Json | OutputForm::Jsonl | OutputForm::Yaml => Vec::new(),
    };
    answer.print(ui, |status| ui.print(&text(status, &runs, &ui.view())));
    Ok(())
}

/// Runs that are not done, the newest first, with their stages.
fn live_runs(pipeline: Option<String>, remote: &Remote) -> Result<Vec<RunDocument>, CliError> {
    let body = OperatorBody::RunList { pipeline, limit: RUNS_SEARCHED_MAX };
    let mut runs = remote.read::<RunList>(body)?.document.runs;
    runs.retain(|run| Status::from_name(&run.status).is_some_and(|status| !status.is_done()));
    runs.truncate(LIVE_RUNS_SHOWN_MAX);
    let show =
        |run: RunSummary| Ok(remote.read::<RunDocument>(OperatorBody::RunShow { run: run.run })?.document);
    runs.into_iter().map(show).collect()
}

fn show(name: &str, ui: &Ui) -> Result<u8, CliError> {
    let wanted = Wanted::parse(name)?;
    let remote = Remote::new(ui)?;
    let body = OperatorBody::Status { pipeline: Some(wanted.pipeline.to_owned()) };
    let mut answer = remote.read::<StatusDocument>(body)?;
    answer.document.installations.retain(|it| wanted.is(&it.environment, &it.target));
    if answer.document.installations.is_empty() {
        let why = format!("nothing was ever deployed as `{name}`");
        return Err(CliError::new(error_code::NOT_FOUND, why).help("`trimaran installation list` shows them"));
    }
    // The same as in the document, in the JSON with fields that this build may not know.
    if let Some(Value::Array(list)) = answer.json.get_mut("installations") {
        list.retain(|it| {
            let field = |name| it.get(name).and_then(Value::as_str).unwrap_or_default();
            wanted.is(field("environment"), field("target"))
        });
    }
    print(&answer, Some(wanted.pipeline.to_owned()), &remote, ui)?;
    Ok(0)
}

/// An installation by its name.
#[derive(Debug, PartialEq, Eq)]
struct Wanted<'a> {
    pipeline: &'a str,
    environment: Option<&'a str>,
    target: &'a str,
}

impl<'a> Wanted<'a> {
    fn parse(name: &'a str) -> Result<Self, CliError> {
        let parts: Vec<_> = name.split('/').collect();
        match *parts {
            [pipeline, target] => Ok(Self { pipeline, environment: None, target }),
            [pipeline, environment, target] => Ok(Self { pipeline, environment: Some(environment), target }),
            _ => {
                let why = format!("`{name}` is not an installation; write PIPELINE/TARGET");
                Err(CliError::new(error_code::USAGE, why).help("`trimaran installation list` shows them"))
            }
        }
    }

    fn is(&self, environment: &str, target: &str) -> bool {
        target == self.target && self.environment.is_none_or(|wanted| wanted == environment)
    }
}

/// What needs a word more than its row has.
fn text(status: &StatusDocument, runs: &[RunDocument], view: &View) -> String {
    if status.installations.is_empty() && runs.is_empty() {
        return "nothing is deployed yet; `trimaran deploy -f trimaran.yaml --artifact NAME=VERSION` starts a run"
            .to_owned();
    }
    let table = table(status, runs);
    let mut lines = vec![table.text(view)];
    for it in &status.installations {
        let place = format!("{} {}/{}", it.pipeline, it.environment, it.target);
        if let (Some(code), Some(message)) = (&it.code, &it.message) {
            lines.extend(view.wrap("", "  ", &format!("{place}: {code}: {}", printable(message))));
        }
        if let Some(until) = &it.bakes_until {
            let (version, remaining) = (it.version.as_deref().unwrap_or("-"), view.remaining(until));
            lines.push(format!("{place}: {version} bakes {remaining}"));
        }
    }
    let shows_runs = table.shows("RUN", view);
    for run in runs {
        match is_stuck(run) {
            true => lines.push(format!("{} is {}: trimaran why {0}", run.run, words(&run.status))),
            false if shows_runs => {}
            false => lines.push(format!("{} is {}: trimaran watch {0}", run.run, words(&run.status))),
        }
    }
    lines.join("\n")
}

/// A live run that does not move.
fn is_stuck(run: &RunDocument) -> bool {
    matches!(
        Status::from_name(&run.status),
        Some(Status::Waiting | Status::Blocked | Status::Queued | Status::Lost | Status::Broken)
    )
}

fn table(status: &StatusDocument, runs: &[RunDocument]) -> Table {
    let head = ["PIPELINE", "ENV", "TARGET", "VERSION", "HEALTH", "READY", "RUN", "SINCE"];
    let mut table = Table::new(&head);
    for it in &status.installations {
        table.row([
            Cell::from(&it.pipeline),
            Cell::from(&it.environment),
            Cell::from(&it.target),
            Cell::maybe(it.version.as_deref()),
            Cell::Status(it.health.clone()),
            format!("{}/{}", it.ready, it.desired).into(),
            run_of(it, runs).into(),
            Cell::Time(it.since.clone()),
        ]);
    }
    table
}

/// The run in progress where there is one: that is what the next question is about. Else the run that deployed the
/// release.
fn run_of(it: &InstallationDocument, runs: &[RunDocument]) -> String {
    let works_here = |run: &&RunDocument| {
        let here = |stage: &&StageDocument| {
            stage.environment == it.environment && stage.target.as_ref() == Some(&it.target)
        };
        let stage = run.stages.iter().find(here).filter(|_| run.pipeline == it.pipeline);
        stage.and_then(|stage| Status::from_name(&stage.status)).is_some_and(has_begun)
    };
    match (runs.iter().find(works_here), &it.run) {
        (Some(run), _) => format!("{} ({})", run.run, words(&run.status)),
        (None, Some(run)) if it.by_rollback => format!("{run} (by rollback)"),
        (None, Some(run)) => run.clone(),
        (None, None) => "-".to_owned(),
    }
}

/// Neither done nor waiting for its turn in the queue of the pipeline or behind another environment.
fn has_begun(status: Status) -> bool {
    !status.is_done() && status != Status::Queued && status != Status::Pending
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn status_fits_any_terminal_and_names_the_run_in_progress() {
        let mut staging = samples::installation("staging", "lab-staging");
        staging.bakes_until = Some("2026-01-01T00:09:30.000Z".to_owned());
        let mut prod = samples::installation("prod", "lab-prod");
        (prod.health, prod.ready) = ("degraded".to_owned(), 3);
        prod.code = Some("host_not_connected".to_owned());
        prod.message = Some("host-4: the host's runner is not connected to its agent".to_owned());
        let mut restored = samples::installation("edge", "lab-edge");
        restored.by_rollback = true;
        let mut run = RunDocument { run: "web#10".to_owned(), ..samples::run("waiting") };
        run.stages[1].status = "waiting".to_owned();
        let mut queued = RunDocument { run: "web#11".to_owned(), ..samples::run("queued") };
        queued.stages.iter_mut().for_each(|stage| stage.status = "queued".to_owned());
        let status = StatusDocument { installations: vec![prod, staging, restored] };
        let mut running = RunDocument { run: "web#12".to_owned(), ..samples::run("running") };
        running.stages[0].target = Some("lab-canary".to_owned());
        running.stages[0].status = "running".to_owned();
        let runs = [running, queued, run];
        insta::assert_snapshot!(samples::at_widths(|view| text(&status, &runs, view)));
        let nothing = StatusDocument { installations: Vec::new() };
        assert!(text(&nothing, &[], &View::terminal(60)).starts_with("nothing is deployed yet"));
    }

    #[test]
    fn an_installation_is_named_by_pipeline_and_target() {
        let short = Wanted::parse("web/lab-prod").expect("a name");
        assert!(short.is("prod", "lab-prod") && !short.is("prod", "lab-staging"));
        let long = Wanted::parse("web/prod/lab-prod").expect("a name");
        assert!(long.is("prod", "lab-prod") && !long.is("staging", "lab-prod"));
        for bad in ["web", "", "a/b/c/d"] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
    }
}
