//! Three coordinators from outside: the leader dies in the middle of a wave, a request reaches all of them, two of them are
//! dead, and a leader that ends hands over.

mod backups;
mod members;
mod recovery;
mod restore;
mod snapshots;
mod upgrade;
mod views;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive, signal};
use trimaran_e2e::web::{Shape, Web, stage_in_flight, stages, starts};
use trimaran_test_support::wait::until;

const WAIT_MAX: Duration = Duration::from_secs(30);

/// `cluster status`, once it can be had.
fn status(lab: &Lab) -> Option<Value> {
    let output = lab.run(&["cluster", "status", "-o", "json"]);
    output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn leader(lab: &Lab) -> String {
    until("there is a leader", WAIT_MAX, || Some(status(lab)?["leader"].as_str()?.to_owned()))
}

/// Waits until every member says that it is well, and all of them have the same state.
fn wait_whole(lab: &Lab) -> Value {
    until("all three are at the same state", WAIT_MAX, || {
        let status = status(lab)?;
        let members = status["members"].as_array()?;
        let first = &members.first()?["hash"];
        let whole = members.len() == 3
            && members
                .iter()
                .all(|it| it["state"] == "alive" && it["hash"] == *first && it["role"] != "learner");
        whole.then(|| status.clone())
    })
}

fn starts_of(lab: &Lab, version: &str) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for start in starts(lab).into_iter().filter(|start| start.version == version) {
        *count.entry(start.host).or_default() += 1;
    }
    count
}

#[test]
fn the_leader_is_killed_in_mid_wave_and_no_service_starts_twice() {
    let lab = Lab::fresh_with(3, 6);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    wait_whole(&lab);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    lab.wait_run(&run, "a host of prod is in flight", Duration::from_secs(60), |shown| {
        let flies = stages(shown).any(|stage| stage["environment"] == "prod" && stage_in_flight(stage));
        (flies || !shown["finished_at"].is_null()).then_some(())
    });
    let dead = leader(&lab);
    lab.kill(&dead);
    let shown = lab.wait_status(&run, "succeeded", Duration::from_secs(120));
    assert!(stages(&shown).all(|stage| stage["attempt"] == 1), "{shown:#}");
    let counted = starts_of(&lab, "v2");
    assert!(counted.len() == 6 && counted.values().all(|count| *count == 1), "{counted:?}");
    assert_ne!(leader(&lab), dead);
    for part in lab.parts().into_iter().filter(|part| part.role == "coordinator" && part.name != dead) {
        let status = lab.json(&["--endpoint", &part.address, "cluster", "status"]);
        let members = status["members"].as_array().expect("a list");
        let state = |name: &str| members.iter().find(|it| it["name"] == *name).map(|it| it["state"].clone());
        assert_eq!(state(&dead), Some(Value::from("unreachable")), "{status:#}");
        assert_eq!(state(&part.name), Some(Value::from("alive")), "{status:#}");
    }
    lab.start_part(&dead);
    wait_whole(&lab);
}

#[test]
fn a_request_through_each_coordinator_is_one_run_also_without_the_first_leader() {
    let lab = Lab::fresh_with(3, 3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    wait_whole(&lab);
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let id = now_like(id);
    let deploy = |address: &str| web.deploy_by(&lab, "v1", &["--endpoint", address, "--request-id", &id]);
    let addresses: Vec<String> = coordinators(&lab);
    let runs: Vec<String> = addresses.iter().map(|address| deploy(address)).collect();
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
    lab.wait_status(&runs[0], "succeeded", Duration::from_secs(90));
    let dead = leader(&lab);
    lab.kill(&dead);
    let gone = lab.part(&dead).address;
    for address in addresses.iter().filter(|address| **address != gone) {
        assert_eq!(deploy(address), runs[0]);
    }
    assert_eq!(lab.json(&["run", "list"])["runs"].as_array().map(Vec::len), Some(1));
}

#[test]
fn one_of_three_says_that_there_is_no_quorum_and_loses_nothing() {
    let lab = Lab::fresh_with(3, 3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    wait_whole(&lab);
    web.deploy_until(&lab, "v1", "succeeded");
    for name in ["c1", "c2"] {
        lab.kill(name);
    }
    for arguments in [&["run", "list"][..], &["cancel", "web#1"]] {
        let began = Instant::now();
        let refused = lab.run(arguments);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(9), "{words}");
        assert!(words.contains("no quorum: 1 of 3"), "{words}");
        assert!(began.elapsed() < Duration::from_secs(6), "{arguments:?} took {:?}", began.elapsed());
    }
    let survivor = lab.part("c3").address;
    let status = lab.json(&["--endpoint", &survivor, "cluster", "status"]);
    assert_eq!(status["members"].as_array().map(Vec::len), Some(3), "{status:#}");
    for arguments in
        [&["status", "--stale"][..], &["why", "web#1", "--stale"], &["run", "show", "web#1", "--stale"]]
    {
        let stale = lab.json(arguments);
        assert!(stale["as_of"].is_string(), "{stale:#}");
    }
    for name in ["c1", "c2"] {
        lab.start_part(name);
    }
    wait_whole(&lab);
    assert_eq!(lab.json(&["run", "list"])["runs"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_leader_that_is_asked_to_end_hands_over_first() {
    let lab = Lab::fresh_with(3, 3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    wait_whole(&lab);
    let first = leader(&lab);
    let pid = lab.part(&first).pid.expect("it runs");
    signal(pid, "TERM");
    let began = Instant::now();
    assert_ne!(leader(&lab), first);
    web.deploy_until(&lab, "v1", "succeeded");
    until("it ends", WAIT_MAX, || (!is_alive(pid)).then_some(()));
    let log = std::fs::read_to_string(lab.part(&first).data_dir.join("log")).expect("a log");
    assert!(log.contains("leadership was handed over"), "after {:?}: {log}", began.elapsed());
}

#[test]
fn what_only_an_agent_knows_comes_through_each_coordinator() {
    let lab = Lab::fresh_with(3, 3);
    let write = |name: &str, text: &str| std::fs::write(lab.folder.path().join(name), text).expect("a file");
    write(
        "target.yaml",
        "trimaran: v1\ntarget: shop\nagent: lab\nclass: staging\nkubernetes: { namespace: shop, kubeconfig: /none }\n",
    );
    write("objects.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web }\ndata: { text: one }\n");
    write(
        "shop.yaml",
        "trimaran: v1\npipeline: shop\nowner: team-shop\nartifacts: {}\n\
         workload: { kubernetes: { manifests: objects.yaml } }\nenvironments: [{ name: staging, targets: [shop] }]\n",
    );
    wait_whole(&lab);
    lab.ok(&["apply", "target.yaml"]);
    for address in coordinators(&lab) {
        let plan = refused_plan(&lab, &["--endpoint", &address, "plan", "-f", "shop.yaml"]);
        let missing = plan["differences"][0]["missing"].as_str().unwrap_or_default();
        assert!(missing.contains("/none"), "{address}: the agent itself says what is missing: {plan:#}");
    }
}

/// A plan that its platform would refuse.
fn refused_plan(lab: &Lab, command: &[&str]) -> Value {
    let output = lab.run(&[command, &["-o", "json"]].concat());
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it is shown whole all the same")
}

fn coordinators(lab: &Lab) -> Vec<String> {
    let parts = lab.parts().into_iter().filter(|part| part.role == "coordinator");
    parts.map(|part| part.address).collect()
}

/// A request id of now.
fn now_like(id: &str) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let digits = format!("{:012x}", since.as_millis());
    format!("{}-{}{}", &digits[..8], &digits[8..], &id[13..])
}
