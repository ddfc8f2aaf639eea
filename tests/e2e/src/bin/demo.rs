//! `make demo`: the main job for real, on loopback, with a summary at its end.
//!
//! Three coordinators, one agent, six runners and a small HTTP service behind a balancer. v1 goes out; v2 goes
//! out while the coordinator that leads is killed in the middle of a wave; v3 fails its health check, is stopped at its
//! first host and is rolled back automatically, without the server of artifacts. Ends with 1 when anything is not so.
#![allow(clippy::disallowed_methods, reason = "a demo starts processes and reads clocks")]

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::balancer::{Balancer, Traffic};
use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web, stage_in_flight, stages, starts};
use trimaran_test_support::wait::{millis_of_day, until};

const SUBNET: &str = "127.0.1";
const COORDINATORS: u8 = 3;
const HOSTS: u8 = 6;
/// host-1 and host-2 are staging.
const PROD: std::ops::RangeInclusive<u8> = 3..=6;

fn main() -> ExitCode {
    let begin = Instant::now();
    let report = Story::begin().play();
    report.print(begin.elapsed());
    if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Story {
    lab: Lab,
    web: Web,
    balancer: Balancer,
    report: Report,
}

#[derive(Default)]
struct Report {
    runs: Vec<(String, String, Duration, String)>,
    failover: Option<Failover>,
    traffic: Option<Traffic>,
    downtime: Vec<(SocketAddr, Duration)>,
    why: String,
    problems: Vec<String>,
}

/// What the death of the leader came to.
struct Failover {
    dead: String,
    next: String,
    /// From the kill to the first answer of another leader.
    took: Duration,
    attempts: u64,
}

impl Story {
    fn begin() -> Self {
        say("starting 3 coordinators, 1 agent and 6 hosts");
        let lab = Lab::start_with(COORDINATORS, HOSTS, SUBNET);
        let shape = Shape { approve: true, min_healthy: "2s", bake: "10s", ..Shape::default() };
        let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good"), ("v3", "fail-health")]);
        let backends: Vec<SocketAddr> = PROD.map(|number| lab.host(number, web.port)).collect();
        Self { lab, web, balancer: Balancer::start(&backends), report: Report::default() }
    }

    fn play(mut self) -> Report {
        say("v1 goes out: staging, then prod after a judgment");
        let v1 = self.deploy("v1");
        self.approve(&v1);
        self.finish("v1", &v1, "succeeded");
        until("all of prod answers", Duration::from_secs(20), || {
            (self.balancer.ready() == PROD.count()).then_some(())
        });
        self.balancer.send();

        say("v2 goes out; the coordinator that leads is killed in the middle of a wave");
        let v2 = self.deploy("v2");
        self.approve(&v2);
        let dead = self.kill_leader_in_flight(&v2);
        self.finish("v2", &v2, "succeeded");
        self.check_once(&v2);
        self.lab.start_part(&dead);
        self.wait_back(&dead);
        self.wait_baked();

        say(
            "v3 fails its health check; the server of artifacts is stopped as soon as v3's first process is up",
        );
        let v3 = self.deploy("v3");
        until("v3's first process is up", Duration::from_secs(30), || {
            starts(&self.lab).iter().any(|start| start.version == "v3").then_some(())
        });
        self.web.artifacts.stop();
        self.finish("v3", &v3, "rolled_back");
        self.check_v3_stopped_early(&v3);
        self.report.why = self.lab.ok(&["why", &v3]);
        self.check_everywhere("v2");
        self.report.traffic = Some(self.balancer.traffic());
        self.report.downtime = self.balancer.downtime().into_iter().collect();
        if self.balancer.traffic().failed > 0 {
            self.problem("requests failed through the balancer".to_owned());
        }
        self.report
    }

    fn deploy(&self, version: &str) -> String {
        self.web.deploy(&self.lab, version)
    }

    fn approve(&self, run: &str) {
        self.web.approve(&self.lab, run, "promote");
    }

    fn finish(&mut self, version: &str, run: &str, expected: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        let shown = loop {
            let shown = self.lab.show(run);
            if !shown["finished_at"].is_null() || Instant::now() > deadline {
                break shown;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let status = shown["status"].as_str().unwrap_or("?").to_owned();
        if status != expected {
            self.problem(format!("{run} ({version}) is {status}, not {expected}"));
        }
        let took = lasted(&shown);
        say(&format!("{run} ({version}) is {status} after {}", seconds(took)));
        self.report.runs.push((run.to_owned(), version.to_owned(), took, status));
    }

    fn leader(&self) -> Option<String> {
        let output = self.lab.run(&["cluster", "status", "-o", "json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        Some(status["leader"].as_str()?.to_owned())
    }

    /// Kills the leader while a host of prod is between its old and its new process; its name.
    fn kill_leader_in_flight(&mut self, run: &str) -> String {
        let dead = until("there is a leader", Duration::from_secs(20), || self.leader());
        let caught = until("a host of prod is in flight", Duration::from_secs(60), || {
            let shown = self.lab.show(run);
            let flying = stages(&shown).any(|stage| stage["environment"] == "prod" && stage_in_flight(stage));
            (flying || !shown["finished_at"].is_null()).then_some(flying)
        });
        if !caught {
            self.problem("no host was in flight at the kill".to_owned());
        }
        let killed = Instant::now();
        self.lab.kill(&dead);
        let next = until("another one leads", Duration::from_secs(20), || {
            self.leader().filter(|leader| *leader != dead)
        });
        let took = killed.elapsed();
        say(&format!("{dead} led and was killed with SIGKILL; {next} leads after {}", seconds(took)));
        self.report.failover = Some(Failover { dead: dead.clone(), next, took, attempts: 0 });
        dead
    }

    /// No stage was tried a second time, and no host started its service twice.
    fn check_once(&mut self, run: &str) {
        let shown = self.lab.show(run);
        let attempts = stages(&shown).filter_map(|stage| stage["attempt"].as_u64()).max().unwrap_or(0);
        if let Some(failover) = &mut self.report.failover {
            failover.attempts = attempts;
        }
        if attempts != 1 {
            self.problem(format!("{run} took {attempts} attempts"));
        }
        let started = starts(&self.lab).into_iter().filter(|start| start.version == "v2").count();
        if started != usize::from(HOSTS) {
            self.problem(format!("v2 was started {started} times on {HOSTS} hosts"));
        }
    }

    fn wait_back(&self, name: &str) {
        until("the killed coordinator is at the state of the others", Duration::from_secs(30), || {
            let status = self.lab.json(&["cluster", "status"]);
            let members = status["members"].as_array()?;
            let back = members.iter().find(|it| it["name"] == *name)?;
            let same = members.iter().all(|it| it["hash"] == back["hash"]);
            (back["state"] == "alive" && same).then_some(())
        });
        say(&format!("{name} was started again and has caught up"));
    }

    fn wait_baked(&self) {
        until("v2 has baked", Duration::from_secs(60), || {
            let status = self.lab.json(&["status"]);
            let list = status["installations"].as_array().cloned().unwrap_or_default();
            list.iter().all(|it| it["bakes_until"].is_null()).then_some(())
        });
    }

    /// The first batch has one host: v3 may have touched no other.
    fn check_v3_stopped_early(&mut self, run: &str) {
        let shown = self.lab.show(run);
        let touched: usize = stages(&shown)
            .flat_map(|stage| stage["instances"].as_array().cloned().unwrap_or_default())
            .filter(|instance| instance["code"].is_string())
            .count();
        if touched != 1 {
            self.problem(format!("v3 failed on {touched} hosts, not on 1"));
        }
        if stages(&shown).any(|stage| stage["environment"] == "prod" && stage["status"] == "succeeded") {
            self.problem("v3 reached prod".to_owned());
        }
    }

    fn check_everywhere(&mut self, version: &str) {
        let status = self.lab.json(&["status"]);
        for installation in status["installations"].as_array().cloned().unwrap_or_default() {
            if installation["version"] != version || installation["health"] != "healthy" {
                self.problem(format!(
                    "{} does not run a healthy {version}: {installation}",
                    installation["target"]
                ));
            }
        }
    }

    fn problem(&mut self, problem: String) {
        say(&format!("PROBLEM: {problem}"));
        self.report.problems.push(problem);
    }
}

impl Report {
    fn print(&self, took: Duration) {
        println!("\n== summary ==");
        println!("{:<8} {:<8} {:<12} took", "run", "version", "outcome");
        for (run, version, took, status) in &self.runs {
            println!("{run:<8} {version:<8} {:<12} {}", status.replace('_', " "), seconds(*took));
        }
        if let Some(Failover { dead, next, took, attempts }) = &self.failover {
            println!(
                "\nthe leader {dead} was killed with SIGKILL in mid-wave: {next} led after {}, with {attempts} attempt a stage",
                seconds(*took)
            );
        }
        if let Some(traffic) = self.traffic {
            println!(
                "\nclient requests through the balancer: {} sent, {} failed",
                traffic.sent, traffic.failed
            );
        }
        println!("each host's own downtime over all runs (the balancer sent it nothing meanwhile):");
        for (address, down) in &self.downtime {
            println!("  {address}  {}", seconds(*down));
        }
        println!("\nwhy the last run went back:");
        for line in self.why.lines() {
            println!("  {line}");
        }
        println!();
        for problem in &self.problems {
            println!("PROBLEM: {problem}");
        }
        let verdict = if self.problems.is_empty() {
            "everything went as it should"
        } else {
            "this is not as it should be"
        };
        println!("{verdict}, in {}", seconds(took));
    }
}

/// From creation to end, by the run's own times.
fn lasted(run: &Value) -> Duration {
    let at = |key: &str| run[key].as_str().and_then(millis_of_day);
    match (at("created_at"), at("finished_at")) {
        (Some(from), Some(to)) => {
            Duration::from_millis(to.checked_sub(from).unwrap_or(to + 86_400_000 - from))
        }
        _ => Duration::ZERO,
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn say(text: &str) {
    println!("demo: {text}");
}
