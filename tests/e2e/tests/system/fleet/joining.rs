//! Machines that join: each gets the release of its target, and one that can't says nothing against it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use trimaran_e2e::http;
use trimaran_e2e::lab::{Lab, is_alive};
use trimaran_e2e::machine::Machine;
use trimaran_e2e::web::{Shape, Web, starts};
use trimaran_test_support::wait::until;

use super::{prod, runs, token};

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

/// A machine that joins, as it is seen from outside.
struct Joining<'a> {
    machine: Machine<'a>,
    service: SocketAddr,
    enrolled: Option<Instant>,
    /// How long after its enrolment it served, and which version.
    serves: Option<(Duration, String)>,
}

impl<'a> Joining<'a> {
    fn start(lab: &'a Lab, web: &Web, number: u8, token: &Path) -> Self {
        let machine = Machine::start(lab, &format!("vm-{number}"), 100 + number, token);
        Self { machine, service: lab.host(100 + number, web.port), enrolled: None, serves: None }
    }

    /// Whether its service is healthy now.
    fn is_healthy(&self) -> bool {
        let health = http::get(self.service, "/healthz", Duration::from_secs(1));
        health.is_ok_and(|(status, _)| status == 200)
    }

    fn observe(&mut self) {
        if self.enrolled.is_none() && self.machine.data_dir.join("identity/cert.pem").exists() {
            self.enrolled = Some(Instant::now());
        }
        if let Some(enrolled) = self.enrolled
            && self.serves.is_none()
            && self.is_healthy()
            && let Ok((_, body)) = http::get(self.service, "/", Duration::from_secs(1))
        {
            self.serves = Some((enrolled.elapsed(), body));
        }
    }
}

#[test]
fn machines_join_during_a_deploy_and_after_it_and_one_that_can_not_alarms_alone() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "fail-health-on vm-99")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let many = token(&lab, "prod", &["--group", "prod", "--uses", "41", "--ttl", "1h"]);
    let run = web.deploy(&lab, "v2");
    let mut machines: Vec<Joining<'_>> = (1..=10).map(|n| Joining::start(&lab, &web, n, &many)).collect();
    until("the deploy succeeds", Duration::from_secs(90), || {
        machines.iter_mut().for_each(Joining::observe);
        (lab.show(&run)["status"] == "succeeded").then_some(())
    });
    machines.extend((11..=40).map(|n| Joining::start(&lab, &web, n, &many)));
    until("all of them serve", Duration::from_secs(60), || {
        let it = prod(&lab);
        machines.iter_mut().for_each(Joining::observe);
        let serving = machines.iter().filter(|it| it.serves.is_some()).count() as u64;
        let ready = it["ready"].as_u64().expect("a number");
        assert!(ready <= 2 + serving, "{ready} hosts count, and 2 and {serving} machines serve");
        let all = ready == 42 && it["members"] == 42 && it["updated"] == 42;
        (all && it["version"] == "v2" && it["health"] == "healthy").then_some(())
    });
    for it in &machines {
        let (took, version) = it.serves.as_ref().expect("all of them serve");
        let name = &it.machine.name;
        assert!(*took < Duration::from_secs(30), "{name} serves {took:?} after its enrolment");
        assert!(version.starts_with("web v2 ") || version.starts_with("web v1 "), "{name}: {version}");
    }
    let joined = starts(&lab).into_iter().filter(|it| it.host.starts_with("vm-"));
    for start in joined {
        assert!(start.version == "v2" || start.run == "web#1", "{start:?}");
    }

    let failing = Joining::start(&lab, &web, 99, &many);
    until("the machine that can't join is named", Duration::from_secs(40), || {
        let alarms = lab.json(&["cluster", "status"])["alarms"].to_string();
        (alarms.contains("join_failed") && alarms.contains("vm-99")).then_some(())
    });
    let it = prod(&lab);
    assert_eq!((&it["version"], &it["ready"]), (&"v2".into(), &42.into()), "{it:#}");
    assert_eq!(runs(&lab), 2, "nothing was rolled back");
    assert!(failing.machine.runner_runs());
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
