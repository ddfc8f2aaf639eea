//! `host status`: what is on this machine and how it is. Changes nothing. Beside a running runner it shows what that
//! knows.

use serde_json::{Value, json};
use trimaran_host::Inspection;

use super::HostOptions;
use super::local_socket::{self, Request};
use super::logs;
use super::output::{OutputForm, Shown, installation, print, print_document};
use super::problem::Problem;

pub(super) async fn run(options: &HostOptions) -> Result<u8, Problem> {
    let settings = options.settings()?;
    let found = match local_socket::ask(&settings.data_dir, &Request::Status).await? {
        Some(document) => document["installations"].as_array().cloned().unwrap_or_default(),
        None => {
            let found = trimaran_host::inspect(&settings.data_dir, settings.address).await?;
            found.iter().map(document).collect()
        }
    };
    match options.output {
        OutputForm::Json => {
            print_document(&json!({"schema": "trimaran.host/v1", "installations": found}));
        }
        OutputForm::Table if found.is_empty() => print("nothing is deployed here"),
        OutputForm::Table => {
            print(&table(&found));
            for it in found.iter().filter(|it| it["running"] == false && it["state"] != "stopped") {
                if let Some(id) = super::service::id_of(it) {
                    logs::print_place(&settings.data_dir, &id).await;
                }
            }
        }
    }
    Ok(0)
}

fn document(it: &Inspection) -> Value {
    installation(&Shown {
        report: &it.report,
        current: it.current.as_ref(),
        previous: it.rollback_target.as_ref(),
        running: it.running,
        probe: it.probe.as_ref(),
    })
}

fn table(found: &[Value]) -> String {
    let mut rows = vec![["SERVICE", "TARGET", "VERSION", "STATE", "PROBE", "PREVIOUS"].map(str::to_owned)];
    for it in found {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let probe = match it["running"] == true {
            true => text(&it["probe"]),
            false => "not running".to_owned(),
        };
        rows.push([
            text(&it["pipeline"]),
            text(&it["target"]),
            text(&it["version"]),
            text(&it["state"]),
            probe,
            text(&it["previous"]["version"]),
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
