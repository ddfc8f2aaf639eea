//! Requests that change state: remembered, decided once, and durable before they are answered.

use std::process::{Command, Stdio};
use std::time::Duration;

use trimaran_e2e::lab::{Lab, signal};
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

fn request_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

#[test]
fn a_request_id_answers_with_the_same_run_also_after_a_restart_of_everything() {
    let mut lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    let id = request_id();
    let (v1, v2) = (web.artifact("v1"), web.artifact("v2"));
    let deploy = |lab: &Lab, artifact: &str| {
        lab.run(&[
            "deploy",
            "-f",
            web.file(),
            "--artifact",
            artifact,
            "--detach",
            "--request-id",
            &id,
            "-o",
            "json",
        ])
    };
    let run = |output: &std::process::Output| {
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        shown["run"].as_str().expect("a name").to_owned()
    };
    let first = run(&deploy(&lab, &v1));
    assert_eq!(run(&deploy(&lab, &v1)), first);
    lab.wait_status(&first, "succeeded", Duration::from_secs(60));
    lab.restart();
    assert_eq!(run(&deploy(&lab, &v1)), first);
    let other = deploy(&lab, &v2);
    assert_eq!(other.status.code(), Some(6), "{}", String::from_utf8_lossy(&other.stderr));
    let runs = lab.json(&["run", "list"]);
    assert_eq!(runs["runs"].as_array().expect("a list").len(), 1);
    let v4 = "deploy -f x --artifact a=b --request-id 0e37df36-f698-4168-8ae2-3c0e2ed1a2a3 --detach";
    let words: Vec<&str> = v4.split(' ').collect();
    assert_eq!(lab.run(&words).status.code(), Some(2));
}

#[test]
fn between_a_request_and_its_answer_the_log_is_synced() {
    let lab = Lab::fresh(1);
    let pid = lab.part("c1").pid.expect("it runs");
    let trace = lab.folder.path().join("trace");
    let mut strace = Command::new("strace")
        .args(["-f", "-e", "trace=fdatasync,fsync", "-o"])
        .arg(&trace)
        .args(["-p", &pid.to_string()])
        .stderr(Stdio::null())
        .spawn()
        .expect("strace runs");
    let syncs = || std::fs::read_to_string(&trace).unwrap_or_default().matches("sync(").count();
    until("strace watches", Duration::from_secs(10), || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")).then_some(())
    });
    for number in 0..5 {
        let before = syncs();
        lab.ok(&["operator", "enroll", &format!("someone-{number}"), "--role", "viewer"]);
        assert!(syncs() > before, "a token was given out before it was durable");
    }
    signal(strace.id(), "INT");
    strace.wait().expect("strace ends");
}

#[test]
fn two_operators_decide_one_approval_and_the_second_is_told_who_was_first() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape { approve: true, ..Shape::default() }, &[("v1", "good")]);
    let run = web.deploy(&lab, "v1");
    until("prod asks", Duration::from_secs(60), || {
        let why = lab.json(&["why", &run]);
        why.to_string().contains("\"approval\"").then_some(())
    });
    let both: Vec<_> = std::thread::scope(|scope| {
        let approve = |option: &'static str| {
            let (lab, run) = (&lab, &run);
            scope.spawn(move || lab.run(&["approve", run, "--option", option]))
        };
        let threads = [approve("promote"), approve("roll_back")];
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut codes: Vec<_> = both.iter().map(|output| output.status.code()).collect();
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(6)]);
    let loser = both.iter().find(|output| output.status.code() == Some(6)).expect("one lost");
    let words = String::from_utf8_lossy(&loser.stderr);
    assert!(words.contains("admin"), "the answer to the second names the first: {words}");
}
