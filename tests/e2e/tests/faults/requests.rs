//! One request, whoever is asked for it and whatever became of the cluster since; and clients that know old addresses.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive, signal};
use trimaran_e2e::web::{Shape, Web, bakes};
use trimaran_test_support::wait::until;

use crate::stand::WAIT_MAX;

/// Entries between snapshot positions, so that few changes take one.
const SNAPSHOT_ENTRIES: u64 = 20;
/// A client that knows one coordinator that is there works by then.
const WORKS: Duration = Duration::from_secs(2);

const NAMES: [&str; 3] = ["c1", "c2", "c3"];

fn status(lab: &Lab) -> Option<Value> {
    let output = lab.run(&["cluster", "status", "-o", "json"]);
    output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn leader(lab: &Lab) -> String {
    until("there is a leader", WAIT_MAX, || Some(status(lab)?["leader"].as_str()?.to_owned()))
}

fn make_lead(lab: &Lab, name: &str) {
    until(&format!("{name} leads"), WAIT_MAX, || {
        if leader(lab) != name {
            lab.run(&["cluster", "transfer", name]);
        }
        (leader(lab) == name).then_some(())
    });
}

/// Waits until so many members have a vote and the same state.
fn wait_whole(lab: &Lab, count: usize) -> Value {
    until(&format!("{count} members are at the same state"), WAIT_MAX, || {
        let status = status(lab)?;
        let members = status["members"].as_array()?;
        let first = &members.first()?["hash"];
        let is_well = |it: &Value| it["state"] == "alive" && it["hash"] == *first && it["role"] != "learner";
        (members.len() == count && members.iter().all(is_well)).then(|| status.clone())
    })
}

/// Changes one target so many times.
fn write(lab: &Lab, times: u64) {
    for number in 0..times {
        let text = format!(
            "trimaran: v1\ntarget: register\nagent: lab\nclass: staging\nhosts: {{ select: {{ value: \"{number}\" }} }}\n"
        );
        std::fs::write(lab.folder.path().join("register.yaml"), text).expect("a file");
        lab.ok(&["apply", "register.yaml"]);
    }
}

/// Through all three at once, after the leader's death, after a restart of everything, through one that got a snapshot, and
/// through one that was wiped and joined again, each of them leading: one run.
pub(crate) fn one_run_for_one_request(_seed: u64) {
    let mut lab = Lab::fresh_with(3, 3);
    let shape = Shape { bake: "3s", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    wait_whole(&lab, 3);
    let id = uuid::Uuid::now_v7().to_string();
    let ask =
        |lab: &Lab, address: &str| web.deploy_by(lab, "v1", &["--endpoint", address, "--request-id", &id]);
    let addresses = NAMES.map(|name| lab.part(name).address);
    let runs: Vec<String> = std::thread::scope(|scope| {
        let threads = addresses.each_ref().map(|address| scope.spawn(|| ask(&lab, address)));
        threads.map(|thread| thread.join().expect("it is answered")).into()
    });
    let run = runs[0].clone();
    let is_the_same = |lab: &Lab, name: &str, what: &str| {
        assert_eq!(ask(lab, &lab.part(name).address), run, "{what}");
        let list = lab.json(&["run", "list"]);
        assert_eq!(list["runs"].as_array().map(Vec::len), Some(1), "{what}: {list:#}");
    };
    assert!(runs.iter().all(|it| *it == run), "at once: {runs:?}");
    lab.wait_status(&run, "succeeded", Duration::from_secs(90));

    let dead = leader(&lab);
    lab.kill(&dead);
    for name in NAMES.into_iter().filter(|name| *name != dead) {
        is_the_same(&lab, name, "the leader is dead");
    }
    lab.start_part(&dead);
    wait_whole(&lab, 3);
    lab.restart();
    NAMES.into_iter().for_each(|name| is_the_same(&lab, name, "everything was restarted"));

    let entries = SNAPSHOT_ENTRIES.to_string();
    for name in NAMES {
        wait_whole(&lab, 3);
        lab.kill(name);
        lab.start_part_with(name, &["--snapshot-entries", &entries]);
    }
    wait_whole(&lab, 3);
    let leads = leader(&lab);
    let [away, wiped] = {
        let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != leads).collect();
        [others[0], others[1]]
    };
    lab.kill(away);
    write(&lab, 3 * SNAPSHOT_ENTRIES);
    lab.start_part_with(away, &["--snapshot-entries", &entries]);
    wait_whole(&lab, 3);
    let log = std::fs::read_to_string(lab.part(away).data_dir.join("log")).expect("a log");
    assert!(log.contains("the leader's snapshot is installed"), "{log}");
    make_lead(&lab, away);
    is_the_same(&lab, away, "it got a snapshot");

    lab.kill(wiped);
    let part = lab.part(wiped);
    until(&format!("{wiped} is removed"), WAIT_MAX, || {
        lab.run(&["cluster", "remove", wiped, "--yes"]).status.success().then_some(())
    });
    std::fs::remove_dir_all(&part.data_dir).expect("its disk is wiped");
    lab.join_coordinator(wiped, &part.address, &lab.part(away).address);
    wait_whole(&lab, 3);
    make_lead(&lab, wiped);
    is_the_same(&lab, wiped, "it was wiped and joined again");

    // Its own time begins with its join: a bake of three seconds ends nevertheless.
    let run = web.deploy(&lab, "v2");
    lab.wait_status(&run, "succeeded", Duration::from_secs(90));
    until("the bake is over", Duration::from_secs(20), || (!bakes(&lab, &run)).then_some(()));
    assert_eq!(leader(&lab), wiped, "it leads all the time");
}

/// A context with a removed coordinator, one that is dead or silent, and one that is there.
pub(crate) fn old_addresses(_seed: u64) {
    let lab = Lab::fresh_with(3, 3);
    wait_whole(&lab, 3);
    let address = |name: &str| lab.part(name).address;
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").to_string();
    let newcomer = lab.join_coordinator("c4", &free, &address("c3"));
    wait_whole(&lab, 4);
    let removed = lab.part("c1").pid.expect("it runs");
    until("c1 is removed", WAIT_MAX, || {
        lab.run(&["cluster", "remove", "c1", "--yes"]).status.success().then_some(())
    });
    until("it ends", WAIT_MAX, || (!is_alive(removed)).then_some(()));
    wait_whole(&lab, 3);
    let old = [address("c1"), address("c2"), address("c3")];
    let works = |what: &str| {
        let named = old.iter().flat_map(|it| ["--endpoint", it]).collect::<Vec<_>>();
        for words in [&["run", "list"][..], &["operator", "enroll", what, "--role", "viewer"]] {
            let began = Instant::now();
            lab.ok(&[&named, words].concat());
            let took = began.elapsed();
            eprintln!("{what}: {words:?} took {took:?}");
            assert!(took < WORKS, "{what}: {words:?} took {took:?}");
        }
    };
    // The one that is there leads, so that this is about clients and no election.
    make_lead(&lab, "c3");
    let dead = lab.part("c2").pid.expect("it runs");
    signal(dead, "STOP");
    works("silent");
    signal(dead, "CONT");
    lab.kill("c2");
    works("dead");
    assert!(is_alive(newcomer));
}
