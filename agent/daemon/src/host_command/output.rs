//! Results: tables for people, documents for programs.

use std::io::Write as _;

use serde_json::{Value, json};
use trimaran_host_core::host::StoredRelease;
use trimaran_model::assignment::HostReport;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OutputForm {
    Table,
    Json,
}

/// One line on stdout. A reader that went away is no error.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

pub(super) fn print_document(document: &Value) {
    print(&serde_json::to_string_pretty(document).expect("a JSON value prints"));
}

/// One line of progress.
pub(super) fn progress_line(report: &HostReport) -> String {
    let code = report.code.map_or_else(String::new, |code| format!(" {}", code.as_str()));
    let message = match report.message.as_str() {
        "" => String::new(),
        message => format!(": {message}"),
    };
    format!("{}: {}{code}{message}", report.installation, report.state.as_str())
}

/// One installation as a command shows it.
pub(super) struct Shown<'a> {
    pub(super) report: &'a HostReport,
    pub(super) current: Option<&'a StoredRelease>,
    /// Where a rollback by hand would lead.
    pub(super) previous: Option<&'a StoredRelease>,
    pub(super) running: bool,
    /// What its probes say; `None` where none was asked.
    pub(super) probe: Option<&'a Result<(), String>>,
}

/// The document of one installation on its host.
pub(super) fn installation(shown: &Shown<'_>) -> Value {
    let mut document = outline(shown.report, shown.current);
    document["running"] = json!(shown.running);
    document["probe"] = match shown.probe {
        None => json!(null),
        Some(Ok(())) => json!("ok"),
        Some(Err(message)) => json!(message),
    };
    document["previous"] =
        json!(shown.previous.map(|stored| {
            json!({"release": stored.digest.to_string(), "version": stored.release.version})
        }));
    document
}

/// The fields that `installation list` has too, and what only the host knows.
pub(super) fn outline(report: &HostReport, current: Option<&StoredRelease>) -> Value {
    json!({
        "pipeline": report.installation.pipeline.as_str(),
        "target": report.installation.target.as_str(),
        "release": report.current.map(|digest| digest.to_string()),
        "version": current.map(|stored| stored.release.version.clone()),
        "sha256": current.map(|stored| {
            trimaran_host_core::host::host_release(&stored.release).bundle.sha256.to_string()
        }),
        "state": report.state.as_str(),
        "code": report.code.map(|code| code.as_str()),
        "message": report.message,
        "fence": report.fence.to_string(),
    })
}
