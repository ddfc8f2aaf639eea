//! What many jobs cost that nothing happens to: requests to the JobManager, the agent's time, and how soon one that ends is
//! seen nevertheless.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::artifacts::sha256;
use trimaran_e2e::lab::Lab;
use trimaran_flink_core::rest::Method;
use trimaran_test_support::wait::until;

use crate::model_server::ModelServer;
use crate::report::{Report, time};

const JOBS: usize = 200;
/// Each job is looked at once in a minute: so long nothing is counted, and then for so long.
const SETTLE: Duration = Duration::from_secs(70);
const MEASURED: Duration = Duration::from_secs(120);
const RUN_MAX: Duration = Duration::from_secs(300);
/// Ticks of a second in `/proc/PID/stat` (`USER_HZ`, the same on every Linux that has this architecture).
const TICKS: f64 = 100.0;

pub(crate) fn run(report: &mut Report) {
    let (lab, server) = (Lab::fresh(1), ModelServer::start(2 * JOBS as u32));
    deploy_all(&lab, &server);
    until("every job is healthy", RUN_MAX, || (healthy(&lab) == JOBS).then_some(()));
    std::thread::sleep(SETTLE);
    let agent = lab.part("lab").pid.expect("the agent runs");
    server.take_counts();
    let (began, before) = (Instant::now(), cpu_seconds(agent));
    std::thread::sleep(MEASURED);
    let (elapsed, busy) = (began.elapsed(), cpu_seconds(agent) - before);
    let counts = server.take_counts();
    let minutes = elapsed.as_secs_f64() / 60.0;
    let total: u64 = counts.values().sum();
    report.add(
        format!("requests a minute to a JobManager with {JOBS} jobs at rest"),
        format!("{:.0}", total as f64 / minutes),
        format!("one agent, the model JobManager over HTTP; by kind in {minutes:.1} min: {}", kinds(&counts)),
    );
    report.add(
        format!("CPU of an agent with {JOBS} jobs at rest"),
        format!("{:.2} % of a core", 100.0 * busy / elapsed.as_secs_f64()),
        format!("{busy:.2} s in {:.0} s, with all that an agent does", elapsed.as_secs_f64()),
    );
    let took = seen_after(&lab, &server);
    report.add(
        format!("one of {JOBS} jobs ends, until `status` shows it"),
        time(took),
        "the list of jobs is asked for each 5 s, bar 10 s".to_owned(),
    );
}

fn kinds(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
}

fn deploy_all(lab: &Lab, server: &ModelServer) {
    let folder = lab.folder.path();
    let jar = folder.join("job-v1.jar");
    std::fs::write(&jar, b"a jar").expect("a file");
    let target = format!(
        "trimaran: v1\ntarget: streams\nagent: lab\nclass: staging\n\
         flink: {{ urls: [\"{}\"], savepoints: \"file:///tmp/savepoints\" }}\n",
        server.url()
    );
    std::fs::write(folder.join("streams.yaml"), target).expect("a file");
    lab.ok(&["apply", "streams.yaml"]);
    let artifact = format!("job=v1@sha256:{}", sha256(&jar).expect("a jar"));
    let deploy = |number: usize| {
        let text = format!(
            "trimaran: v1\npipeline: clicks-{number}\nowner: bench\nartifacts:\n  job: {{ path: \"{}\" }}\n\
             workload:\n  flink: {{ jar: job, entry_class: com.corp.Clicks, health: {{ window: 1s, min_checkpoints: 0 }} }}\n\
             environments:\n- {{ name: staging, targets: [streams] }}\n",
            folder.join("job-{version}.jar").display()
        );
        std::fs::write(folder.join("clicks.yaml"), text).expect("a file");
        let shown = lab.json(&["deploy", "-f", "clicks.yaml", "--artifact", &artifact, "--detach"]);
        shown["run"].as_str().expect("a run has a name").to_owned()
    };
    let runs: Vec<String> = (0..JOBS).map(deploy).collect();
    for run in runs {
        lab.wait_status(&run, "succeeded", RUN_MAX);
    }
}

fn installations(lab: &Lab) -> Vec<Value> {
    lab.json(&["status"])["installations"].as_array().cloned().unwrap_or_default()
}

fn healthy(lab: &Lab) -> usize {
    installations(lab).iter().filter(|it| it["health"] == "healthy").count()
}

/// The time from the end of one job, by someone else, until it shows.
fn seen_after(lab: &Lab, server: &ModelServer) -> Duration {
    let jobs: Value = serde_json::from_str(&server.ask(Method::Get, "/jobs/overview").body)
        .expect("the model answers JSON");
    let job = jobs["jobs"][0]["jid"].as_str().expect("there are jobs");
    let began = Instant::now();
    server.ask(Method::Patch, &format!("/jobs/{job}?mode=cancel"));
    until("it shows", Duration::from_secs(60), || (healthy(lab) < JOBS).then_some(()));
    began.elapsed()
}

/// What a process has used of all cores.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // Behind the name, which may have anything in it: `utime` and `stime` are the 12th and 13th.
    let (_, behind) = stat.rsplit_once(')').expect("a name in parentheses");
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let ticks = |n: usize| fields[n].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / TICKS
}
