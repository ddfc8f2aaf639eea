//! `trimaran run list|show`.

use clap_complete::engine::ArgValueCandidates;
use trimaran_wire::document::{RunDocument, RunList};
use trimaran_wire::v1::operator::OperatorBody;

use crate::bake;
use crate::error::CliError;
use crate::known_names::runs;
use crate::remote::Remote;
use crate::run_name::{resolve, with_newest};
use crate::ui::{Cell, Table, Ui, printable, run_lines};

/// Show runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran run list\n  trimaran run show web#12")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List runs, the newest first.
    #[command(after_help = "Examples:\n  trimaran run list\n  trimaran run list web --limit 10 -o json")]
    List {
        /// Only runs of this pipeline.
        pipeline: Option<String>,
        /// Show at most N.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: u32,
    },
    /// Show one run with its stages, and the instances that are not healthy.
    #[command(
        after_help = "Examples:\n  trimaran run show web#12\n  trimaran run show web#12 -o json\n  trimaran run show web#12 --stale\n  trimaran run show clicks --steps"
    )]
    Show {
        /// PIPELINE#N, or PIPELINE for its newest run
        #[arg(add = ArgValueCandidates::new(runs))]
        run: String,
        /// Also show what was sent to the platform, as commands that do the same by hand (Flink).
        #[arg(long)]
        steps: bool,
        /// Answer from what one coordinator has, also without a quorum; `as_of` says how old it is.
        #[arg(long)]
        stale: bool,
    },
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    match &args.verb {
        Verb::List { pipeline, limit } => {
            let body = OperatorBody::RunList { pipeline: pipeline.clone(), limit: *limit };
            remote.read::<RunList>(body)?.print(ui, |runs| ui.table(&list(runs)));
        }
        Verb::Show { run, steps, stale } => {
            let remote = remote.stale(*stale);
            let run = resolve(&remote, run)?.run;
            let answer = remote.read::<RunDocument>(OperatorBody::RunShow { run: run.clone() });
            let answer = answer.map_err(|error| with_newest(error, &run, &remote))?;
            answer.note_as_of(ui);
            answer.print(ui, |run| {
                let mut lines = run_lines(run, &ui.view());
                if let Ok(bake) = remote.block_on(bake::of_run(&remote, run)) {
                    lines.extend(bake::lines(&bake, ui));
                }
                if *steps {
                    lines.extend(step_lines(run));
                }
                ui.print(&lines.join("\n"));
            });
        }
    }
    Ok(0)
}

/// The commands of each stage, to be copied: never broken into lines.
fn step_lines(run: &RunDocument) -> Vec<String> {
    let mut lines = Vec::new();
    for stage in &run.stages {
        let steps = stage.instances.iter().flat_map(|instance| &instance.steps);
        let steps: Vec<String> = steps.map(|step| format!("  {}", printable(step))).collect();
        if !steps.is_empty() {
            lines.extend([String::new(), format!("{}, as commands:", stage.name)]);
            lines.extend(steps);
        }
    }
    lines
}

fn list(list: &RunList) -> Table {
    let mut table = Table::new(&["RUN", "KIND", "STATUS", "VERSION", "CREATED", "FINISHED", "BY"]);
    for run in &list.runs {
        let versions: Vec<_> = run.artifacts.iter().map(|artifact| artifact.version.clone()).collect();
        table.row([
            Cell::from(&run.run),
            Cell::from(&run.kind),
            Cell::Status(run.status.clone()),
            versions.join(", ").into(),
            Cell::Time(Some(run.created_at.clone())),
            Cell::Time(run.finished_at.clone()),
            Cell::from(&run.by),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_list_of_runs_fits_any_terminal() {
        let mut run = samples::rollback_of("web#9", "web#10", "");
        run.by = "operator/admin".to_owned();
        let runs = RunList { runs: vec![run] };
        insta::assert_snapshot!(samples::at_widths(|view| list(&runs).text(view)));
    }
}
