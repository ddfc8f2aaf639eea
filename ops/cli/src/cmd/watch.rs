//! `trimaran watch RUN[/STAGE]`: follow a run as it moves.

use clap_complete::engine::ArgValueCandidates;
use trimaran_model::event::EventPosition;
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply};

use crate::arguments::parse_duration;
use crate::error::CliError;
use crate::follow::{Show, Wait, What, follow};
use crate::known_names::runs;
use crate::remote::{Remote, client_error, next_reply};
use crate::run_name::{RunName, resolve};
use crate::ui::{OutputForm, Ui};

/// Follow a run, or one of its stages, until it is done; with `-o jsonl` print each event, with `-o json` the run at
/// its end.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran watch web#12\n  trimaran watch web#12/prod/lab-prod\n  trimaran watch -o jsonl --since-revision 120\n  trimaran watch -o jsonl --since-revision 120.2"
)]
pub(crate) struct Args {
    /// PIPELINE#N, PIPELINE for its newest run, or PIPELINE#N/ENV/TARGET for one stage; without it every new event of
    /// the cluster is printed
    #[arg(value_name = "RUN[/STAGE]", add = ArgValueCandidates::new(runs))]
    run: Option<String>,
    /// Resume after this revision, or after the event with this `position`.
    #[arg(long, value_name = "R[.N]")]
    since_revision: Option<EventPosition>,
    /// Stop watching after this time with exit code 7.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    timeout: Option<std::time::Duration>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    let Some(run) = &args.run else { return everything(&remote, args, ui) };
    let RunName { run, stage } = resolve(&remote, run)?;
    let show = match ui.form() {
        OutputForm::Jsonl => Show::Events,
        OutputForm::Table | OutputForm::Json | OutputForm::Yaml => Show::Progress,
    };
    let (stage, wait, timeout) = (stage.as_deref(), Wait::Finished, args.timeout);
    let what = What { run: &run, stage, wait, timeout, show, since: args.since_revision };
    follow(&remote, ui, &what)
}

/// Every event, until interrupted.
fn everything(remote: &Remote, args: &Args, ui: &Ui) -> Result<u8, CliError> {
    if ui.stdout.is_terminal {
        ui.note("waiting for new events of the cluster; Ctrl-C ends");
    }
    remote.block_on(async {
        let end = async {
            match args.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = events(remote, args.since_revision, ui) => result.map(|()| 0),
            () = end => Ok(7),
            _ = tokio::signal::ctrl_c() => Ok(130),
        }
    })
}

async fn events(remote: &Remote, mut since: Option<EventPosition>, ui: &Ui) -> Result<(), CliError> {
    loop {
        let body = OperatorBody::Watch { run: None, since: since.map(Into::into) };
        let mut replies = remote.client().stream(body).await.map_err(client_error)?;
        while let Some(reply) = next_reply(&mut replies).await? {
            if let OperatorReply::Event { position, json } = reply {
                since = position.map(Into::into).or(since);
                ui.print(&json);
            }
        }
    }
}
