//! `trimaran logs RUN[/STAGE]`: what the instances wrote.

mod merge;

use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;
use trimaran_model::error_code;
use trimaran_model::id::Digest;
use trimaran_wire::document::{LogDocument, rfc3339};
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply};
use trimaran_wire::v1::runner::LogQuery;

use self::merge::{HostLine, Merge};
use crate::arguments::parse_duration;
use crate::error::CliError;
use crate::known_names::{hosts, runs};
use crate::remote::{Remote, client_error, next_reply};
use crate::run_name::{RunName, resolve};
use crate::ui::{OutputForm, Ui};

/// Hosts that an error names, each with why its lines are missing.
const NAMED_MAX: usize = 5;

/// Print stdout and stderr of a run's instances, in the order of time.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran logs web#12\n  trimaran logs web#12/prod/lab-prod --host host-4 --follow\n  trimaran logs web#12 --tail 20 -o jsonl"
)]
pub(crate) struct Args {
    /// PIPELINE#N, PIPELINE for its newest run, or PIPELINE#N/ENV/TARGET for one stage
    #[arg(value_name = "RUN[/STAGE]", add = ArgValueCandidates::new(runs))]
    run: String,
    /// Only this host, pod or other instance.
    #[arg(long, value_name = "HOST", add = ArgValueCandidates::new(hosts))]
    host: Option<String>,
    /// Of the process before the one that runs, where the platform keeps its output (Kubernetes).
    #[arg(long, conflicts_with = "follow")]
    previous: bool,
    /// Keep printing new lines.
    #[arg(long, short)]
    follow: bool,
    /// Only the last N lines of each host.
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Only lines newer than this.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    since: Option<Duration>,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?;
    let RunName { run, stage } = resolve(&remote, &args.run)?;
    let since_ms = args.since.map(|since| now_ms() - i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let query = LogQuery {
        pipeline: String::new(),
        target: String::new(),
        run: None,
        release: None,
        since_ms,
        tail: args.tail,
        follow: args.follow,
    };
    let (host, previous) = (args.host.clone(), args.previous);
    let body = OperatorBody::Logs { run, stage, host, previous, query };
    let mut printer = Printer::new(ui.form());
    let mut merge = Merge::new(args.follow);
    let mut missing = Vec::new();
    let code = remote.block_on(async {
        let mut replies = remote.client().stream(body).await.map_err(client_error)?;
        let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            let reply = tokio::select! {
                reply = next_reply(&mut replies) => reply?,
                _ = &mut interrupt => return Ok(130),
            };
            let Some(reply) = reply else { return Ok(0) };
            let OperatorReply::Logs(mut batch) = reply else { continue };
            if let Some(why) = batch.missing.take() {
                if args.follow {
                    ui.note(&format!("{}: {why}; its lines follow when it is back", batch.host));
                } else {
                    missing.push((batch.host.clone(), why));
                }
            }
            print(ui, &printer.lines(&merge.add(batch)));
        }
    });
    print(ui, &printer.lines(&merge.rest()));
    print(ui, &printer.end(code.is_err()));
    match code {
        Ok(0) if !missing.is_empty() => Err(incomplete(missing)),
        code => code,
    }
}

fn print(ui: &Ui, text: &str) {
    if !text.is_empty() {
        ui.print(text);
    }
}

/// What was printed is not everything.
fn incomplete(mut missing: Vec<(String, String)>) -> CliError {
    missing.sort();
    missing.dedup();
    let hosts = match missing.as_slice() {
        [(host, _)] => format!("host `{host}`"),
        more => format!("{} hosts", more.len()),
    };
    let named: Vec<_> = missing.iter().take(NAMED_MAX).map(|(host, why)| format!("{host}: {why}")).collect();
    let rest = match missing.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    CliError::new(error_code::LOGS_MISSING, format!("lines of {hosts} are missing"))
        .cause(format!("{}{rest}", named.join(", ")))
        .help("`trimaran runner list` shows which are connected; their output is kept on them, so ask again later")
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// What is printed of lines as they come: text, a JSON value a line, or one document whose list grows until the
/// end.
struct Printer {
    form: OutputForm,
    /// The head of the document is out.
    begun: bool,
    /// The list has a line.
    lines: bool,
}

impl Printer {
    fn new(form: OutputForm) -> Self {
        Self { form, begun: false, lines: false }
    }

    fn lines(&mut self, lines: &[HostLine]) -> String {
        let mut text = String::new();
        for HostLine { host, line } in lines {
            let at = rfc3339(trimaran_model::time::WallTime(line.at_ms));
            if self.form == OutputForm::Table {
                text.push_str(&format!("{at} {host} {}\n", crate::ui::printable(&line.line)));
                continue;
            }
            let stream = if line.stderr { "stderr" } else { "stdout" };
            let (host, stream) = (host.clone(), stream.to_owned());
            let release = line.release.map(|digest| Digest(digest).to_string());
            let document = LogDocument { at, host, stream, release, line: line.line.clone() };
            text.push_str(self.begin());
            let json = serde_json::to_string(&document).expect("plain data");
            // A JSON value is a YAML value too.
            text.push_str(match (self.form, std::mem::replace(&mut self.lines, true)) {
                (OutputForm::Json, true) => ",",
                (OutputForm::Yaml, true) => "- ",
                (OutputForm::Yaml, false) => "lines:\n- ",
                (OutputForm::Table | OutputForm::Json | OutputForm::Jsonl, _) => "",
            });
            text.push_str(&json);
            text.push('\n');
        }
        text
    }

    fn begin(&mut self) -> &'static str {
        match (self.form, std::mem::replace(&mut self.begun, true)) {
            (OutputForm::Json, false) => "{\"schema\":\"trimaran.logs/v1\",\"lines\":[\n",
            (OutputForm::Yaml, false) => "schema: trimaran.logs/v1\n",
            _ => "",
        }
    }

    /// The end of the document. One that failed before its first line is not begun.
    fn end(&mut self, failed: bool) -> String {
        if failed && !self.begun {
            return String::new();
        }
        let rest = match self.form {
            OutputForm::Json => "]}\n",
            OutputForm::Yaml if !self.lines => "lines: []\n",
            OutputForm::Yaml | OutputForm::Table | OutputForm::Jsonl => "",
        };
        format!("{}{rest}", self.begin())
    }
}

#[cfg(test)]
mod tests {
    use trimaran_wire::v1::runner::LogLine;

    use super::*;

    fn printed(form: OutputForm, batches: usize) -> String {
        let line = |line: &str| LogLine {
            at_ms: 1,
            stderr: false,
            release: Some([0xab; 32]),
            line: line.to_owned(),
        };
        let lines = vec![line("a: \"b\""), line("")];
        let lines: Vec<_> =
            lines.into_iter().map(|line| HostLine { host: "host-1".to_owned(), line }).collect();
        let mut printer = Printer::new(form);
        let mut text: String = (0..batches).map(|_| printer.lines(&lines)).collect();
        text.push_str(&printer.end(false));
        text
    }

    #[test]
    fn each_form_is_whole() {
        for batches in 0..3 {
            let document: serde_json::Value =
                serde_json::from_str(&printed(OutputForm::Json, batches)).expect("one document");
            assert_eq!(document["schema"], "trimaran.logs/v1");
            assert_eq!(document["lines"].as_array().map(Vec::len), Some(2 * batches));
            assert_eq!(printed(OutputForm::Jsonl, batches).lines().count(), 2 * batches);
            assert_eq!(printed(OutputForm::Table, batches).lines().count(), 2 * batches);
        }
        let at = "\"at\":\"1970-01-01T00:00:00.001Z\",\"host\":\"host-1\",\"stream\":\"stdout\"";
        let line = format!("- {{{at},\"release\":\"{}\",\"line\":", "ab".repeat(32));
        let yaml = printed(OutputForm::Yaml, 1);
        assert_eq!(
            yaml,
            format!("schema: trimaran.logs/v1\nlines:\n{line}\"a: \\\"b\\\"\"}}\n{line}\"\"}}\n")
        );
        assert_eq!(printed(OutputForm::Yaml, 0), "schema: trimaran.logs/v1\nlines: []\n");
        assert_eq!(Printer::new(OutputForm::Json).end(true), "", "an error is all that is said");
    }

    #[test]
    fn an_error_names_the_first_hosts_and_counts_the_others() {
        let away = |number: usize| (format!("host-{number}"), "its runner is not connected".to_owned());
        let one = incomplete(vec![away(3), away(3)]);
        assert_eq!(one.exit(), 9);
        assert_eq!(one.message, "lines of host `host-3` are missing");
        let many = incomplete((1..=7).map(away).collect());
        assert_eq!(many.message, "lines of 7 hosts are missing");
        let cause = many.more.cause.expect("a cause");
        assert!(cause.starts_with("host-1: its runner is not connected, host-2: "), "{cause}");
        assert!(cause.ends_with("host-5: its runner is not connected, and 2 more"), "{cause}");
    }
}
