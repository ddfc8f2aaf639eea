//! `host stop-all`: the end of every service here, as before a shutdown of the machine.

use serde_json::json;
use trimaran_host::StopAllError;
use trimaran_model::reason::ReasonCode;

use super::output::{OutputForm, print, print_document};
use super::problem::Problem;

/// End every service of the directory; they run again when its runner starts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  trimaran-agent host stop-all --data-dir /var/lib/trimaran")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) place: super::Place,
}

pub(super) async fn run(args: &Args) -> Result<u8, Problem> {
    let settings = args.place.settings()?;
    match trimaran_host::stop_all(&settings.data_dir).await {
        Ok(ended) => {
            match args.place.output {
                OutputForm::Json => {
                    print_document(&json!({"schema": "trimaran.host_stop/v1", "ended": ended}))
                }
                OutputForm::Table => print(&format!("{ended} services ended")),
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
    }
}
