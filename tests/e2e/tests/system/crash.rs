//! Parts are ended with SIGKILL at any moment and started again: the run ends as it would have, and nothing is
//! started twice, as counted by the service itself.

use std::collections::BTreeMap;
use std::time::Duration;

use trimaran_e2e::lab::{Lab, is_alive, signal};
use trimaran_e2e::web::{Shape, Web, stage_in_flight, stages, starts};
use trimaran_test_support::wait::until;

/// How often each host started a version.
fn starts_of(lab: &Lab, version: &str) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for start in starts(lab).into_iter().filter(|start| start.version == version) {
        *count.entry(start.host).or_default() += 1;
    }
    count
}

fn wait_in_flight(lab: &Lab, run: &str, environment: &str) {
    let what = format!("a host of {environment} is in flight");
    let caught = lab.wait_run(run, &what, Duration::from_secs(60), |shown| {
        let flies = stages(shown).any(|stage| stage["environment"] == environment && stage_in_flight(stage));
        (flies || !shown["finished_at"].is_null()).then_some(flies)
    });
    assert!(caught, "{run} ended before a host of {environment} was seen in flight");
}

#[test]
fn every_part_is_killed_in_mid_wave_and_no_service_starts_twice() {
    let lab = Lab::fresh(6);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    wait_in_flight(&lab, &run, "staging");
    for part in ["lab", "host-1", "host-2"] {
        lab.kill(part);
        lab.start_part(part);
    }
    wait_in_flight(&lab, &run, "prod");
    for part in ["host-3", "c1", "host-4", "lab", "host-5"] {
        lab.kill(part);
        lab.start_part(part);
    }
    let shown = lab.wait_status(&run, "succeeded", Duration::from_secs(120));
    for stage in stages(&shown) {
        assert_eq!(stage["attempt"], 1, "{stage}");
    }
    let counted = starts_of(&lab, "v2");
    assert_eq!(counted.len(), 6, "{counted:?}");
    assert!(counted.values().all(|count| *count == 1), "{counted:?}");
}

#[test]
fn a_service_outlives_its_runner_and_its_output_is_kept() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    let shown = web.deploy_until(&lab, "v1", "succeeded");
    let run = shown["run"].as_str().expect("a name").to_owned();
    let first = starts(&lab).into_iter().find(|start| start.host == "host-2").expect("it started");
    lab.kill("host-2");
    assert!(is_alive(first.pid), "the service outlives its runner");
    let away = lab.run(&["logs", &run]);
    let [others, error] =
        [away.stdout, away.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert_eq!(away.status.code(), Some(9), "{error}");
    assert!(error.contains("lines of host `host-2` are missing"), "{error}");
    assert!(others.contains("host-3") && !others.contains("host-2"), "{others}");
    lab.start_part("host-2");
    // Asked before the runner has a session: it is waited for.
    let logs = lab.ok(&["logs", &run, "--host", "host-2"]);
    assert!(logs.contains("web v1 listens on"), "{logs}");
    assert!(is_alive(first.pid));
    assert_eq!(starts(&lab).iter().filter(|start| start.host == "host-2").count(), 1);
}

#[test]
fn a_service_that_crashes_while_its_runner_is_away_is_seen_and_started_again() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let first = starts(&lab).into_iter().find(|start| start.host == "host-3").expect("it started");
    lab.kill("host-3");
    signal(first.pid, "KILL");
    lab.start_part("host-3");
    let again = until("it is started again", Duration::from_secs(30), || {
        starts(&lab).into_iter().rfind(|start| start.host == "host-3" && start.pid != first.pid)
    });
    until("it is healthy again", Duration::from_secs(30), || {
        let status = lab.json(&["status"]);
        let list = status["installations"].as_array().cloned().unwrap_or_default();
        list.iter().all(|it| it["health"] == "healthy").then_some(())
    });
    assert!(is_alive(again.pid));
}

#[test]
fn an_agent_whose_directory_is_gone_is_replaced_in_mid_wave() {
    let lab = Lab::fresh(6);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    wait_in_flight(&lab, &run, "prod");
    let agent = lab.part("lab");
    lab.kill("lab");
    std::fs::remove_dir_all(&agent.data_dir).expect("removed");
    std::fs::create_dir(&agent.data_dir).expect("made again");
    let token = lab.json(&["agent", "enroll", "lab"])["token"].as_str().expect("a token").to_owned();
    let file = lab.folder.path().join("token");
    std::fs::write(&file, token).expect("a file");
    lab.start_part_with("lab", &["--token-file", &file.display().to_string()]);
    let shown = lab.wait_status(&run, "succeeded", Duration::from_secs(150));
    assert!(stages(&shown).all(|stage| stage["attempt"] == 1), "{shown:#}");
    let counted = starts_of(&lab, "v2");
    assert!(counted.len() == 6 && counted.values().all(|count| *count == 1), "{counted:?}");
}

#[test]
fn everything_stops_and_comes_back_with_the_same_services_and_requests() {
    let mut lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let before = lab.json(&["history", "web"]);
    lab.restart();
    assert_eq!(lab.json(&["history", "web"])["entries"], before["entries"]);
    until("the services run again", Duration::from_secs(30), || {
        let status = lab.json(&["status"]);
        let list = status["installations"].as_array().cloned().unwrap_or_default();
        (!list.is_empty() && list.iter().all(|it| it["health"] == "healthy")).then_some(())
    });
}
