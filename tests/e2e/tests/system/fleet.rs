//! Machines that come and go: what is shown of them, what hosts that join get, and that nothing is rolled back for those
//! that are away.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive, signal};
use trimaran_e2e::machine::Machine;
use trimaran_e2e::web::{Shape, Web, stage_in_flight, stages, starts};
use trimaran_test_support::wait::until;

/// The installation on the prod target.
fn prod(lab: &Lab) -> Value {
    let status = lab.json(&["status", "web"]);
    let list = status["installations"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|it| it["environment"] == "prod").expect("prod has an installation")
}

/// Kills a host with everything on it, as a loss of power does.
fn power_off(lab: &Lab, name: &str) {
    let services: Vec<u32> = starts(lab).iter().filter(|it| it.host == name).map(|it| it.pid).collect();
    lab.kill(name);
    for pid in services {
        signal(pid, "KILL");
    }
}

/// The last process of a version on a host.
fn process(lab: &Lab, host: &str, version: &str) -> u32 {
    let all = starts(lab);
    let mut found = all.iter().rev().filter(|it| it.host == host && it.version == version);
    found.next().expect("it was started").pid
}

fn runs(lab: &Lab) -> usize {
    lab.json(&["run", "list"])["runs"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_crash_in_a_bake_and_a_host_that_left_are_named_and_more_crashes_than_the_budget_go_back_at_once() {
    // Two in staging, six in prod, of which one leaves.
    let lab = Lab::fresh(9);
    lab.ok(&["runner", "label", "host-3", "group=prod"]);
    let shape = Shape { bake: "5m", prod_unavailable: "3", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    lab.ok(&["runner", "label", "host-9", "group=other"]);
    web.deploy_until(&lab, "v2", "succeeded");
    until("the host that left is named", Duration::from_secs(20), || {
        lab.ok(&["why", "web#2"]).contains("host-9: it does not belong to the target").then_some(())
    });
    // The release before, on a host that left; and one crash of this one, which its restart policy fixes.
    signal(process(&lab, "host-9", "v1"), "KILL");
    signal(process(&lab, "host-4", "v2"), "KILL");
    until("the crash is counted", Duration::from_secs(20), || {
        let why = lab.ok(&["why", "web#2"]);
        (why.contains("a process ended once") && why.contains("host-4")).then_some(())
    });
    std::thread::sleep(Duration::from_secs(4));
    let after = prod(&lab);
    assert_eq!((&after["version"], &after["health"]), (&"v2".into(), &"healthy".into()), "{after:#}");
    assert_eq!(runs(&lab), 2, "nothing was rolled back");
    assert!(lab.ok(&["status", "web"]).contains("host-9"), "the orphan is named");

    // No crash is allowed, and one that is fixed at once is a warning: the second at the same time is one too many, also
    // while the orphan serves well.
    for host in ["host-5", "host-6", "host-7"] {
        signal(process(&lab, host, "v2"), "KILL");
    }
    let killed = Instant::now();
    until("it goes back", Duration::from_secs(10), || (runs(&lab) == 3).then_some(()));
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(1), "it went back after {took:?}");
    let list = lab.json(&["run", "list"]);
    assert_eq!(list["runs"][0]["caused_by"], "web#2", "{list:#}");
    lab.wait_status("web#3", "succeeded", Duration::from_secs(60));
    assert_eq!(prod(&lab)["version"], "v1");
}

#[test]
fn a_machine_that_is_gone_in_mid_wave_is_named_blocks_nothing_and_is_removed() {
    let lab = Lab::fresh(6);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good"), ("v3", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    // A host of prod is at work: the last one waits for its turn, and is gone for ever.
    until("prod is at work", Duration::from_secs(60), || {
        stages(&lab.show(&run)).any(|it| it["target"] == "lab-prod" && stage_in_flight(it)).then_some(())
    });
    power_off(&lab, "host-6");
    until("the wave that waits for it names it", Duration::from_secs(30), || {
        let why = lab.json(&["why", &run]);
        let waits = |it: &Value| {
            let names = it["message"].as_str().is_some_and(|text| text.contains("host-6"));
            names && it["since"].is_string() && it["next_check"].is_string()
        };
        let stages = why["stages"].as_array()?;
        stages
            .iter()
            .any(|it| it["reasons"].as_array().is_some_and(|all| all.iter().any(waits)))
            .then_some(())
    });
    lab.wait_status(&run, "succeeded", Duration::from_secs(90));
    let it = prod(&lab);
    assert_eq!((&it["desired"], &it["ready"], &it["lost"]), (&4.into(), &3.into(), &1.into()), "{it:#}");
    assert_eq!(it["code"], "host_not_connected");
    let alarms = lab.json(&["cluster", "status"])["alarms"].clone();
    assert!(alarms.to_string().contains("host-6"), "{alarms:#}");

    lab.ok(&["runner", "remove", "host-6", "--yes"]);
    until("it is out", Duration::from_secs(20), || {
        let it = prod(&lab);
        (it["lost"] == 0 && it["desired"] == 3 && it["ready"] == 3).then_some(())
    });
    assert!(!lab.ok(&["runner", "list"]).contains("host-6"));
    web.deploy_until(&lab, "v3", "succeeded");
}

/// Rolls prod back by hand; how long it took.
fn roll_back(lab: &Lab) -> Duration {
    let begun = Instant::now();
    let back = lab.run(&["rollback", "web", "--env", "prod", "--yes", "--wait", "--timeout", "60s"]);
    assert_eq!(back.status.code(), Some(0), "{}", String::from_utf8_lossy(&back.stderr));
    assert_eq!(prod(lab)["version"], "v1");
    begun.elapsed()
}

#[test]
fn a_host_that_is_dead_is_shown_by_its_name_and_delays_no_rollback_by_hand() {
    let lab = Lab::fresh(6);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good"), ("v3", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    web.deploy_until(&lab, "v2", "succeeded");
    let alone = roll_back(&lab);
    web.deploy_until(&lab, "v3", "succeeded");
    power_off(&lab, "host-6");
    until("it is shown", Duration::from_secs(20), || {
        let it = prod(&lab);
        let named = it["message"].as_str().is_some_and(|message| message.contains("host-6"));
        let counts = it["desired"] == 4 && it["ready"] == 3 && it["lost"] == 1;
        (counts && named && it["code"] == "host_not_connected" && it["health"] == "healthy").then_some(())
    });
    let alarms = lab.json(&["cluster", "status"])["alarms"].clone();
    assert!(alarms.to_string().contains("host-6"), "{alarms:#}");
    let took = roll_back(&lab);
    assert!(took <= alone + Duration::from_secs(10), "it took {took:?}, and {alone:?} without the dead host");
}

#[test]
fn a_host_that_joins_gets_the_release_and_one_that_is_drained_ends_its_services() {
    let lab = Lab::fresh(4);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    lab.ok(&["runner", "cordon", "host-4", "--yes"]);
    web.deploy_until(&lab, "v1", "succeeded");
    assert!(!starts(&lab).iter().any(|it| it.host == "host-4"), "it is out of its target");
    lab.ok(&["runner", "uncordon", "host-4"]);
    until("it serves", Duration::from_secs(30), || {
        let it = prod(&lab);
        let serves = it["members"] == it["updated"] && it["ready"] == it["members"] && it["members"] == 3;
        serves.then_some(())
    });
    assert!(starts(&lab).iter().any(|it| it.host == "host-4" && it.version == "v1"));
    lab.ok(&["runner", "drain", "host-4", "--yes"]);
    until("its services have ended", Duration::from_secs(30), || {
        let pid = starts(&lab).iter().rev().find(|it| it.host == "host-4")?.pid;
        (!is_alive(pid)).then_some(())
    });
    assert_eq!(runs(&lab), 1, "no run did it");
}

#[test]
fn an_agent_that_is_away_makes_its_installations_unknown_by_its_name() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    lab.kill("lab");
    until("it is unknown", Duration::from_secs(25), || {
        let it = prod(&lab);
        let named = it["message"].as_str().is_some_and(|message| message.contains("agent `lab`"));
        (it["health"] == "unknown" && it["code"] == "agent_lost" && named).then_some(())
    });
    let alarms = lab.json(&["cluster", "status"])["alarms"].clone();
    assert!(alarms.to_string().contains("agent_lost"), "{alarms:#}");
    lab.kill("host-3");
    lab.start_part("lab");
    until("the host that went meanwhile is away", Duration::from_secs(40), || {
        let list = lab.json(&["runner", "list"]);
        let runners = list["runners"].as_array().cloned()?;
        let state = |name: &str| runners.iter().find(|it| it["name"] == name).map(|it| it["state"].clone());
        (state("host-3")? != "connected" && state("host-2")? == "connected").then_some(())
    });
    until("its installation is known again", Duration::from_secs(30), || {
        (prod(&lab)["health"] == "healthy" && prod(&lab)["lost"] == 1).then_some(())
    });
}

/// A file with a token that `runner enroll` made.
fn token(lab: &Lab, name: &str, arguments: &[&str]) -> PathBuf {
    let made = lab.json(&[&["runner", "enroll"], arguments].concat());
    let path = lab.folder.path().join(format!("{name}.token"));
    std::fs::write(&path, made["token"].as_str().expect("a token")).expect("a file");
    path
}

#[test]
fn machines_join_during_a_deploy_and_after_it_and_one_that_can_not_alarms_alone() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "fail-health-on vm-99")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let many = token(&lab, "prod", &["--group", "prod", "--uses", "41", "--ttl", "1h"]);
    let run = web.deploy(&lab, "v2");
    let join = |n: u8| Machine::start(&lab, &format!("vm-{n}"), 100 + n, &many);
    let mut machines: Vec<Machine> = (1..=10).map(join).collect();
    lab.wait_status(&run, "succeeded", Duration::from_secs(90));
    machines.extend((11..=40).map(join));
    let enrolled = Instant::now();
    until("all of them serve", Duration::from_secs(60), || {
        let it = prod(&lab);
        let all = it["members"] == 42 && it["updated"] == 42 && it["ready"] == 42;
        (all && it["version"] == "v2" && it["health"] == "healthy").then_some(())
    });
    let took = enrolled.elapsed();
    assert!(took < Duration::from_secs(30), "thirty machines serve after {took:?}");
    for start in starts(&lab).iter().filter(|it| it.host.starts_with("vm-")) {
        assert!(start.version == "v2" || start.run == "web#1", "{start:?}");
    }

    let failing = join(99);
    until("the machine that can't join is named", Duration::from_secs(40), || {
        let alarms = lab.json(&["cluster", "status"])["alarms"].to_string();
        (alarms.contains("join_failed") && alarms.contains("vm-99")).then_some(())
    });
    let it = prod(&lab);
    assert_eq!((&it["version"], &it["ready"]), (&"v2".into(), &42.into()), "{it:#}");
    assert_eq!(runs(&lab), 2, "nothing was rolled back");
    assert!(failing.runner_runs());
}

#[test]
fn two_machines_of_one_image_are_two_names_and_one_that_was_removed_is_refused_by_its_name() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    let many = token(&lab, "prod", &["--group", "prod", "--uses", "5", "--ttl", "1h"]);
    let mut first = Machine::start(&lab, "vm-1", 101, &many);
    let state = |name: &str| {
        let list = lab.json(&["runner", "list"]);
        let runners = list["runners"].as_array().cloned().unwrap_or_default();
        runners.into_iter().find(|it| it["name"] == name).map(|it| it["state"].clone())
    };
    until("it is enrolled", Duration::from_secs(20), || (state("vm-1")? == "connected").then_some(()));
    let second = Machine::start(&lab, "vm-1", 102, &many);
    until("the second one ends", Duration::from_secs(20), || (!second.runner_runs()).then_some(()));
    let said = second.log();
    assert!(said.contains("there is a runner `vm-1` already"), "{said}");
    let other = Machine::start(&lab, "vm-2", 102, &many);
    until("the other name is enrolled", Duration::from_secs(20), || {
        (state("vm-2")? == "connected" && state("vm-1")? == "connected").then_some(())
    });
    web.deploy_until(&lab, "v1", "succeeded");
    let service = first.service().expect("it serves");

    // It is removed while it is away, and comes back with its services.
    first.kill_runner();
    lab.ok(&["runner", "remove", "vm-1", "--yes"]);
    first.start_again();
    until("it is refused", Duration::from_secs(20), || (!first.runner_runs()).then_some(()));
    let said = first.log();
    assert!(said.contains("vm-1") && said.contains("revoked"), "{said}");
    assert!(is_alive(service) && state("vm-1").is_none(), "what runs there is left alone");
    first.enroll_again(&token(&lab, "vm-1", &["vm-1", "--agent", "lab", "--label", "group=prod"]));
    until("it is one of the target again", Duration::from_secs(30), || {
        let it = prod(&lab);
        (state("vm-1")? == "connected" && it["members"] == 4 && it["ready"] == 4).then_some(())
    });
    assert_eq!(first.service(), Some(service), "it was not started again");
    drop(other);
}
