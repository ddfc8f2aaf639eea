//! Faults of the platform pause a stage: nothing is rolled back for them, and doing what the reason says continues the run.

use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive};
use trimaran_e2e::web::{Shape, Web, stages, starts};

/// The reasons of a stage in `why -o json`, each whole.
fn reasons(lab: &Lab, run: &str, stage: &str) -> Vec<Value> {
    let why = lab.json(&["why", run]);
    let found = stages(&why).find(|it| it["name"] == stage).expect("the stage");
    let reasons = found["reasons"].as_array().cloned().expect("a list");
    for reason in &reasons {
        for text in ["code", "message", "since", "clears"] {
            assert!(reason[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {reason:#}");
        }
        assert!(reason["who"].is_array(), "{reason:#}");
        assert!(reason.get("next_check").is_some_and(|at| at.is_null() || at.is_string()), "{reason:#}");
    }
    reasons
}

#[test]
fn an_artifact_server_that_is_down_pauses_and_what_clears_says_goes_on_in_the_same_attempt() {
    let lab = Lab::fresh(3);
    let mut web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    web.artifacts.stop();
    let run = web.deploy(&lab, "v2");
    lab.wait_status(&run, "waiting", Duration::from_secs(60));
    assert!(starts(&lab).iter().all(|start| start.version == "v1" && is_alive(start.pid)));
    let waits = reasons(&lab, &run, "prod/lab-prod");
    assert_eq!(waits[0]["code"], "after", "{waits:#?}");
    let paused = reasons(&lab, &run, "staging/lab-staging");
    assert_eq!(paused[0]["code"], "paused_fault", "{paused:#?}");
    assert!(paused[0]["message"].as_str().is_some_and(|it| it.contains("fetch_unreachable")), "{paused:#?}");
    web.serve_again();
    let clears = paused[0]["clears"].as_str().expect("a command");
    let words: Vec<&str> =
        clears.strip_prefix("trimaran ").expect("a command of the CLI").split(' ').collect();
    assert_eq!(words[0], "resume", "{clears}");
    lab.ok(&words);
    let shown = lab.wait_status(&run, "succeeded", Duration::from_secs(60));
    assert!(stages(&shown).all(|stage| stage["attempt"] == 1), "{shown:#}");
    let count = starts(&lab).iter().filter(|start| start.version == "v2").count();
    assert_eq!(count, 3, "each host started v2 once");
}
