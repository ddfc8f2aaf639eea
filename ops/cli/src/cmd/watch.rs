//! `trimaran watch RUN[/STAGE]`: follow a run as it moves.

use trimaran_model::event::EventPosition;
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply};

use super::why::split;
use crate::error::CliError;
use crate::follow::{Show, Wait, What, follow};
use crate::remote::{Remote, client_error, next_reply, parse_duration};
use crate::ui::{Global, OutputForm, print_text};

/// Follow a run, or one of its stages, until it is done; with `-o jsonl` print each event, with `-o json` the run at
/// its end.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran watch web#12\n  trimaran watch web#12/prod/lab-prod\n  trimaran watch -o jsonl --since-revision 120\n  trimaran watch -o jsonl --since-revision 120.2"
)]
pub(crate) struct Args {
    /// PIPELINE#N, or PIPELINE#N/ENV/TARGET for one stage; without it every event of the cluster is printed
    #[arg(value_name = "RUN[/STAGE]")]
    run: Option<String>,
    /// Resume after this revision, or after the event with this `position`.
    #[arg(long, value_name = "R[.N]")]
    since_revision: Option<EventPosition>,
    /// Stop watching after this time with exit code 7.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    timeout: Option<std::time::Duration>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let remote = Remote::new(global)?;
    let Some(run) = &args.run else { return everything(&remote, args) };
    let (run, stage) = split(run);
    let show = match global.output {
        OutputForm::Jsonl => Show::Events,
        OutputForm::Table | OutputForm::Json | OutputForm::Yaml => Show::Progress,
    };
    let (stage, wait, timeout) = (stage.as_deref(), Wait::Finished, args.timeout);
    let what = What { run: &run, stage, wait, timeout, show, since: args.since_revision };
    follow(&remote, global, &what)
}

/// Every event, until interrupted.
fn everything(remote: &Remote, args: &Args) -> Result<u8, CliError> {
    remote.block_on(async {
        let end = async {
            match args.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = events(remote, args.since_revision) => result.map(|()| 0),
            () = end => Ok(7),
            _ = tokio::signal::ctrl_c() => Ok(130),
        }
    })
}

async fn events(remote: &Remote, mut since: Option<EventPosition>) -> Result<(), CliError> {
    loop {
        let body = OperatorBody::Watch { run: None, since: since.map(Into::into) };
        let mut replies = remote.client().stream(body).await.map_err(client_error)?;
        while let Some(reply) = next_reply(&mut replies).await? {
            if let OperatorReply::Event { position, json } = reply {
                since = position.map(Into::into).or(since);
                print_text(&json);
            }
        }
    }
}
