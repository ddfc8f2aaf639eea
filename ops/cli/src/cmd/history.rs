//! `trimaran history PIPELINE`: what was deployed where, by whom, and how it ended.

use trimaran_wire::document::History;
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Global, cell, print_table};

/// Show what was deployed, when, by whom and how it ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran history web\n  trimaran history web --env prod")]
pub(crate) struct Args {
    /// The pipeline.
    pipeline: String,
    /// Only this environment.
    #[arg(long = "env", value_name = "NAME")]
    environment: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    limit: u32,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let body = OperatorBody::History {
        pipeline: args.pipeline.clone(),
        environment: args.environment.clone(),
        limit: args.limit,
    };
    Remote::new(global)?.read::<History>(body)?.print(global, table);
    Ok(0)
}

fn table(history: &History) {
    let rows = history.entries.iter().map(|entry| {
        vec![
            entry.run.clone(),
            entry.kind.clone(),
            entry.environment.clone(),
            entry.target.clone(),
            entry.version.clone(),
            entry.status.clone(),
            cell(entry.started_at.as_deref()),
            cell(entry.finished_at.as_deref()),
            entry.by.clone(),
            cell(entry.cause.as_deref()),
        ]
    });
    let head = ["RUN", "KIND", "ENV", "TARGET", "VERSION", "STATUS", "STARTED", "FINISHED", "BY", "CAUSE"];
    print_table(&head, rows.collect());
}
