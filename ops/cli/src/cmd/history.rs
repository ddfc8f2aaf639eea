//! `trimaran history PIPELINE`: what was deployed where, by whom, and how it ended.

use clap_complete::engine::ArgValueCandidates;
use trimaran_wire::document::{History, HistoryEntry};
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::known_names::pipelines;
use crate::remote::Remote;
use crate::ui::{Cell, Table, Ui};

/// Show what was deployed, when, by whom and how it ended.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran history web\n  trimaran history web --env prod")]
pub(crate) struct Args {
    /// The pipeline.
    #[arg(add = ArgValueCandidates::new(pipelines))]
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
        table.row_with_note(row, note(entry).as_deref());
    }
    table
}

/// Why it went back, and the state that its job began from.
fn note(entry: &HistoryEntry) -> Option<String> {
    let state = entry.state.as_ref().and_then(|state| {
        let path = state.path.as_deref()?;
        Some(format!("began from {} {path}", state.kind))
    });
    match (&entry.cause, state) {
        (Some(cause), Some(state)) => Some(format!("{cause}; {state}")),
        (cause, state) => cause.clone().or(state),
    }
}

#[cfg(test)]
mod tests {
    use trimaran_wire::document::StateDocument;

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
            state: None,
        };
        let cause =
            "host-2: probe_failed: not healthy for 2s within 8s of its start: HTTP 404 (last of 38 probes)";
        let entries = vec![entry("web#2", "rolled_back", Some(cause)), entry("web#1", "succeeded", None)];
        let history = History { entries };
        insta::assert_snapshot!(samples::at_widths(|view| table(&history).text(view)));
    }

    #[test]
    fn the_state_that_a_job_began_from_is_named() {
        let path = "file:/var/lib/flink/savepoints/clicks/7-1-1/savepoint-2c60a6-0a1b2c3d4e5f";
        let at = Some(samples::START.to_owned());
        let state = |kind: &str, path: Option<&str>| StateDocument {
            kind: kind.to_owned(),
            path: path.map(str::to_owned),
            at: at.clone(),
        };
        let mut entry = HistoryEntry {
            run: "clicks#7".to_owned(),
            kind: "deploy".to_owned(),
            environment: "prod".to_owned(),
            target: "streams".to_owned(),
            release: "ef".repeat(32),
            version: "v7".to_owned(),
            status: "succeeded".to_owned(),
            started_at: at.clone(),
            finished_at: at.clone(),
            by: "operator/admin".to_owned(),
            cause: None,
            rolled_back_by: None,
            state: Some(state("savepoint", Some(path))),
        };
        assert_eq!(note(&entry), Some(format!("began from savepoint {path}")));
        entry.cause = Some("it crashed".to_owned());
        assert_eq!(note(&entry), Some(format!("it crashed; began from savepoint {path}")));
        entry.state = Some(state("none", None));
        assert_eq!(note(&entry).as_deref(), Some("it crashed"));
    }
}
