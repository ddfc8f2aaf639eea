//! `trimaran history PIPELINE`: what was deployed where, by whom, and how it ended.

use trimaran_wire::document::History;
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Cell, Table, Ui};

/// Show what was deployed, when, by whom and how it ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran history web\n  trimaran history web --env prod")]
pub(crate) struct Args {
    /// The pipeline.
    pipeline: String,
    /// Only this environment.
    #[arg(long = "env", value_name = "NAME")]
    environment: Option<String>,
    /// Show at most N.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let body = OperatorBody::History {
        pipeline: args.pipeline.clone(),
        environment: args.environment.clone(),
        limit: args.limit,
    };
    Remote::new(ui)?.read::<History>(body)?.print(ui, |history| ui.table(&table(history)));
    Ok(0)
}

fn table(history: &History) -> Table {
    let head = ["RUN", "KIND", "ENV", "TARGET", "VERSION", "STATUS", "STARTED", "FINISHED", "BY"];
    let mut table = Table::with_note(&head, "CAUSE");
    for entry in &history.entries {
        let row = [
            Cell::from(&entry.run),
            Cell::from(&entry.kind),
            Cell::from(&entry.environment),
            Cell::from(&entry.target),
            Cell::from(&entry.version),
            Cell::Status(entry.status.clone()),
            Cell::Time(entry.started_at.clone()),
            Cell::Time(entry.finished_at.clone()),
            Cell::from(&entry.by),
        ];
        table.row_with_note(row, entry.cause.as_deref());
    }
    table
}
