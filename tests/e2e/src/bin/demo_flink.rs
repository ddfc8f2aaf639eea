//! `make demo-flink`: a stateful job on a real Flink cluster, on loopback, with a summary at its end.
//!
//! v1 goes out and is upgraded to v2 with its state; a version that can't read the state and a version that crashes over and
//! over while it makes progress both go back automatically. At the end every record in the sink is counted, and the time
//! in which the job processed nothing is shown for each step. Ends with 1 when anything is not so.
#![allow(clippy::disallowed_methods, reason = "a demo starts processes and reads clocks")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::clicks::{Clicks, Shape, installation, newest};
use trimaran_e2e::lab::Lab;
use trimaran_test_env::flink::{FlinkCluster, SinkWatch};

const VERSION: &str = "2.3.0";
const RUN_MAX: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let began = Instant::now();
    let report = Story::begin().play();
    report.print(began.elapsed());
    if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Story {
    lab: Lab,
    clicks: Clicks,
    report: Report,
    /// Ends last: the lab's agent talks to it.
    _cluster: FlinkCluster,
}

#[derive(Default)]
struct Report {
    steps: Vec<Step>,
    why: Vec<(String, String)>,
    records: u64,
    missing: usize,
    problems: Vec<String>,
}

struct Step {
    run: String,
    version: String,
    status: String,
    took: Duration,
    /// For how long the sink got nothing.
    gap: Duration,
    repeated: u64,
    /// What the job that runs afterwards began from.
    state: String,
}

impl Story {
    fn begin() -> Self {
        say(&format!("starting Flink {VERSION}: one JobManager, two TaskManagers"));
        let cluster = FlinkCluster::start(VERSION, false);
        say("starting a coordinator and an agent");
        let lab = Lab::start(1, "127.0.2");
        let clicks = Clicks::new(&lab, &cluster, &Shape::default());
        Self { lab, clicks, report: Report::default(), _cluster: cluster }
    }

    fn play(mut self) -> Report {
        say("v1 goes out; it counts 200 records a second by key and writes each to a file");
        self.step("v1", "succeeded", "v1");
        say("v2 takes its state over: the job is stopped with a savepoint and the new one begins from it");
        self.step("v2", "succeeded", "v2");
        say("badstate can't read the state; Flink says so only when its tasks open it");
        self.step("badstate", "rolled_back", "v2");
        say("crash fails after every 50 records, and makes progress and checkpoints in between");
        self.step("crash", "rolled_back", "v2");
        self.clicks.wait_for_records(200);
        let records = self.clicks.records();
        self.report.records = records.0.len() as u64;
        self.report.missing = records.missing().len();
        if self.report.missing > 0 {
            self.problem(format!("{} records are missing", self.report.missing));
        }
        if self.report.steps[1].repeated > 0 {
            self.problem("the upgrade to v2 repeated records".to_owned());
        }
        self.report
    }

    /// Deploys a version; the run has to end so, and this version has to run then.
    fn step(&mut self, version: &str, expected: &str, then: &str) {
        let (before, began) = (self.clicks.records().repeated(), Instant::now());
        let is_first = self.report.steps.is_empty();
        let watch = (!is_first).then(|| SinkWatch::start(&self.clicks.sink));
        let run = self.clicks.deploy(&self.lab, version);
        let shown = self.lab.wait_finished(&run, RUN_MAX);
        let took = began.elapsed();
        self.clicks.wait_for_records(100);
        let gap = watch.map_or(Duration::ZERO, SinkWatch::longest_gap);
        let status = text(&shown["status"]);
        if status != expected {
            self.problem(format!("{run} ({version}) is {status}, not {expected}: {shown:#}"));
        }
        if status == "rolled_back" {
            let why = self.lab.ok(&["why", &run]);
            self.report.why.push((version.to_owned(), why));
        }
        let here = installation(&self.lab);
        if here["version"] != then || here["health"] != "healthy" {
            self.problem(format!("a healthy {then} should run after {version}: {here:#}"));
        }
        let state = newest(&self.lab)["state"].clone();
        say(&format!("{run} ({version}) is {} after {}", status.replace('_', " "), seconds(took)));
        let repeated = self.clicks.records().repeated() - before;
        let state = state_words(&state);
        self.report.steps.push(Step { run, version: version.to_owned(), status, took, gap, repeated, state });
    }

    fn problem(&mut self, problem: String) {
        say(&format!("PROBLEM: {problem}"));
        self.report.problems.push(problem);
    }
}

impl Report {
    fn print(&self, took: Duration) {
        println!("\n== summary ==");
        println!(
            "{:<10} {:<9} {:<12} {:>7} {:>11} {:>9}  the job that runs began from",
            "run", "version", "outcome", "took", "no records", "repeated"
        );
        for step in &self.steps {
            println!(
                "{:<10} {:<9} {:<12} {:>7} {:>11} {:>9}  {}",
                step.run,
                step.version,
                step.status.replace('_', " "),
                seconds(step.took),
                match step.gap {
                    Duration::ZERO => "-".to_owned(),
                    gap => format!("{:.2} s", gap.as_secs_f64()),
                },
                step.repeated,
                step.state,
            );
        }
        println!("\nrecords in the sink: {}, missing: {}", self.records, self.missing);
        for (version, why) in &self.why {
            println!("\nwhy {version} went back:");
            for line in why.lines() {
                println!("  {line}");
            }
        }
        println!();
        for problem in &self.problems {
            println!("PROBLEM: {problem}");
        }
        let verdict = match self.problems.is_empty() {
            true => "everything went as it should",
            false => "this is not as it should be",
        };
        println!("{verdict}, in {}", seconds(took));
    }
}

/// The state of a history entry in words: its kind and the last part of its path.
fn state_words(state: &Value) -> String {
    let path = state["path"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    match text(&state["kind"]).as_str() {
        "none" => "nothing".to_owned(),
        kind => format!("{kind} {path}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn say(text: &str) {
    println!("demo: {text}");
}
