//! From which state a job goes back, and the same on the older version of Flink.

use std::time::Duration;

use trimaran_e2e::clicks::{PIPELINE, Shape, newest};
use trimaran_test_support::wait::until;

use crate::Streams;

/// What the file prefers decides where a job goes back to when no one says it, and `ask` waits for a human with the costs
/// of both.
#[test]
fn a_job_goes_back_to_the_state_that_its_file_prefers() {
    // `latecrash` fails up to two seconds behind its start, and more on a slow machine: a shorter window would call it healthy.
    let shape = |rollback| Shape { window: "6s", rollback, ..Shape::default() };
    let it = Streams::new(&shape("{ prefer: last_checkpoint }"));
    let lab = &it.lab;
    it.clicks.deploy_until(lab, "v1", "succeeded");
    let before = it.clicks.running_jobs().first().expect("v1 runs").clone();
    // One that fails right after its start may have made no checkpoint of its own.
    let crash = it.clicks.deploy_until(lab, "latecrash", "rolled_back");
    let path = |state: &serde_json::Value| state["path"].as_str().expect("a path").to_owned();
    // Not the savepoint of v1: Flink names savepoints and checkpoints after the job that wrote them.
    let began = newest(lab)["state"].clone();
    let of_before = [format!("/savepoint-{}-", &before[..6]), format!("/{before}/chk-")];
    let is_of_before = of_before.iter().any(|name| path(&began).contains(name));
    assert!(!is_of_before, "{began:#}: {}", it.why(&crash));
    it.assert_runs("v1");
    it.assert_whole();

    // By hand, where the job can be stopped: with a savepoint of the version that is left, which repeats nothing.
    it.clicks.deploy_until(lab, "v2", "succeeded");
    let repeated = it.clicks.records().repeated();
    let back = ["rollback", PIPELINE, "--env", "prod", "--to", "v1", "--yes", "--wait", "--timeout", "120s"];
    assert_eq!(lab.json(&back)["status"], "succeeded");
    assert_eq!(newest(lab)["state"]["kind"], "savepoint", "{:#}", newest(lab));
    assert_eq!(it.clicks.records().repeated(), repeated);
    it.assert_runs("v1");

    it.clicks.reshape(lab, &shape("{ prefer: ask }"));
    it.clicks.deploy_until(lab, "v2", "succeeded");
    let crash = it.clicks.deploy(lab, "latecrash");
    let why = until("a human is asked", Duration::from_secs(60), || {
        let why = lab.ok(&["why", &crash]);
        why.contains("state_choice").then_some(why)
    });
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(why.contains("from the savepoint file:") && why.contains("from the last checkpoint:"), "{why}");
    assert!(why.contains("records are processed again"), "{why}");
    let chosen = ["rollback", PIPELINE, "--env", "prod", "--from", "savepoint", "--yes", "--detach"];
    lab.json(&chosen);
    let crash = lab.wait_finished(&crash, Duration::from_secs(60));
    assert_eq!(crash["status"], "rolled_back", "{crash:#}");
    let began = newest(lab)["state"].clone();
    let number = crash["run"].as_str().and_then(|run| run.split_once('#')).expect("a run").1;
    assert!(path(&began).contains(&format!("/clicks/{number}-1-")), "{began:#}");
    it.assert_runs("v2");
    it.assert_whole();
}

/// 1.20.5 in short: deployed, upgraded with its state, and back from a version that can't read it.
#[test]
fn a_job_on_flink_1_20_is_upgraded_and_goes_back() {
    let it = Streams::alone("1.20.5", &Shape { window: "2s", ..Shape::default() });
    let lab = &it.lab;
    it.clicks.deploy_until(lab, "v1", "succeeded");
    it.clicks.deploy_until(lab, "v2", "succeeded");
    assert_eq!(newest(lab)["state"]["kind"], "savepoint", "{:#}", newest(lab));
    assert_eq!(it.clicks.records().repeated(), 0, "a stop with a savepoint repeats nothing");
    it.assert_runs("v2");
    let badstate = it.clicks.deploy_until(lab, "badstate", "rolled_back");
    let why = it.why(&badstate);
    assert!(why.contains("job_restarts"), "{why}");
    it.assert_runs("v2");
    it.assert_whole();
}
