//! Hosts and agents that are away: shown by name, in no one's path, and brought up to date when they return.

use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web, stage_in_flight, stages, starts};
use trimaran_test_support::wait::until;

use super::{apply_prod, counts, power_off, prod, runs};

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

#[test]
fn a_host_that_was_away_for_lost_after_is_out_of_its_target_and_catches_up_when_it_returns() {
    let lab = Lab::fresh(4);
    apply_prod(&lab, "lost_after: 30s");
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    power_off(&lab, "host-4");
    until("it is away", Duration::from_secs(30), || (counts(&lab) == [3, 2, 1]).then_some(()));
    until("it is out of its target", Duration::from_secs(90), || (counts(&lab) == [2, 2, 0]).then_some(()));
    assert!(lab.ok(&["status", "web"]).contains("host-4"), "it is still shown");

    // A deploy knows nothing of it.
    let shown = web.deploy_until(&lab, "v2", "succeeded");
    let on_prod = stages(&shown).filter(|it| it["target"] == "lab-prod");
    let instances: Vec<&Value> =
        on_prod.flat_map(|it| it["instances"].as_array().into_iter().flatten()).collect();
    let names: Vec<&str> = instances.iter().filter_map(|it| it["name"].as_str()).collect();
    assert!(names.contains(&"host-3") && !names.contains(&"host-4"), "{names:?}");

    lab.start_part("host-4");
    until("it is back and has the release", Duration::from_secs(60), || {
        let serves = starts(&lab).iter().any(|it| it.host == "host-4" && it.version == "v2");
        (serves && counts(&lab) == [3, 3, 0]).then_some(())
    });
    let it = prod(&lab);
    assert_eq!((&it["version"], &it["health"]), (&"v2".into(), &"healthy".into()), "{it:#}");
    assert_eq!(runs(&lab), 2, "no run did it");
}
