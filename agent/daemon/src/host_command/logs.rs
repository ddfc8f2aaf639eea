//! `host logs SERVICE`: the output of a service, also beside a runner: files are read and nothing is locked.

use std::path::Path;

use serde_json::json;
use trimaran_model::id::InstallationId;
use trimaran_wire::v1::runner::{LogLine, LogQuery};

use super::output::{OutputForm, print};
use super::problem::Problem;
use super::service;

/// Show the output of a service on this machine.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran-agent host logs web --data-dir /var/lib/trimaran\n  trimaran-agent host logs web --tail 20 --data-dir /var/lib/trimaran"
)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) options: super::HostOptions,
    /// The service: `web`, or `web@TARGET` where the host has several of the name.
    #[arg(value_name = "SERVICE")]
    service: String,
    /// The last lines only.
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
}

pub(super) async fn run(args: &Args) -> Result<u8, Problem> {
    let data_dir = args.options.settings()?.data_dir;
    let known = match data_dir.join("services").is_dir() {
        true => trimaran_host::installations(&data_dir)?,
        false => Vec::new(),
    };
    let Some(id) = service::choose(known, &args.service)? else {
        return Err(service::unknown(&args.service));
    };
    let mut lines = open(&data_dir, &id, args.tail);
    while let Some(batch) = lines.next().await {
        batch.iter().for_each(|line| print(&written(line, args.options.output)));
    }
    Ok(0)
}

fn written(line: &LogLine, form: OutputForm) -> String {
    let stream = if line.stderr { "stderr" } else { "stdout" };
    match form {
        OutputForm::Table => printable(&line.line),
        OutputForm::Json => json!({"at_ms": line.at_ms, "stream": stream, "line": line.line}).to_string(),
    }
}

fn open(data_dir: &Path, id: &InstallationId, tail: Option<u32>) -> trimaran_host::logs::Reader {
    let query = LogQuery {
        pipeline: id.pipeline.to_string(),
        target: id.target.to_string(),
        run: None,
        release: None,
        since_ms: None,
        tail,
        follow: false,
    };
    trimaran_host::logs::open(&trimaran_host::output_files(data_dir, id).0, &query)
}

/// A service's output must not control the terminal of who reads it.
fn printable(line: &str) -> String {
    let shown = |it: char| {
        if it.is_control() && it != '\t' { it.escape_default().to_string() } else { it.to_string() }
    };
    line.chars().map(shown).collect()
}

/// Lines that are shown with a failure.
const TAIL: u32 = 10;

/// Shows the end of a failed service's output on stderr, where the rest is, and the command that prints it.
pub(super) async fn print_place(data_dir: &Path, id: &InstallationId) {
    let (_, Some(newest)) = trimaran_host::output_files(data_dir, id) else { return };
    let mut lines = open(data_dir, id, Some(TAIL));
    eprintln!("output: {}, its last lines:", newest.display());
    while let Some(batch) = lines.next().await {
        batch.iter().for_each(|line| eprintln!("  {}", printable(&line.line)));
    }
    let service = format!("{}@{}", id.pipeline, id.target);
    eprintln!("more: trimaran-agent host logs {service} --data-dir {}", data_dir.display());
}
