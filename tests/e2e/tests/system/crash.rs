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
fn an_agent_that_dies_before_and_behind_each_write_and_call_goes_on() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    let run = web.deploy(&lab, "v1");
    let ended = |lab: &Lab| !lab.show(&run)["finished_at"].is_null();
    lab.kill("lab");
    // Each process comes one write or call further than the one before it.
    for point in 1.. {
        // It may die before it has written its process id.
        let agent = lab.start_part_in("lab", &[], &[("TRIMARAN_FAILPOINT".to_owned(), point.to_string())]);
        let died = until("the agent dies or the run ends", Duration::from_secs(90), || {
            if is_alive(agent) { ended(&lab).then_some(false) } else { Some(true) }
        });
        if !died {
            assert!(point > 4, "at least two writes and their results are between the orders and their end");
            break;
        }
    }
    let shown = lab.wait_status(&run, "succeeded", Duration::from_secs(60));
    assert!(stages(&shown).all(|stage| stage["attempt"] == 1), "{shown:#}");
    let counted = starts_of(&lab, "v1");
    assert!(counted.len() == 3 && counted.values().all(|count| *count == 1), "{counted:?}");
}

/// Removes all that a dead agent had; the file with the token of its replacement.
fn lose_directory(lab: &Lab) -> String {
    let directory = lab.part("lab").data_dir;
    std::fs::remove_dir_all(&directory).expect("removed");
    std::fs::create_dir(&directory).expect("made again");
    let token = lab.json(&["agent", "enroll", "lab"])["token"].as_str().expect("a token").to_owned();
    let file = lab.folder.path().join("token");
    std::fs::write(&file, token).expect("a file");
    file.display().to_string()
}

/// A rollback supersedes a wave in flight. The agent dies before and behind each write and call of both orders, and loses
/// its directory between the two.
#[test]
fn an_order_that_supersedes_one_in_flight_goes_on_from_what_that_one_did() {
    let lab = Lab::fresh(3);
    let shape = Shape {
        min_healthy: "6s",
        deadline: "30s",
        staging_sizes: "[100%]",
        prod_sizes: "[100%]",
        ..Shape::default()
    };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    lab.kill("lab");
    let run = web.deploy(&lab, "v2");
    let (mut point, mut deaths, mut superseded, mut lost) = (1, [0, 0], false, false);
    let mut token: Option<String> = None;
    loop {
        let with_token: Vec<&str> = token.iter().flat_map(|file| ["--token-file", file.as_str()]).collect();
        let dies_at = [("TRIMARAN_FAILPOINT".to_owned(), point.to_string())];
        let agent = lab.start_part_in("lab", &with_token, &dies_at);
        let died = until("the agent dies or the run ends", Duration::from_secs(90), || {
            if !superseded && starts_of(&lab, "v2").contains_key("host-1") {
                lab.ok(&["rollback", "web", "--env", "staging", "--yes", "--detach"]);
                superseded = true;
            }
            match is_alive(agent) {
                true => (!lab.show(&run)["finished_at"].is_null()).then_some(false),
                false => Some(true),
            }
        });
        if !died {
            break;
        }
        deaths[usize::from(superseded)] += 1;
        (point, token) = (point + 1, None);
        if superseded && !lost {
            // The next process knows nothing, and each write and call of the second order comes.
            (lost, point, token) = (true, 1, Some(lose_directory(&lab)));
        }
    }
    assert!(deaths[0] >= 4 && deaths[1] >= 4, "two writes and two calls are in each order: {deaths:?}");
    let shown = lab.wait_status(&run, "rolled_back", Duration::from_secs(60));
    assert!(stages(&shown).all(|stage| stage["attempt"].as_u64() <= Some(1)), "{shown:#}");
    let counted = starts_of(&lab, "v2");
    assert_eq!(
        counted,
        BTreeMap::from([("host-1".to_owned(), 1)]),
        "the wave started it once, and no one else did"
    );
    assert!(
        starts_of(&lab, "v1").into_iter().all(|(host, count)| count <= 1 + usize::from(host == "host-1"))
    );
    until("what ran serves again", Duration::from_secs(30), || {
        let status = lab.json(&["status"]);
        let list = status["installations"].as_array().cloned().unwrap_or_default();
        list.iter().all(|it| it["version"] == "v1" && it["health"] == "healthy").then_some(())
    });
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
    lab.kill("lab");
    let token = lose_directory(&lab);
    lab.start_part_with("lab", &["--token-file", &token]);
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
