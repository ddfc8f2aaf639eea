//! Upgrades of a job on real clusters of both versions: how long it processes nothing, beside Flink's own command-line
//! client doing the same on the same cluster, and how soon a bad version is left.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trimaran_e2e::clicks::{Clicks, INTERVAL_RECORDS, Shape, repeated_reported};
use trimaran_e2e::lab::Lab;
use trimaran_test_env::flink::{FlinkCluster, SinkWatch, jars};
use trimaran_test_support::wait::until;

use crate::report::{Report, time};

const VERSIONS: [&str; 2] = ["2.3.0", "1.20.5"];
/// Upgrades of which the middle one counts.
const UPGRADES: [&str; 3] = ["v2", "v1", "v2"];
const BAD: [&str; 5] = ["crash", "poison", "openthrows", "badstate", "cpfail"];
const RUN_MAX: Duration = Duration::from_secs(120);

pub(crate) fn run(report: &mut Report) {
    for version in VERSIONS {
        let (lab, cluster) = (Lab::fresh(1), FlinkCluster::start(version, false));
        let clicks = Clicks::new(&lab, &cluster, &Shape { window: "2s", ..Shape::default() });
        clicks.deploy_until(&lab, "v1", "succeeded");
        upgrades(report, version, &lab, &cluster, &clicks);
        for bad in BAD {
            goes_back(report, version, &lab, &clicks, bad);
        }
        assert!(clicks.records().missing().is_empty(), "records were lost");
    }
}

fn upgrades(report: &mut Report, version: &str, lab: &Lab, cluster: &FlinkCluster, clicks: &Clicks) {
    let (mut gaps, mut walls) = (Vec::new(), Vec::new());
    for upgrade in UPGRADES {
        clicks.wait_for_records(200);
        let (began, watch) = (Instant::now(), SinkWatch::start(&clicks.sink));
        clicks.deploy_until(lab, upgrade, "succeeded");
        walls.push(began.elapsed());
        gaps.push(watch.longest_gap());
    }
    let (gap, wall) = (middle(gaps), middle(walls));
    let (client_gap, client_wall) = by_client(cluster);
    let raw_gap = middle((0..UPGRADES.len()).map(|n| by_rest(cluster, n)).collect());
    report.add(
        format!("Flink {version}: time without records of an upgrade"),
        time(gap),
        format!(
            "median of {}, bar 500 ms; {} with the bare requests, which is {} less (bar 500 ms); {} with `flink stop -p` and \
             `flink run -s`, {:.1} x as long (bar 5 x), which take {}; the whole run with a window of 2 s takes {}",
            UPGRADES.len(),
            time(raw_gap),
            time(gap.saturating_sub(raw_gap)),
            time(client_gap),
            client_gap.as_secs_f64() / gap.as_secs_f64(),
            time(client_wall),
            time(wall)
        ),
    );
}

fn goes_back(report: &mut Report, version: &str, lab: &Lab, clicks: &Clicks, bad: &str) {
    let (began, before) = (Instant::now(), clicks.records().repeated());
    let run = clicks.deploy_until(lab, bad, "rolled_back");
    let took = began.elapsed();
    // Then the restored version is past all that the bad one had read.
    clicks.wait_for_records(400);
    let repeated = clicks.records().repeated() - before;
    let reported = repeated_reported(&run).map_or_else(|| "no number".to_owned(), |it| it.to_string());
    report.add(
        format!("Flink {version}: `{bad}` recognized and rolled back"),
        time(took),
        format!(
            "with 1 s between restarts, bar 15 s; {repeated} records repeated in the sink, {reported} reported \
             (bar: {INTERVAL_RECORDS} apart, one checkpoint interval)"
        ),
    );
}

/// An upgrade by the bare requests that it needs, the jars uploaded before, for the `n`th time: time without records.
fn by_rest(cluster: &FlinkCluster, n: usize) -> Duration {
    let sink = cluster.file(&format!("records-rest-{n}"));
    let id = |part: u8| format!("{n:02x}{part:02x}").repeat(8);
    let jar = |name: &str| {
        let form = format!("jarfile=@{}", jars().join(format!("{name}.jar")).display());
        let uploaded = curl(cluster, "/jars/upload", &["-F", &form]);
        let file = uploaded["filename"].as_str().expect("it was uploaded").to_owned();
        file.rsplit('/').next().expect("a name").to_owned()
    };
    let run = |jar: &str, job: &str, from: Option<&str>| {
        let args =
            [format!("--out={}", sink.display()), "--rate=200".to_owned(), "--checkpoint-ms=500".to_owned()];
        let mut body =
            json!({ "jobId": job, "programArgsList": args, "entryClass": "trimaran.demo.Counter" });
        if let Some(path) = from {
            body["savepointPath"] = json!(path);
            body["claimMode"] = json!("NO_CLAIM");
        }
        let started = curl(cluster, &format!("/jars/{jar}/run"), &["-d", &body.to_string()]);
        assert_eq!(started["jobid"], job, "{started}");
    };
    let (v1, v2) = (jar("v1"), jar("v2"));
    let (old, new, trigger) = (id(0xa1), id(0xa2), id(0xa3));
    run(&v1, &old, None);
    wait_for_lines(&sink, 400);
    let watch = SinkWatch::start(&sink);
    let body = json!({ "targetDirectory": format!("{}/rest", cluster.savepoints()), "triggerId": trigger });
    curl(cluster, &format!("/jobs/{old}/stop"), &["-d", &body.to_string()]);
    let path = until("the savepoint is made", RUN_MAX, || {
        let poll = curl(cluster, &format!("/jobs/{old}/savepoints/{trigger}"), &[]);
        poll["operation"]["location"].as_str().map(str::to_owned)
    });
    run(&v2, &new, Some(&path));
    wait_for_lines(&sink, 200);
    let gap = watch.longest_gap();
    curl(cluster, &format!("/jobs/{new}?mode=cancel"), &["-X", "PATCH"]);
    gap
}

fn curl(cluster: &FlinkCluster, path: &str, arguments: &[&str]) -> Value {
    let url = format!("{}{path}", cluster.url());
    let output = Command::new("curl").args(["-sS", &url]).args(arguments).output().expect("curl runs");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {error}: {text}"))
}

/// An upgrade by Flink's own client, of a job with a sink of its own: time without records, and of both commands.
fn by_client(cluster: &FlinkCluster) -> (Duration, Duration) {
    let sink = cluster.file("records-client");
    let out = format!("--out={}", sink.display());
    let jar = |name: &str| jars().join(format!("{name}.jar")).display().to_string();
    let start = |name: &str, from: &[&str]| {
        let jar = jar(name);
        let words = ["run", "-d", "-c", "trimaran.demo.Counter"];
        let job = [jar.as_str(), out.as_str(), "--rate=200", "--checkpoint-ms=500"];
        cluster.client(&[&words[..], from, &job[..]].concat())
    };
    let job = job_id(&start("v1", &[]));
    wait_for_lines(&sink, 400);
    let (began, watch) = (Instant::now(), SinkWatch::start(&sink));
    let directory = format!("{}/client", cluster.savepoints());
    let stopped = cluster.client(&["stop", "-p", &directory, &job]);
    let savepoint = stopped.split_whitespace().rfind(|word| word.starts_with("file:")).expect("a savepoint");
    let job = job_id(&start("v2", &["-s", savepoint]));
    let wall = began.elapsed();
    wait_for_lines(&sink, 200);
    let gap = watch.longest_gap();
    cluster.client(&["cancel", &job]);
    (gap, wall)
}

/// `Job has been submitted with JobID 0a1b…`
fn job_id(printed: &str) -> String {
    let is_id = |word: &&str| word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    printed.split_whitespace().rfind(is_id).unwrap_or_else(|| panic!("no id: {printed}")).to_owned()
}

fn wait_for_lines(sink: &Path, more: usize) {
    let lines = || std::fs::read_to_string(sink).map_or(0, |text| text.lines().count());
    let before = lines();
    until("the job writes records", RUN_MAX, || (lines() >= before + more).then_some(()));
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
