//! `trimaran run list|show`.

use trimaran_wire::document::{RunDocument, RunList};
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Global, cell, paint, print_table, print_text, run_lines};

/// Look at runs.
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
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Show one run with its stages and instances.
    #[command(after_help = "Examples:\n  trimaran run show web#12\n  trimaran run show web#12 -o json")]
    Show {
        /// PIPELINE#N
        run: String,
    },
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    match &args.verb {
        Verb::List { pipeline, limit } => {
            let body = OperatorBody::RunList { pipeline: pipeline.clone(), limit: *limit };
            remote.read::<RunList>(body)?.print(global, list);
        }
        Verb::Show { run } => {
            let answer = remote.read::<RunDocument>(OperatorBody::RunShow { run: run.clone() })?;
            answer.print(global, |run| {
                print_text(&run_lines(run, &|status, text| paint(status, text)).join("\n"))
            });
        }
    }
    Ok(0)
}

fn list(list: &RunList) {
    let rows = list.runs.iter().map(|run| {
        let versions: Vec<_> = run.artifacts.iter().map(|artifact| artifact.version.clone()).collect();
        vec![
            run.run.clone(),
            run.kind.clone(),
            run.status.clone(),
            versions.join(", "),
            run.created_at.clone(),
            cell(run.finished_at.as_deref()),
            run.by.clone(),
        ]
    });
    print_table(&["RUN", "KIND", "STATUS", "VERSION", "CREATED", "FINISHED", "BY"], rows.collect());
}
