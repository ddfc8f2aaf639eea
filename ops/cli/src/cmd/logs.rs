//! `trimaran logs RUN[/STAGE]`: what the instances wrote.

use std::time::Duration;

use trimaran_wire::document::{LogDocument, rfc3339};
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply};
use trimaran_wire::v1::runner::{LogLines, LogQuery};

use super::why::split;
use crate::error::CliError;
use crate::remote::{Remote, client_error, next_reply, parse_duration};
use crate::ui::{Global, OutputForm, print_text};

/// Print stdout and stderr of a run's instances.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran logs web#12\n  trimaran logs web#12/prod/lab-prod --host host-4 --follow\n  trimaran logs web#12 --tail 20 -o jsonl"
)]
pub(crate) struct Args {
    /// PIPELINE#N, or PIPELINE#N/ENV/TARGET for one stage
    #[arg(value_name = "RUN[/STAGE]")]
    run: String,
    /// Only this host.
    #[arg(long, value_name = "H")]
    host: Option<String>,
    /// Go on with lines as they come.
    #[arg(long, short)]
    follow: bool,
    /// Only the last N lines of each host.
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Only lines of this last time.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    since: Option<Duration>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<u8, CliError> {
    let (run, stage) = split(&args.run);
    let since_ms = args.since.map(|since| now_ms() - i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let query = LogQuery {
        pipeline: String::new(),
        target: String::new(),
        run: None,
        since_ms,
        tail: args.tail,
        follow: args.follow,
    };
    let body = OperatorBody::Logs { run, stage, host: args.host.clone(), query };
    let remote = Remote::new(global)?;
    remote.block_on(async {
        let mut replies = remote.client().stream(body).await.map_err(client_error)?;
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let reply = tokio::select! {
                reply = next_reply(&mut replies) => reply?,
                _ = &mut interrupt => return Ok(130),
            };
            match reply {
                None => return Ok(0),
                Some(OperatorReply::Logs(lines)) => print(&lines, global.output),
                Some(_) => {}
            }
        }
    })
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn print(batch: &LogLines, form: OutputForm) {
    for line in &batch.lines {
        let at = rfc3339(trimaran_model::time::Wall(line.at_ms));
        let stream = if line.stderr { "stderr" } else { "stdout" };
        match form {
            OutputForm::Table => {
                print_text(&format!("{at} {} {}", batch.host, crate::ui::printable(&line.line)))
            }
            OutputForm::Json | OutputForm::Jsonl | OutputForm::Yaml => {
                let document = LogDocument {
                    at,
                    host: batch.host.clone(),
                    stream: stream.to_owned(),
                    line: line.line.clone(),
                };
                print_text(&serde_json::to_string(&document).expect("plain data"));
            }
        }
    }
}
