//! What users read: documents for programs, names that are not there, and events in order after a restart.

use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

#[test]
fn programs_read_every_document_and_are_told_what_is_not_there() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    let run = web.deploy(&lab, "v1");
    lab.wait_status(&run, "succeeded", Duration::from_secs(60));
    let verified = lab.json(&["audit", "verify"]);
    let audit = lab.json(&["audit", "list"]);
    let last = audit["records"].as_array().and_then(|records| records.last()).expect("a record");
    assert_eq!((&verified["records"], &verified["hash"]), (&last["seq"], &last["hash"]));
    let shown = lab.json(&["installation", "show", "web/lab-prod"]);
    assert_eq!(shown["installations"].as_array().expect("a list").len(), 1);
    assert_eq!(shown["installations"][0]["target"], "lab-prod");
    assert_eq!(lab.json(&["watch", &run])["status"], "succeeded");
    let prod = format!("{run}/prod/nowhere");
    let absent: [&[&str]; 5] = [
        &["installation", "show", "web/nowhere"],
        &["status", "nothing"],
        &["history", "nothing"],
        &["logs", &run, "--host", "host-9"],
        &["logs", &prod],
    ];
    for words in absent {
        let answer = lab.run(words);
        assert_eq!(answer.status.code(), Some(5), "{words:?}: {}", String::from_utf8_lossy(&answer.stderr));
    }
}

#[test]
fn a_restart_of_everything_in_a_bake_takes_nothing_back_and_events_stay_in_order() {
    let mut lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape { bake: "10m", ..Shape::default() }, &[("v1", "good")]);
    let run = web.deploy(&lab, "v1");
    lab.wait_status(&run, "succeeded", Duration::from_secs(60));
    lab.restart();
    until("the agent says how its installations are", Duration::from_secs(60), || {
        let status = lab.json(&["status"]);
        let all = status["installations"].as_array().expect("a list");
        let healthy = all.iter().all(|it| it["health"] == "healthy");
        let agents = lab.json(&["agent", "list"]);
        let connected =
            agents["agents"].as_array().expect("a list").iter().all(|it| it["state"] == "connected");
        (healthy && connected).then_some(())
    });
    let runs = lab.json(&["run", "list"]);
    assert_eq!(runs["runs"].as_array().expect("a list").len(), 1, "{runs}");
    let words = ["watch", "--since-revision", "0", "-o", "jsonl", "--timeout", "1s"];
    let text = String::from_utf8(lab.run(&words).stdout).expect("text");
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let revisions: Vec<u64> = events.iter().map(|it| it["revision"].as_u64().expect("a number")).collect();
    assert!(revisions.is_sorted(), "{revisions:?}");
    assert!(events.iter().any(|it| it["run"] == run && it["status"] == "succeeded"), "{text}");
}
