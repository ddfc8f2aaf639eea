//! `host rollback SERVICE`: back to the last release that was verified here, without any download.

use trimaran_host::Host;
use trimaran_model::assignment::{HostAction, HostOrder, HostReport};
use trimaran_model::error_code;

use super::problem::Problem;
use super::{order, service};

/// Go back to the release before, from what is on this machine.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran-agent host rollback web --data-dir /var/lib/trimaran\n\nExits 0 when the earlier release is healthy, 3 when it is not, 5 for an unknown service."
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) options: super::HostOptions,
    /// The service: `web`, or `web@TARGET` where the host has several of the name.
    #[arg(value_name = "SERVICE")]
    service: String,
}

pub(super) async fn run(args: &Args) -> Result<u8, Problem> {
    let (host, mut reports) = Host::open(args.options.settings()?).await?;
    let result = rollback(args, &host, &mut reports).await;
    host.close().await;
    result
}

async fn rollback(
    args: &Args,
    host: &Host,
    reports: &mut tokio::sync::mpsc::Receiver<HostReport>,
) -> Result<u8, Problem> {
    let Some(id) = order::find(host, &args.service).await? else {
        return Err(service::unknown(&args.service));
    };
    let shown = order::inspected(host, &id).await?;
    let Some(earlier) = shown.rollback_target else {
        return Err(Problem::new(
            error_code::NOTHING_TO_ROLL_BACK,
            format!("{id} has nothing to go back to"),
        )
        .cause("No other release of it was ever verified on this host, or none is kept.")
        .help("deploy a release with `trimaran-agent host apply`"));
    };
    let digest = earlier.digest;
    let action = HostAction::Restore(HostOrder { digest, release: earlier.release });
    let shown = order::execute_order(host, reports, order::goal(&id, action)).await?;
    // A rollback that reverted again did not reach its target.
    Ok(order::conclude(&args.options, &shown, digest).await.min(3))
}
