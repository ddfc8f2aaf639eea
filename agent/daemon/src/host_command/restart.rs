//! `host restart SERVICE`: end what runs and start it again; a running runner does it itself.

use serde_json::json;
use trimaran_host::Host;
use trimaran_model::assignment::{HostAction, HostReport};

use super::local_socket::{self, Request};
use super::output::{OutputForm, print, print_document};
use super::problem::Problem;
use super::{order, service};

/// End what runs of a service and start it again, verified as a deploy is; also beside a running runner.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran-agent host restart web --data-dir /var/lib/trimaran\n\nExits 0 when the service is healthy again, 3 when it is not, 5 for an unknown service, 6 when nothing of it runs."
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) options: super::HostOptions,
    /// The service: `web`, or `web@TARGET` where the host has several of the name.
    #[arg(value_name = "SERVICE")]
    service: String,
}

pub(super) async fn run(args: &Args) -> Result<u8, Problem> {
    let settings = args.options.settings()?;
    let request = Request::Restart { service: args.service.clone() };
    if let Some(document) = local_socket::ask(&settings.data_dir, &request).await? {
        return Ok(conclude(args, &document["installations"][0]));
    }
    let (host, mut reports) = Host::open(settings).await?;
    let result = restart(args, &host, &mut reports).await;
    host.close().await;
    result
}

async fn restart(
    args: &Args,
    host: &Host,
    reports: &mut tokio::sync::mpsc::Receiver<HostReport>,
) -> Result<u8, Problem> {
    let Some(id) = order::find(host, &args.service).await? else {
        return Err(service::unknown(&args.service));
    };
    let Some(current) = order::inspected(host, &id).await?.report.current else {
        return Err(service::nothing_runs(&id));
    };
    let shown = order::execute_order(host, reports, order::goal(&id, HostAction::Restart)).await?;
    Ok(order::conclude(&args.options, &shown, current).await)
}

/// What the runner says of the service by now.
fn conclude(args: &Args, it: &serde_json::Value) -> u8 {
    let text = |key: &str| it[key].as_str().unwrap_or("-");
    match args.options.output {
        OutputForm::Json => print_document(&json!({"schema": "trimaran.host/v1", "installations": [it]})),
        OutputForm::Table if it["state"] == "healthy" => {
            print(&format!("{} {} is healthy", text("pipeline"), text("version")));
        }
        OutputForm::Table => {
            print(&format!("{} is {}: {}", text("pipeline"), text("state"), text("message")));
        }
    }
    if it["state"] == "healthy" { 0 } else { 3 }
}
