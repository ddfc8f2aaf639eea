//! Two incarnations of one identity, and two pipelines on the same hosts: each start happens once, and hosts replace one service at a time.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive, signal};
use trimaran_e2e::web::{Shape, Web, handovers, stage_in_flight, stages, starts};
use trimaran_test_support::wait::until;

#[test]
fn a_copy_of_an_agents_directory_takes_over_and_the_paused_original_ends() {
    let lab = Lab::fresh(3);
    let agent = lab.part("lab");
    let other = format!("127.0.0.1:{}", free_udp_port());
    for host in ["host-1", "host-2", "host-3"] {
        lab.kill(host);
        lab.start_part_with(host, &["--endpoint", &other]);
    }
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    until("a host is in flight", Duration::from_secs(30), || {
        stages(&lab.show(&run)).any(stage_in_flight).then_some(())
    });
    let original = agent.pid.expect("it runs");
    signal(original, "STOP");
    let copy = lab.folder.path().join("copy");
    let copied = Command::new("cp").arg("-a").arg(&agent.data_dir).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    let argv: Vec<String> = agent
        .argv
        .iter()
        .map(|word| {
            if *word == agent.address {
                other.clone()
            } else if *word == agent.data_dir.display().to_string() {
                copy.display().to_string()
            } else {
                word.clone()
            }
        })
        .collect();
    lab.start_argv(&argv, &copy);
    lab.wait_status(&run, "succeeded", Duration::from_secs(120));
    signal(original, "CONT");
    until("the original ends", Duration::from_secs(30), || (!is_alive(original)).then_some(()));
    for host in ["host-1", "host-2", "host-3"] {
        let count = starts(&lab).iter().filter(|start| start.host == host && start.version == "v2").count();
        assert_eq!(count, 1, "{host} started v2 once");
    }
    let audit = lab.json(&["audit", "list"]).to_string();
    assert!(audit.contains("supersede"), "{audit}");
    // `dev` knows nothing of the copy.
    let pid: u32 =
        std::fs::read_to_string(copy.join("pid")).expect("a pid").trim().parse().expect("a number");
    signal(pid, "TERM");
}

#[test]
fn two_pipelines_on_the_same_hosts_take_about_as_long_as_one() {
    let lab = Lab::fresh(3);
    let shape = |name: &str| Shape { pipeline: name.to_owned(), ..Shape::default() };
    let builds = [("v1", "good"), ("v2", "good")];
    let (web, api) = (Web::new(&lab, shape("web"), &builds), Web::new(&lab, shape("api"), &builds));
    web.deploy_until(&lab, "v1", "succeeded");
    api.deploy_until(&lab, "v1", "succeeded");
    let (one, other) = (web.deploy(&lab, "v2"), api.deploy(&lab, "v2"));
    let shown = [&one, &other].map(|run| lab.wait_status(run, "succeeded", Duration::from_secs(90)));
    assert!(overlap(&shown[0], &shown[1]), "the pipelines ran side by side: {shown:#?}");
    assert_hosts_take_turns(&lab);
}

/// Whether a stage of one run worked while a stage of the other did. RFC 3339 in UTC sorts as text.
fn overlap(one: &Value, other: &Value) -> bool {
    let spans = |run| {
        let time = |stage: &Value, name: &str| stage[name].as_str().expect("the stage ran").to_owned();
        let spans = stages(run).map(|stage| (time(stage, "started_at"), time(stage, "finished_at")));
        spans.collect::<Vec<_>>()
    };
    let others = spans(other);
    spans(one).iter().any(|(start, end)| others.iter().any(|(from, until)| start < until && from < end))
}

/// From the moment a service is asked to end until its next process serves, no other service of its host is asked
/// to end.
fn assert_hosts_take_turns(lab: &Lab) {
    let all = handovers(lab);
    let mut down: BTreeMap<&str, u16> = BTreeMap::new();
    let mut steps = 0;
    for (what, host, port) in &all {
        match (what.as_str(), down.get(host.as_str())) {
            ("down", None) => drop(down.insert(host, *port)),
            ("up", Some(own)) if own == port => {
                down.remove(host.as_str());
                steps += 1;
            }
            ("up", None) => {}
            (_, busy) => panic!("{what} of {port} on {host} while {busy:?} is down there: {all:?}"),
        }
    }
    assert_eq!(steps, 6, "each service went from v1 to v2 on each host: {all:?}");
}

#[test]
fn a_canceled_run_lets_hosts_in_flight_finish_and_starts_nothing_more() {
    let lab = Lab::fresh(6);
    let web =
        Web::new(&lab, Shape { min_healthy: "2s", ..Shape::default() }, &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    until("a host is in flight", Duration::from_secs(30), || {
        stages(&lab.show(&run)).any(stage_in_flight).then_some(())
    });
    lab.ok(&["cancel", &run]);
    let shown = lab.wait_status(&run, "canceled", Duration::from_secs(60));
    let watched = lab.run(&["watch", &run]);
    assert_eq!(watched.status.code(), Some(13), "{shown:#}");
    let started = starts(&lab).iter().filter(|start| start.version == "v2").count();
    assert!((1..=2).contains(&started), "{started} hosts started v2");
}

fn free_udp_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.local_addr().expect("an address").port()
}
