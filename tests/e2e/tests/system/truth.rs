//! What `status` says when a run ended in mid-wave, and when hosts fail after it.

use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive};
use trimaran_e2e::web::{Shape, Web, stage_in_flight, stages, starts};
use trimaran_test_support::wait::until;

/// The installation of a target.
fn installation(lab: &Lab, target: &str) -> Value {
    let status = lab.json(&["status"]);
    let found = status["installations"].as_array().expect("a list").iter().find(|it| it["target"] == target);
    found.cloned().unwrap_or_else(|| panic!("{target}: {status:#}"))
}

#[test]
fn after_a_cancel_in_mid_wave_the_status_tells_the_hosts_apart() {
    let lab = Lab::fresh(6);
    let shape = Shape { min_healthy: "2s", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    let in_prod = |stage: &Value| stage["target"] == "lab-prod" && stage_in_flight(stage);
    until("a prod host is in flight", Duration::from_secs(60), || {
        stages(&lab.show(&run)).any(in_prod).then_some(())
    });
    lab.ok(&["cancel", &run]);
    lab.wait_status(&run, "canceled", Duration::from_secs(60));
    let shown = until("the hosts say how they are", Duration::from_secs(20), || {
        Some(installation(&lab, "lab-prod")).filter(|it| it["health"] == "healthy")
    });
    let updated = starts(&lab).iter().filter(|start| start.version == "v2").count() - 2;
    assert!((1..4).contains(&updated), "{updated} of 4 prod hosts have v2");
    assert_eq!(shown["updated"], updated, "{shown:#}");
    assert_eq!((&shown["desired"], &shown["ready"], &shown["available"]), (&4.into(), &4.into(), &4.into()));
    assert_eq!((&shown["version"], &shown["code"]), (&"v1".into(), &"mixed_releases".into()), "{shown:#}");
    let message = shown["message"].as_str().expect("words");
    assert!(message.contains(&format!("{updated} of 4 hosts have v2 of {run}")), "{message}");
    assert_eq!(installation(&lab, "lab-staging")["version"], "v2");
    // The next deploy is whole again.
    web.deploy_until(&lab, "v2", "succeeded");
    let shown = installation(&lab, "lab-prod");
    assert_eq!(
        (&shown["version"], &shown["updated"], &shown["code"]),
        (&"v2".into(), &4.into(), &Value::Null)
    );
}

#[test]
fn every_host_that_degrades_after_a_run_counts() {
    let lab = Lab::fresh(6);
    let web = Web::new(&lab, Shape::default(), &[("v1", "healthy-for 15000")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let shown = until("all prod hosts are down", Duration::from_secs(60), || {
        Some(installation(&lab, "lab-prod")).filter(|it| it["ready"] == 0)
    });
    assert_eq!((&shown["health"], &shown["desired"]), (&"degraded".into(), &4.into()), "{shown:#}");
    assert_eq!(shown["version"], "v1", "its bake is over: nothing goes back");
}

#[test]
fn a_second_dev_is_refused_and_the_first_goes_on() {
    let lab = Lab::fresh(3);
    let data = lab.data().display().to_string();
    let before: Vec<Option<u32>> = lab.parts().into_iter().map(|part| part.pid).collect();
    let second = lab.run(&["dev", "--data-dir", &data, "-o", "json"]);
    assert_eq!(second.status.code(), Some(6));
    let error: Value = serde_json::from_slice(&second.stderr).expect("an error document");
    assert!(error["error"]["cause"].as_str().expect("a cause").contains("process "), "{error:#}");
    assert!(before.iter().flatten().all(|pid| is_alive(*pid)));
    assert_eq!(lab.parts().into_iter().map(|part| part.pid).collect::<Vec<_>>(), before);
    lab.json(&["agent", "list"]);
}
