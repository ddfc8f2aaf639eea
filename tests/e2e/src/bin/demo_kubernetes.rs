//! `make demo-kubernetes`: a service in two real clusters, with a summary at its end.
//!
//! v1 goes to staging, waits for a judgment, then to both regions, one after the other. Four bad versions follow: an image
//! that is not there, a crash loop, a configuration without the file that the service needs, and one that staging can
//! give and no region. Each goes back automatically, code and configuration as one, while clients send requests to
//! every environment; v6 is good again. Ends with 1 when anything is not so.
#![allow(clippy::disallowed_methods, reason = "a demo starts processes and reads clocks")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::balancer::Traffic;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::regions::{Config, ENVIRONMENTS, Regions};
use trimaran_e2e::requests::Requests;

const RUN_MAX: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let began = Instant::now();
    let report = Story::begin().play();
    report.print(began.elapsed());
    if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Story {
    lab: Lab,
    /// Ends last: the lab's agents talk to the clusters.
    regions: Regions,
    clients: Vec<Requests>,
    report: Report,
}

#[derive(Default)]
struct Report {
    runs: Vec<Run>,
    why: Vec<(String, String)>,
    traffic: Vec<Traffic>,
    problems: Vec<String>,
}

struct Run {
    run: String,
    version: String,
    status: String,
    took: Duration,
    /// How each stage ended.
    stages: Vec<String>,
}

/// What an environment has.
#[derive(Debug, PartialEq)]
struct State {
    /// Names of its versions of configuration.
    configs: Vec<String>,
    /// Pods that serve, with the text of each.
    serving: Vec<(String, String)>,
}

/// A version and what has to become of it.
struct Version {
    name: &'static str,
    artifact: String,
    /// The text of its configuration.
    text: &'static str,
    config: Config,
    /// `succeeded` or `rolled_back`.
    status: &'static str,
    /// What `why` has to say of a bad one.
    says: &'static str,
    /// Staging is good, so that a human is asked.
    is_approved: bool,
}

impl Story {
    fn begin() -> Self {
        say("starting a coordinator, two agents and two Kubernetes clusters");
        let lab = Lab::start(1, "127.0.3");
        let regions = Regions::new(&lab);
        Self { lab, regions, clients: Vec::new(), report: Report::default() }
    }

    fn play(mut self) -> Report {
        say("v1 goes to staging, then, after a judgment, to east and to west");
        let first = self.regions.publish("v1", &[]);
        self.deploy(&good("v1", first, "one"));
        if !self.report.problems.is_empty() {
            return self.report;
        }
        let before = self.state();
        self.clients = ENVIRONMENTS.map(|it| Requests::start(self.regions.address(it))).into();
        for bad in self.bad_versions() {
            say(&format!("{} goes out: {}", bad.name, bad.says));
            self.deploy(&bad);
            let after = self.state();
            if after != before {
                self.problem(format!("after {}: {after:?}\nbefore it: {before:?}", bad.name));
            }
        }
        say("v6 is good, with a configuration of its own");
        let last = self.regions.publish("v6", &[]);
        self.deploy(&good("v6", last, "six"));
        let is_new = |it: &State| it.serving.len() == 2 && it.serving.iter().all(|(_, text)| text == "six");
        let state = self.state();
        if !state.iter().all(is_new) {
            self.problem(format!("v6 should serve everywhere: {state:?}"));
        }
        self.report.traffic = self.clients.iter().map(Requests::traffic).collect();
        self.clients.clear();
        for (environment, traffic) in ENVIRONMENTS.iter().zip(self.report.traffic.clone()) {
            if traffic.failed > 0 || traffic.sent == 0 {
                self.problem(format!(
                    "{} of {} requests failed in {environment}",
                    traffic.failed, traffic.sent
                ));
            }
        }
        self.report
    }

    fn bad_versions(&self) -> [Version; 4] {
        let bad = |name, artifact, config, says| Version {
            name,
            artifact,
            text: name,
            config,
            status: "rolled_back",
            says,
            is_approved: config == Config::OfStagingAlone,
        };
        [
            bad("v2", Regions::absent("v2"), Config::Good, "can't be pulled"),
            bad("v3", self.regions.publish("v3", &["CRASH=0s"]), Config::Good, "exit code 1"),
            bad("v4", self.regions.publish("v4", &[]), Config::WithoutFile, "exit code 3"),
            bad("v5", self.regions.publish("v5", &[]), Config::OfStagingAlone, "couldn't find key name"),
        ]
    }

    /// Versions of configuration and what serves, for each environment.
    fn state(&self) -> Vec<State> {
        let of = |it: &&str| State { configs: self.regions.configs(it), serving: self.regions.serving(it) };
        ENVIRONMENTS.iter().map(of).collect()
    }

    fn deploy(&mut self, version: &Version) {
        let began = Instant::now();
        self.regions.write_manifests(&self.lab, version.text, version.config);
        let deployed =
            self.lab.json(&["deploy", "-f", "shop.yaml", "--artifact", &version.artifact, "--detach"]);
        let run = text(&deployed["run"]);
        if version.is_approved {
            self.approve(&run);
        }
        let shown = self.lab.wait_finished(&run, RUN_MAX);
        let (took, status) = (began.elapsed(), text(&shown["status"]));
        if status != version.status {
            self.problem(format!("{run} ({}) is {status}, not {}: {shown:#}", version.name, version.status));
        }
        if status == "rolled_back" {
            let why = self.lab.ok(&["why", &run]);
            if !why.contains(version.says) {
                self.problem(format!("why {} went back does not say `{}`", version.name, version.says));
            }
            self.report.why.push((version.name.to_owned(), why));
        }
        say(&format!("{run} ({}) is {} after {}", version.name, words(&status), seconds(took)));
        let stages = shown["stages"].as_array().cloned().unwrap_or_default();
        let deploys = stages.iter().filter(|stage| !stage["target"].is_null());
        let stages =
            deploys.map(|it| format!("{} {}", text(&it["target"]), words(&text(&it["status"])))).collect();
        self.report.runs.push(Run { run, version: version.name.to_owned(), status, took, stages });
    }

    /// Waits until staging is done, and lets the version go on.
    fn approve(&mut self, run: &str) {
        let waits = self.lab.wait_run(run, "an approval", RUN_MAX, |shown| {
            let gates = shown["stages"].as_array().into_iter().flatten();
            let is_waiting = gates.clone().any(|it| it["status"] == "waiting" && it["target"].is_null());
            (is_waiting || !shown["finished_at"].is_null()).then_some(is_waiting)
        });
        if !waits {
            return self.problem(format!("{run} never waited for its approval"));
        }
        let approved = self.lab.run(&["approve", run, "--option", "promote"]);
        if !approved.status.success() {
            self.problem(format!("{run} can't be approved: {}", String::from_utf8_lossy(&approved.stderr)));
        }
    }

    fn problem(&mut self, problem: String) {
        say(&format!("PROBLEM: {problem}"));
        self.report.problems.push(problem);
    }
}

fn good(name: &'static str, artifact: String, text: &'static str) -> Version {
    let (config, status) = (Config::Good, "succeeded");
    Version { name, artifact, text, config, status, says: "", is_approved: true }
}

impl Report {
    fn print(&self, took: Duration) {
        println!("\n== summary ==");
        println!("{:<8} {:<8} {:<12} {:>7}  stages", "run", "version", "outcome", "took");
        for Run { run, version, status, took, stages } in &self.runs {
            let (status, took) = (words(status), seconds(*took));
            println!("{run:<8} {version:<8} {status:<12} {took:>7}  {}", stages.join(", "));
        }
        println!("\nclient requests while versions came and went back:");
        for (environment, traffic) in ENVIRONMENTS.iter().zip(&self.traffic) {
            println!("  {environment:<8} {} sent, {} failed", traffic.sent, traffic.failed);
        }
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

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("?").to_owned()
}

fn words(status: &str) -> String {
    status.replace('_', " ")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn say(text: &str) {
    println!("demo: {text}");
}
