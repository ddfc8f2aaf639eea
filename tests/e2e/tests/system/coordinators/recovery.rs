//! A quorum is lost for good in the middle of a wave: the coordinator that is left goes on alone, nothing that was answered is
//! missing, and those that were given up stay outside when they come back.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, binaries, is_alive, signal};
use trimaran_e2e::web::{Shape, Web, stage_in_flight, stages};
use trimaran_test_support::wait::until;

use super::{WAIT_MAX, leader, starts_of, status, wait_whole};

/// What `recover` says of this directory, and its exit code.
fn recover(data_dir: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binaries().join("trimaran-coordinator"));
    let output = command.args(["recover", "--data-dir"]).arg(data_dir).args(more).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Starts a coordinator that was given up: it ends, and says why.
fn is_refused(lab: &Lab, name: &str, by: &str) {
    let pid = lab.start_part_in(name, &[], &[]);
    until(&format!("{name} ends"), WAIT_MAX, || (!is_alive(pid)).then_some(()));
    let log = std::fs::read_to_string(lab.part(name).data_dir.join("log")).expect("a log");
    let words = format!("coordinator `{by}` refuses the keys of this one");
    assert!(log.contains(&words) && log.contains("TR4201"), "{log}");
}

fn names(status: &Value) -> Vec<&str> {
    let members = status["members"].as_array().expect("a list");
    members.iter().filter(|it| it["role"] != "learner").filter_map(|it| it["name"].as_str()).collect()
}

#[test]
fn the_survivor_of_three_goes_on_alone_and_those_that_were_given_up_stay_outside() {
    let lab = Lab::fresh_with(3, 6);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good"), ("v3", "good")]);
    let before = wait_whole(&lab);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    lab.wait_run(&run, "a host of prod is in flight", Duration::from_secs(60), |shown| {
        let flies = stages(shown).any(|stage| stage["environment"] == "prod" && stage_in_flight(stage));
        (flies || !shown["finished_at"].is_null()).then_some(())
    });
    let survivor = leader(&lab);
    let own = lab.part(&survivor);
    let lost: Vec<&str> = ["c1", "c2", "c3"].into_iter().filter(|name| *name != survivor).collect();
    lost.iter().for_each(|name| lab.kill(name));

    // Not beside its process, not without a word, and not while another one is there.
    let (code, said) = recover(&own.data_dir, &["--yes"]);
    assert!(code == Some(6) && said.contains("in use by another process"), "{code:?}: {said}");
    lab.kill(&survivor);
    let (code, said) = recover(&own.data_dir, &[]);
    assert!(code == Some(2) && said.contains("nothing was changed") && said.contains("of term"), "{said}");
    lab.start_part(lost[0]);
    until("another one is there", WAIT_MAX, || {
        let address = lab.part(lost[0]).address;
        lab.run(&["--endpoint", &address, "cluster", "status"]).status.success().then_some(())
    });
    let (code, said) = recover(&own.data_dir, &["--yes"]);
    assert!(code == Some(6) && said.contains("is alive, so it is not lost"), "{code:?}: {said}");
    lab.kill(lost[0]);

    let (code, said) = recover(&own.data_dir, &["--yes"]);
    assert!(code == Some(0) && said.contains("epoch 2 (before: 1)") && said.contains(lost[1]), "{said}");
    let (code, again) = recover(&own.data_dir, &["--yes"]);
    assert!(code == Some(6) && again.contains("is the only coordinator already"), "{again}");
    lab.start_part(&survivor);

    // Everything is there, and what was in progress ends: each host began the version once.
    let shown = lab.wait_status(&run, "succeeded", Duration::from_secs(120));
    assert!(stages(&shown).all(|stage| stage["attempt"] == 1), "{shown:#}");
    let counted = starts_of(&lab, "v2");
    assert!(counted.len() == 6 && counted.values().all(|count| *count == 1), "{counted:?}");
    assert_eq!(lab.json(&["run", "list"])["runs"].as_array().map(Vec::len), Some(2));
    let now = status(&lab).expect("it answers");
    assert_eq!((names(&now), &now["epoch"]), (vec![survivor.as_str()], &Value::from(2)), "{now:#}");
    assert_eq!(now["cluster_id"], before["cluster_id"]);
    assert_ne!(now["incarnation"], before["incarnation"]);
    let records = lab.json(&["audit", "list"]);
    let recorded = records["records"].as_array().expect("a list").iter();
    assert_eq!(recorded.filter(|it| it["verb"] == "recover_cluster").count(), 1, "{records:#}");
    lab.ok(&["audit", "verify"]);

    lost.iter().for_each(|name| is_refused(&lab, name, &survivor));

    // Two new ones join, and the cluster is one of three again, which does without the survivor too.
    for (name, old) in [("c4", lost[0]), ("c5", lost[1])] {
        lab.join_coordinator(name, &lab.part(old).address, &own.address);
        until(&format!("{name} has a vote"), WAIT_MAX, || {
            names(&status(&lab)?).contains(&name).then_some(())
        });
    }
    web.deploy_until(&lab, "v3", "succeeded");
    let agents = lab.json(&["agent", "list"]);
    assert_eq!(agents["agents"][0]["state"], "connected", "{agents:#}");
    lab.kill(&survivor);
    until("one of the others leads", WAIT_MAX, || {
        let status = status(&lab)?;
        let leads = status["leader"].as_str().is_some_and(|leader| leader != survivor);
        (leads && status["epoch"] == 2 && status["incarnation"] == now["incarnation"]).then_some(())
    });
}

/// Both that were given up come back together: they are a majority of the members that they know, and end all the same.
#[test]
fn a_majority_of_the_earlier_incarnation_is_refused_by_the_survivor_and_by_agents() {
    let lab = Lab::fresh_with(3, 3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good"), ("v3", "good")]);
    wait_whole(&lab);
    web.deploy_until(&lab, "v1", "succeeded");
    for name in ["c1", "c2", "c3"] {
        lab.kill(name);
    }
    let (code, said) = recover(&lab.part("c2").data_dir, &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    // What it knows of the agent is of the earlier incarnation until the agent speaks; then it has the later one in its journal.
    let attached = || {
        let log = std::fs::read_to_string(lab.part("c2").data_dir.join("log")).expect("a log");
        log.matches("attached agent=\"lab\"").count()
    };
    let before = attached();
    lab.start_part("c2");
    until("the agent is there", WAIT_MAX, || (attached() > before).then_some(()));
    web.deploy_until(&lab, "v2", "succeeded");
    // An agent knows that their keys are revoked, also one that begins anew.
    for name in ["c2", "lab"] {
        lab.kill(name);
    }
    let pids = ["c1", "c3"].map(|name| lab.start_part_in(name, &[], &[]));
    let agent = lab.part("lab");
    let log = || std::fs::read_to_string(agent.data_dir.join("log")).expect("a log");
    let before = log().len();
    lab.start_part("lab");
    until("the agent refuses their keys", Duration::from_secs(60), || {
        log()[before..].to_lowercase().contains("revoked").then_some(())
    });
    // One that lost that knows the later incarnation by its journal.
    let own = std::fs::read_to_string(agent.data_dir.join("pid")).expect("a pid");
    let own = own.trim().parse().expect("a number");
    signal(own, "KILL");
    until("the agent ends", WAIT_MAX, || (!is_alive(own)).then_some(()));
    std::fs::remove_file(agent.data_dir.join("revoked")).expect("it is kept");
    lab.start_part("lab");
    until("they lead, and the agent does not obey them", Duration::from_secs(60), || {
        let status = status(&lab)?;
        let alarms = status["alarms"].as_array()?.clone();
        (status["epoch"] == 1 && alarms.iter().any(|it| it["code"] == "other_incarnation")).then_some(())
    });
    lab.start_part("c2");
    until("both end", WAIT_MAX, || pids.iter().all(|pid| !is_alive(*pid)).then_some(()));
    until("the agent is back", WAIT_MAX, || {
        let status = status(&lab)?;
        (status["epoch"] == 2 && status["alarms"].as_array().is_some_and(Vec::is_empty)).then_some(())
    });
    web.deploy_until(&lab, "v3", "succeeded");
}
