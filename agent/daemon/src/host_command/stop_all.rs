//! `host stop-all`: the end of every service here, as before a shutdown of the machine.

use serde_json::json;
use trimaran_host::StopAllError;
use trimaran_model::reason::ReasonCode;

use super::HostOptions;
use super::output::{OutputForm, print, print_document};
use super::problem::Problem;

pub(super) async fn run(options: &HostOptions) -> Result<u8, Problem> {
    let settings = options.settings()?;
    match trimaran_host::stop_all(&settings.data_dir).await {
        Ok(ended) => {
            match options.output {
                OutputForm::Json => {
                    print_document(&json!({"schema": "trimaran.host_stop/v1", "ended": ended}))
                }
                OutputForm::Table => {
                    print(&format!("{ended} service{} stopped", if ended == 1 { "" } else { "s" }));
                }
            }
            Ok(0)
        }
        Err(StopAllError::Open(error)) => Err(error.into()),
        Err(StopAllError::Stop { failed }) => {
            for (id, failure) in failed {
                eprintln!("{id}: {}: {}", failure.code.as_str(), failure.message);
            }
            eprintln!("help: {}", ReasonCode::StopFailed.advice());
            Ok(3)
        }
        Err(error @ StopAllError::Removed { .. }) => {
            eprintln!("{error}");
            eprintln!("help: {}", ReasonCode::StopFailed.advice());
            Ok(3)
        }
    }
}
