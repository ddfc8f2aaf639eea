//! Jobs on a real Flink cluster through the real programs: what users and their scripts see.
#![allow(clippy::disallowed_methods, reason = "a test of processes starts processes and reads clocks")]

mod replaced;
mod states;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::clicks::{
    Clicks, INTERVAL_RECORDS, PIPELINE, RULES, Shape, installation, newest, repeated_reported,
};
use trimaran_e2e::lab::{Lab, is_alive};
use trimaran_e2e::pages::follow;
use trimaran_test_env::flink::{FlinkCluster, SinkWatch, jars, shared, version};
use trimaran_test_support::wait::until;

/// A lab with one job on a cluster.
struct Streams {
    lab: Lab,
    clicks: Clicks,
    cluster: Arc<FlinkCluster>,
}

impl Streams {
    /// Beside the jobs of other tests.
    fn new(shape: &Shape) -> Self {
        Self::on(shared(&version()), shape)
    }

    /// On a cluster of its own.
    fn alone(version: &str, shape: &Shape) -> Self {
        Self::on(Arc::new(FlinkCluster::start(version, false)), shape)
    }

    fn on(cluster: Arc<FlinkCluster>, shape: &Shape) -> Self {
        let lab = Lab::fresh(1);
        let clicks = Clicks::new(&lab, &cluster, shape);
        Self { lab, clicks, cluster }
    }

    /// On one line, however it was broken into lines for people.
    fn why(&self, run: &Value) -> String {
        let why = self.lab.ok(&["why", run["run"].as_str().expect("a name")]);
        why.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What runs is healthy and of this version.
    fn assert_runs(&self, version: &str) {
        let here = installation(&self.lab);
        assert_eq!(
            (here["version"].as_str(), here["health"].as_str()),
            (Some(version), Some("healthy")),
            "{here:#}"
        );
        assert_eq!(here["ready"], 1, "{here:#}");
    }

    /// What the target's agent says that a deploy of this version would change.
    fn plan_lines(&self, version: &str) -> Vec<String> {
        let artifact = self.clicks.artifact(version);
        let plan = self.lab.json(&["plan", "-f", "clicks.yaml", "--artifact", &artifact]);
        let difference = &plan["differences"][0];
        assert_eq!(
            (&difference["target"], &difference["missing"]),
            (&self.clicks.target.as_str().into(), &Value::Null),
            "{plan:#}"
        );
        let lines = difference["lines"].as_array().expect("lines");
        lines.iter().map(|line| line.as_str().expect("a line").to_owned()).collect()
    }

    fn assert_whole(&self) {
        assert_eq!(self.clicks.records().missing(), [0; 0], "records were lost");
    }
}

impl Drop for Streams {
    /// Other tests go on with the cluster and need its slots.
    fn drop(&mut self) {
        self.clicks.cancel_jobs();
    }
}

/// The path of a state on this machine.
fn on_disk(state: &Value) -> &Path {
    let path = state["path"].as_str().unwrap_or_else(|| panic!("a state with a path: {state:#}"));
    Path::new(path.strip_prefix("file:").expect("states of the test are files"))
}

/// A job from its first deploy to a rollback by hand: state kept, bad versions recognized and left, and where each release
/// began from.
#[test]
fn a_job_is_deployed_upgraded_and_goes_back() {
    let mut it = Streams::alone(&version(), &Shape { window: "2s", has_rules: true, ..Shape::default() });
    let lab = &it.lab;
    it.clicks.write_rules(lab, "one");
    let v1 = it.clicks.deploy_until(lab, "v1", "succeeded");
    it.assert_runs("v1");
    // Fetched, or kept before it was asked for.
    let why = it.why(&v1);
    let fetched = format!("the jar was fetched from {}/v1.jar", it.clicks.artifacts.url());
    assert!(why.contains(&fetched) || why.contains("the jar comes from the store of the agent"), "{why}");
    assert_eq!(newest(lab)["state"]["kind"], "none", "{:#}", newest(lab));

    let plan = lab.json(&["plan", "-f", "clicks.yaml", "--artifact", &it.clicks.artifact("v2")]);
    let stage = &plan["stages"][0];
    assert_eq!(
        (&stage["from"]["version"], &stage["to"]["version"]),
        (&"v1".into(), &"v2".into()),
        "{plan:#}"
    );
    assert_eq!(it.plan_lines("v2").len(), 1, "its tasks are the same: {:?}", it.plan_lines("v2"));
    it.clicks.wait_for_record_of("v1+one");

    // Another file is another release, also with the same jar.
    it.clicks.write_rules(lab, "two");
    let plan = lab.json(&["plan", "-f", "clicks.yaml", "--artifact", &it.clicks.artifact("v1")]);
    assert_eq!(plan["stages"][0]["change"], "update", "{plan:#}");
    let lines = it.plan_lines("v2");
    let file = lines.iter().find(|line| line.starts_with(&format!("~ file {RULES}: ")));
    assert!(file.is_some_and(|line| line.contains(" becomes ")) && lines.len() == 2, "{lines:?}");
    let v2 = it.clicks.deploy_until(lab, "v2", "succeeded");
    it.assert_runs("v2");
    it.clicks.wait_for_record_of("v2+two");
    let steps = lab.ok(&["run", "show", v2["run"].as_str().expect("a name"), "--steps"]);
    let uploaded = format!("jarfile=@{RULES};filename=trimaran-{PIPELINE}-");
    assert!(steps.contains(&uploaded), "{steps}");
    let began = newest(lab)["state"].clone();
    assert_eq!(began["kind"], "savepoint", "{began:#}");
    assert!(on_disk(&began).join("_metadata").is_file(), "{began:#}");
    assert!(began["at"].as_str().is_some_and(|at| at.starts_with("20")), "{began:#}");
    let table = lab.ok(&["history", PIPELINE]);
    assert!(table.contains("from savepoint "), "{table}");
    assert_eq!(it.clicks.records().repeated(), 0, "a stop with a savepoint repeats nothing");
    assert_eq!(lab.run(&["watch", v2["run"].as_str().expect("a name")]).status.code(), Some(0));

    // A version that can't take the state is refused while the job runs on; the plan says so before.
    let lines = it.plan_lines("newuid").join("\n");
    assert!(lines.contains("its uid was changed") && lines.contains("it would be refused"), "{lines}");
    let watch = SinkWatch::start(&it.clicks.sink);
    let newuid = it.clicks.deploy_until(lab, "newuid", "rolled_back");
    let gap = watch.longest_gap();
    assert!(gap < Duration::from_millis(500), "the job stood still for {gap:?}");
    let why = it.why(&newuid);
    assert!(why.contains("state_incompatible") && why.contains("uid of operator `counter"), "{why}");
    it.assert_runs("v2");

    // One that crashes over and over goes back, its file too, without the server of artifacts and without what the
    // JobManager kept.
    let before = it.clicks.records().repeated();
    it.clicks.write_rules(lab, "three");
    let crash = it.clicks.deploy(lab, "crash");
    lab.wait_run(&crash, "crash runs", Duration::from_secs(60), |shown| {
        let message = shown["stages"][0]["instances"][0]["message"].as_str();
        // Fetched, or kept before it was asked for.
        message.is_some_and(|it| it.contains("verifying") && it.contains("; the jar ")).then_some(())
    });
    it.clicks.artifacts.stop();
    std::fs::remove_dir_all(it.cluster.uploads()).expect("uploads are there");
    let crash = lab.wait_finished(&crash, Duration::from_secs(60));
    assert_eq!(crash["status"], "rolled_back", "{crash:#}");
    let why = it.why(&crash);
    assert!(why.contains("job_restarts") && why.contains("fail-after"), "{why}");
    it.assert_runs("v2");
    let entry = newest(lab);
    assert_eq!(entry["state"]["kind"], "savepoint", "{entry:#}");
    it.clicks.wait_for_record_of("v2+two");
    let sink = std::fs::read_to_string(&it.clicks.sink).expect("there are records");
    assert!(sink.contains(" crash+three "), "the bad version had its own file");
    // Then v2 is past all that crash had read.
    it.clicks.wait_for_records(400);
    let repeated = it.clicks.records().repeated() - before;
    let reported = repeated_reported(&crash).unwrap_or_else(|| panic!("it was not counted: {crash:#}"));
    assert!(repeated > 0 && repeated.abs_diff(reported) <= INTERVAL_RECORDS, "{repeated}: {crash:#}");
    it.assert_whole();

    // By hand, from the state of the version that is left.
    let before = it.clicks.records().repeated();
    let from = ["rollback", PIPELINE, "--env", "prod", "--to", "v1", "--from", "last_checkpoint", "--yes"];
    let back = lab.json(&[&from[..], &["--wait", "--timeout", "120s"]].concat());
    assert_eq!(back["status"], "succeeded", "{back:#}");
    it.assert_runs("v1");
    it.clicks.wait_for_record_of("v1+one");
    assert_eq!(it.clicks.records().repeated(), before, "it was stopped with a savepoint");
    it.assert_whole();
    assert!(on_disk(&began).join("_metadata").is_file(), "savepoints of the history stay");
    let shown = lab.ok(&["run", "show", back["run"].as_str().expect("a name")]);
    assert!(shown.contains(&it.clicks.stage()), "{shown}");
}

#[test]
fn the_page_about_jobs_works_as_it_is_written() {
    let (cluster, lab) = (shared(&version()), Lab::fresh(1));
    let (sink, jars) = (cluster.file("records-of-the-page"), jars());
    let words = [
        ("http://127.0.0.1:8081", cluster.url().to_owned()),
        ("file:///var/lib/flink/savepoints", format!("{}/of-the-page", cluster.savepoints())),
        ("/tmp/clicks-records", sink.display().to_string()),
        ("/srv/jobs", jars.display().to_string()),
    ];
    let words: Vec<(&str, &str)> = words.iter().map(|(word, own)| (*word, own.as_str())).collect();
    follow(&lab, "flink.md", &words);
}

/// The agent dies before and behind each write and each call of an upgrade, and now and then the coordinator with it: the
/// upgrade goes on from what was committed, with one job at a time and no record lost or repeated.
#[test]
fn an_agent_that_dies_before_and_behind_each_write_and_call_of_an_upgrade() {
    let it = Streams::new(&Shape { window: "1s", ..Shape::default() });
    let lab = &it.lab;
    it.clicks.deploy_until(lab, "v1", "succeeded");
    lab.kill("lab");
    let run = it.clicks.deploy(lab, "v2");
    let ended = || !lab.show(&run)["finished_at"].is_null();
    let savepoints = it.clicks.savepoints.join(PIPELINE);
    let (mut point, mut deaths, mut is_stopped) = (0, 0, false);
    loop {
        point += 1;
        if !is_stopped && savepoints.exists() {
            // What is left is short: its first write and call come again.
            (is_stopped, point) = (true, 1);
        }
        if deaths % 10 == 9 {
            lab.kill("c1");
            lab.start_part("c1");
        }
        let agent = lab.start_part_in("lab", &[], &[("TRIMARAN_FAILPOINT".to_owned(), point.to_string())]);
        let died = until("the agent dies or the run ends", Duration::from_secs(90), || {
            if is_alive(agent) { ended().then_some(false) } else { Some(true) }
        });
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(is_stopped && deaths > 20, "{deaths} times it died: an upgrade has more than ten calls");
    let shown = lab.wait_finished(&run, Duration::from_secs(60));
    assert_eq!(
        (&shown["status"], &shown["stages"][0]["attempt"]),
        (&"succeeded".into(), &1.into()),
        "{shown:#}"
    );
    it.assert_runs("v2");
    it.assert_whole();
    assert_eq!(it.clicks.records().repeated(), 0, "the savepoint has every record once");
    assert_eq!(it.clicks.running_jobs().len(), 1);
}

/// A job that fails between two orders is noticed, and in its bake it goes back in a run of its own.
#[test]
fn a_job_that_fails_in_its_bake_goes_back() {
    let it = Streams::new(&Shape { window: "1s", ..Shape::default() });
    let lab = &it.lab;
    it.clicks.deploy_until(lab, "v1", "succeeded");
    // It works for some seconds, as long as its order takes, and never again.
    let last = *it.clicks.records().0.keys().last().expect("v1 writes records");
    let argument = Some(format!("--fail-at={}", last + 3000));
    it.clicks.reshape(lab, &Shape { window: "1s", bake: "5m", argument, ..Shape::default() });
    let v2 = it.clicks.deploy_until(lab, "v2", "succeeded");
    let back = until("a run goes back", Duration::from_secs(90), || {
        let runs = lab.json(&["run", "list"]);
        let list = runs["runs"].as_array().cloned().unwrap_or_default();
        list.into_iter().find(|run| run["kind"] == "rollback" && run["status"] == "succeeded")
    });
    assert_eq!(back["caused_by"], v2["run"], "{back:#}");
    let why = it.why(&back);
    assert!(why.contains("job_restarts") && why.contains("fail-at"), "{why}");
    it.assert_runs("v1");
    it.assert_whole();
}
