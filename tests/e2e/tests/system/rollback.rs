//! Bad releases come back by themselves: to the last one that was healthy and stayed so, without a download.

use std::time::Duration;

use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web, stages, starts};
use trimaran_test_support::wait::until;

/// The version that every installation runs.
fn versions(lab: &Lab) -> Vec<String> {
    let status = lab.json(&["status"]);
    let list = status["installations"].as_array().cloned().unwrap_or_default();
    list.iter().map(|it| it["version"].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn two_bad_versions_in_a_row_both_go_back_to_the_good_one() {
    let lab = Lab::fresh(3);
    let builds = [("v1", "good"), ("v2", "fail-health"), ("v3", "exit-after 100 7")];
    let web = Web::new(&lab, Shape { deadline: "4s", ..Shape::default() }, &builds);
    web.deploy_until(&lab, "v1", "succeeded");
    for version in ["v2", "v3"] {
        let shown = web.deploy_until(&lab, version, "rolled_back");
        assert_eq!(versions(&lab), ["v1", "v1"], "after {version}: {shown:#}");
        let why = lab.ok(&["why", shown["run"].as_str().expect("a name")]);
        let cause = if version == "v2" { "500" } else { "7" };
        assert!(why.contains(cause), "{why}");
    }
}

#[test]
fn a_failed_plan_is_refused_until_it_is_overridden() {
    let lab = Lab::fresh(3);
    let web = Web::new(
        &lab,
        Shape { deadline: "3s", ..Shape::default() },
        &[("v1", "good"), ("v2", "fail-health")],
    );
    web.deploy_until(&lab, "v1", "succeeded");
    web.deploy_until(&lab, "v2", "rolled_back");
    let artifact = web.artifact("v2");
    let again = lab.run(&["deploy", "-f", web.file(), "--artifact", &artifact, "--detach"]);
    assert_eq!(again.status.code(), Some(6));
    let words = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(words.contains("--override quarantine"), "{words}");
    let forced = lab.json(&[
        "deploy",
        "-f",
        web.file(),
        "--artifact",
        &artifact,
        "--detach",
        "--override",
        "quarantine",
        "--reason",
        "the database was down",
    ]);
    lab.wait_status(forced["run"].as_str().expect("a name"), "rolled_back", Duration::from_secs(60));
}

#[test]
fn the_way_back_needs_no_artifact_server_and_no_cache() {
    let lab = Lab::fresh(3);
    let builds = [("v1", "good"), ("v2", "fail-health")];
    let mut web = Web::new(&lab, Shape { deadline: "5s", ..Shape::default() }, &builds);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    until("v2 starts somewhere", Duration::from_secs(30), || {
        starts(&lab).iter().any(|start| start.version == "v2").then_some(())
    });
    web.artifacts.stop();
    for part in lab.parts().iter().filter(|part| part.role == "runner") {
        // A cache that was never made is gone as well.
        let _ = std::fs::remove_dir_all(part.data_dir.join("cache"));
    }
    lab.wait_status(&run, "rolled_back", Duration::from_secs(60));
    assert_eq!(versions(&lab), ["v1", "v1"]);
}

#[test]
fn a_failure_in_the_bake_makes_a_run_of_its_own_that_restores() {
    let lab = Lab::fresh(3);
    let shape = Shape { bake: "20s", staging_sizes: "[100%]", prod_sizes: "[100%]", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "healthy-for 6000")]);
    web.deploy_until(&lab, "v1", "succeeded");
    until("v1 has baked", Duration::from_secs(60), || {
        let status = lab.json(&["status"]);
        let list = status["installations"].as_array().cloned().unwrap_or_default();
        list.iter().all(|it| it["bakes_until"].is_null()).then_some(())
    });
    let v2 = web.deploy_until(&lab, "v2", "succeeded");
    let cause = v2["run"].as_str().expect("a name").to_owned();
    let back = until("a run goes back", Duration::from_secs(60), || {
        let runs = lab.json(&["run", "list"]);
        let list = runs["runs"].as_array().cloned().unwrap_or_default();
        list.into_iter().find(|run| run["kind"] == "rollback" && run["status"] == "succeeded")
    });
    assert_eq!(back["caused_by"], cause.as_str(), "{back:#}");
    let status = lab.json(&["status"]);
    let prod =
        status["installations"].as_array().expect("a list").iter().find(|it| it["environment"] == "prod");
    assert_eq!(prod.expect("prod")["version"], "v1", "{status:#}");
}

#[test]
fn the_first_release_of_all_is_stopped_when_it_is_bad() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape { deadline: "3s", ..Shape::default() }, &[("v1", "fail-health")]);
    let shown = web.deploy_until(&lab, "v1", "failed");
    let staging = stages(&shown).find(|stage| stage["name"] == "staging/lab-staging").expect("a stage");
    assert_eq!(staging["status"], "failed", "{staging:#}");
    let pid = starts(&lab)[0].pid;
    assert!(!trimaran_e2e::lab::is_alive(pid), "the bad service was stopped");
}

#[test]
fn a_way_back_that_fails_is_told_and_the_next_good_release_mends_it() {
    let lab = Lab::fresh(3);
    let builds = [("v1", "good-once"), ("v2", "fail-health"), ("v3", "good")];
    let web = Web::new(&lab, Shape { deadline: "2s", ..Shape::default() }, &builds);
    web.deploy_until(&lab, "v1", "succeeded");
    let shown = web.deploy_until(&lab, "v2", "rollback_failed");
    let run = shown["run"].as_str().expect("a name");
    assert_eq!(lab.run(&["watch", run]).status.code(), Some(3), "{shown:#}");
    let staging = stages(&shown).find(|stage| stage["name"] == "staging/lab-staging").expect("a stage");
    assert_eq!(staging["status"], "rollback_failed", "{staging:#}");
    let why = lab.ok(&["why", run]);
    assert!(why.contains("revert_failed") && why.contains("the rollback to"), "{why}");
    let prod = stages(&shown).find(|stage| stage["name"] == "prod/lab-prod").expect("a stage");
    assert_eq!(prod["status"], "canceled", "{prod:#}");
    web.deploy_until(&lab, "v3", "succeeded");
    assert_eq!(versions(&lab), ["v3", "v3"]);
}

#[test]
fn a_release_that_still_bakes_is_no_release_to_go_back_to() {
    let lab = Lab::fresh(3);
    let shape = Shape {
        bake: "25s",
        deadline: "4s",
        staging_sizes: "[100%]",
        prod_sizes: "[100%]",
        scope: "run",
        ..Shape::default()
    };
    let web =
        Web::new(&lab, shape, &[("v1", "good"), ("v2", "good"), ("v3", "fail-health-on host-2 host-3")]);
    web.deploy_until(&lab, "v1", "succeeded");
    until("v1 has baked", Duration::from_secs(60), || {
        let status = lab.json(&["status"]);
        let list = status["installations"].as_array().cloned().unwrap_or_default();
        list.iter().all(|it| it["bakes_until"].is_null()).then_some(())
    });
    web.deploy_until(&lab, "v2", "succeeded");
    let v3 = web.deploy_until(&lab, "v3", "rolled_back");
    let status = lab.json(&["status"]);
    let list = status["installations"].as_array().cloned().unwrap_or_default();
    let prod = list.iter().find(|it| it["environment"] == "prod").expect("prod");
    assert_eq!(prod["version"], "v1", "v2 was still in its bake: {v3:#}");
}

#[test]
fn a_human_rolls_back_and_a_judgment_of_roll_back_restores_staging() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape { approve: true, ..Shape::default() }, &[("v1", "good"), ("v2", "good")]);
    let v1 = web.deploy(&lab, "v1");
    web.approve(&lab, &v1, "promote");
    lab.wait_status(&v1, "succeeded", Duration::from_secs(60));
    let v2 = web.deploy(&lab, "v2");
    web.approve(&lab, &v2, "roll_back");
    lab.wait_status(&v2, "rolled_back", Duration::from_secs(60));
    assert_eq!(versions(&lab), ["v1", "v1"]);
    let why = lab.ok(&["why", &v2]);
    assert!(why.contains("roll"), "{why}");
}
