//! `host status`: what is on this machine and how it is. It starts nothing and removes nothing of a release; what a
//! dead service left running is ended, as by a runner that starts.

use serde_json::json;
use trimaran_host::Inspection;

use trimaran_model::assignment::HostState;

use super::HostOptions;
use super::logs;
use super::output::{OutputForm, installation, print, print_document};
use super::problem::Problem;

pub(super) async fn run(options: &HostOptions) -> Result<u8, Problem> {
    let settings = options.settings()?;
    let found = trimaran_host::inspect(&settings.data_dir, settings.address).await?;
    match options.output {
        OutputForm::Json => {
            let all: Vec<_> = found.iter().map(document).collect();
            print_document(&json!({"schema": "trimaran.host/v1", "installations": all}));
        }
        OutputForm::Table if found.is_empty() => print("nothing is deployed here"),
        OutputForm::Table => {
            print(&table(&found));
            for it in found.iter().filter(|it| !it.running && it.report.state != HostState::Stopped) {
                logs::print_place(&settings.data_dir, &it.installation).await;
            }
        }
    }
    Ok(0)
}

fn document(it: &Inspection) -> serde_json::Value {
    let mut document = installation(&it.report, it.current.as_ref());
    document["running"] = json!(it.running);
    document["probe"] = match &it.probe {
        None => json!(null),
        Some(Ok(())) => json!("ok"),
        Some(Err(message)) => json!(message),
    };
    document["previous"] =
        json!(it.rollback_target.as_ref().map(|stored| {
            json!({"release": stored.digest.to_string(), "version": stored.release.version})
        }));
    document
}

fn table(found: &[Inspection]) -> String {
    let mut rows = vec![["SERVICE", "TARGET", "VERSION", "STATE", "PROBE", "PREVIOUS"].map(str::to_owned)];
    for it in found {
        let version = |stored: &Option<trimaran_host_core::host::StoredRelease>| {
            stored.as_ref().map_or_else(|| "-".to_owned(), |stored| stored.release.version.clone())
        };
        let probe = match &it.probe {
            None if it.running => "-".to_owned(),
            None => "not running".to_owned(),
            Some(Ok(())) => "ok".to_owned(),
            Some(Err(message)) => message.clone(),
        };
        rows.push([
            it.installation.pipeline.to_string(),
            it.installation.target.to_string(),
            version(&it.current),
            it.report.state.as_str().to_owned(),
            probe,
            version(&it.rollback_target),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<_> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
