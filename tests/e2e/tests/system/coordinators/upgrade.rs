//! Coordinators of two builds in one cluster: it works at the level of the older one, each can go back, and what the newer one
//! brings works when the level is raised, and not before. The older build is the present one that is held at level 1.

use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive};
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

use super::{WAIT_MAX, coordinators, status, wait_whole};

/// What makes a coordinator one of the build before.
const BEFORE: (&str, &str) = ("TRIMARAN_MAX_FEATURE_LEVEL", "1");

/// Starts a coordinator again, with the build before or the present one.
fn start_with(lab: &Lab, name: &str, before: bool) -> u32 {
    lab.kill(name);
    let (variable, value) = BEFORE;
    let environment = before.then(|| (variable.to_owned(), value.to_owned()));
    let pid = lab.start_part_in(name, &[], environment.as_slice());
    let max = if before { 1 } else { 2 };
    until("it says what it supports", WAIT_MAX, || {
        let status = status(lab)?;
        let mut members = status["members"].as_array()?.iter();
        members.any(|it| it["name"] == name && it["feature_levels"]["max"] == max).then_some(())
    });
    wait_whole(lab);
    pid
}

/// A token for many runners, through this coordinator; what is said on stderr where it is refused.
fn token_for_many(lab: &Lab, address: &str) -> Result<(), String> {
    let words =
        ["--endpoint", address, "runner", "enroll", "--group", "web", "--agent", "lab", "--uses", "2"];
    let output = lab.run(&words);
    match output.status.code() {
        Some(0) => Ok(()),
        Some(6) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        other => panic!("{other:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn refused_everywhere(lab: &Lab) {
    for address in coordinators(lab) {
        let words = token_for_many(lab, &address).expect_err("it needs the next level");
        assert!(words.contains("this needs feature level 2, and the cluster is at 1"), "{words}");
    }
}

#[test]
fn two_builds_work_at_the_older_level_and_what_the_newer_one_brings_waits_until_it_is_raised() {
    let lab = Lab::fresh_in(3, 3, &[BEFORE]);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    let whole = wait_whole(&lab);
    assert_eq!(
        (&whole["feature_level"], &whole["next_feature_level"]),
        (&1.into(), &Value::Null),
        "{whole:#}"
    );

    // One is upgraded, goes back, and is upgraded again, then the second one.
    for (name, before) in [("c1", false), ("c1", true), ("c1", false), ("c2", false)] {
        start_with(&lab, name, before);
        refused_everywhere(&lab);
    }
    web.deploy_until(&lab, "v1", "succeeded");
    let shown = status(&lab).expect("a status");
    assert_eq!(shown["next_feature_level"], serde_json::json!({ "level": 2, "lacking": ["c3"] }));
    for arguments in [&["cluster", "finalize", "--check"][..], &["cluster", "finalize"]] {
        let output = lab.run(arguments);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(6), "{words}");
        assert!(words.contains("feature level 2 is not supported by `c3`"), "{words}");
    }
    refused_everywhere(&lab);

    // The last one; now it can be raised, and works.
    let pid = start_with(&lab, "c3", false);
    assert!(
        lab.ok(&["cluster", "finalize", "--check"]).contains("every coordinator supports feature level 2")
    );
    assert_eq!(status(&lab).expect("a status")["feature_level"], 1, "it was only asked");
    let raised = lab.json(&["cluster", "finalize"]);
    assert_eq!(raised["feature_level"], 2, "{raised:#}");
    assert_eq!(lab.json(&["cluster", "finalize"])["feature_level"], 2, "again");
    for address in coordinators(&lab) {
        until("it knows the level", WAIT_MAX, || token_for_many(&lab, &address).ok());
    }

    // The build before does not start any more, and says what to do; the others go on.
    assert!(is_alive(pid));
    lab.kill("c3");
    let (variable, value) = BEFORE;
    let old = lab.start_part_in("c3", &[], &[(variable.to_owned(), value.to_owned())]);
    until("it ends", Duration::from_secs(20), || (!is_alive(old)).then_some(()));
    let log = std::fs::read_to_string(lab.part("c3").data_dir.join("log")).expect("a log");
    assert!(log.contains("the binary is too old: the cluster is at feature level 2"), "{log}");
    assert!(log.contains("start the coordinator with the binary that the others run"), "{log}");
    web.deploy_until(&lab, "v2", "succeeded");
    lab.start_part("c3");
    wait_whole(&lab);
}
