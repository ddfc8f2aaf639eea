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

#[cfg(test)]
mod tests {
    use trimaran_wire::document::HistoryEntry;

    use super::*;
    use crate::samples;

    #[test]
    fn history_fits_any_terminal_with_causes_below_their_rows() {
        let entry = |run: &str, status: &str, cause: Option<&str>| HistoryEntry {
            run: run.to_owned(),
            kind: "deploy".to_owned(),
            environment: "staging".to_owned(),
            target: "lab-staging".to_owned(),
            release: "ef".repeat(32),
            version: "v3".to_owned(),
            status: status.to_owned(),
            started_at: Some(samples::START.to_owned()),
            finished_at: Some("2026-01-01T00:00:08.500Z".to_owned()),
            by: "operator/admin".to_owned(),
            cause: cause.map(str::to_owned),
            rolled_back_by: None,
        };
        let cause =
            "host-2: probe_failed: not healthy for 2s within 8s of its start: HTTP 404 (last of 38 probes)";
        let entries = vec![entry("web#2", "rolled_back", Some(cause)), entry("web#1", "succeeded", None)];
        let history = History { entries };
        insta::assert_snapshot!(samples::at_widths(|view| table(&history).text(view)));
    }
}
