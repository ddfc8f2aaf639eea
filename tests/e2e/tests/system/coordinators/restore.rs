//! All coordinators are lost, and of yesterday there is a backup: it changes nothing on any host before an operator decides,
//! installation by installation; restored once more it does not either, and no earlier incarnation gives an order again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, Part, binaries, is_alive};
use trimaran_e2e::web::{Shape, Start, Web, starts};
use trimaran_test_support::wait::until;

use super::{WAIT_MAX, status};

/// What `restore` says, and its exit code.
fn restore(backup: &Path, root_key: &Path, part: &Part) -> (Option<i32>, String) {
    let mut command = Command::new(binaries().join("trimaran-coordinator"));
    command.arg("restore").arg(backup).arg("--root-key").arg(root_key).arg("--data-dir").arg(&part.data_dir);
    let output = command.args(["--name", &part.name, "--listen", &part.address]).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Takes the directory of a coordinator that was killed away.
fn lose(lab: &Lab, part: &Part, name: &str) -> PathBuf {
    lab.kill(&part.name);
    let away = lab.folder.path().join(name);
    std::fs::rename(&part.data_dir, &away).expect("it is moved");
    away
}

fn refused(lab: &Lab, arguments: &[&str], code: &str) {
    let output = lab.run(arguments);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(6) && words.contains(code), "{arguments:?}: {words}");
}

/// Waits until the coordinator has refused its agent, which came by its own.
fn wait_refused(part: &Part, words: &str) {
    until("the agent came and got nothing", Duration::from_secs(60), || {
        let log = std::fs::read_to_string(part.data_dir.join("log")).expect("a log");
        log.contains(words).then_some(())
    });
}

fn wait_attached(lab: &Lab) {
    until("the agent is connected", Duration::from_secs(60), || {
        let agents = lab.json(&["agent", "list"]);
        (agents["agents"][0]["state"] == "connected").then_some(())
    });
}

/// What `status` says of an environment.
fn installation(lab: &Lab, environment: &str) -> Value {
    let status = lab.json(&["status", "web"]);
    let all = status["installations"].as_array().expect("a list");
    all.iter().find(|it| it["environment"] == environment).expect("it was deployed").clone()
}

fn has_alarm(status: &Value, code: &str) -> bool {
    status["alarms"].as_array().expect("a list").iter().any(|it| it["code"] == code)
}

/// The same processes run as before.
fn unchanged(lab: &Lab, before: &[Start]) {
    assert_eq!(starts(lab), before);
    let of = |version: &str| before.iter().filter(|it| it.version == version).count();
    let newest = before.iter().filter(|it| it.version == "v2" && of("v2") == usize::from(lab.hosts()));
    newest.for_each(|it| assert!(is_alive(it.pid), "{it:?} was ended"));
}

#[test]
fn a_backup_of_yesterday_changes_nothing_before_each_installation_is_decided() {
    let lab = Lab::fresh(3);
    let versions = [("v1", "good"), ("v2", "good"), ("v3", "good"), ("v4", "good")];
    let web = Web::new(&lab, Shape::default(), &versions);
    web.deploy_until(&lab, "v1", "succeeded");
    let backup = lab.folder.path().join("yesterday.backup");
    lab.ok(&["cluster", "backup", "create", backup.to_str().expect("UTF-8")]);
    let before = status(&lab).expect("it answers");
    web.deploy_until(&lab, "v2", "succeeded");
    let (ran, root_key) = (starts(&lab), lab.data().join("root.key.pem"));
    let part = lab.part("c1");

    // Not over what is there, and with the root key alone.
    let (code, said) = restore(&backup, &root_key, &part);
    assert!(code == Some(6) && said.contains("is not empty"), "{code:?}: {said}");
    let first = lose(&lab, &part, "first");
    let (code, said) = restore(&backup, &first.join("identity/issuer.key.pem"), &part);
    assert!(code == Some(4) && said.contains("is not the root key"), "{code:?}: {said}");
    let (code, said) = restore(&backup, &root_key, &part);
    assert!(code == Some(0) && said.contains("only observes") && said.contains("cluster resume"), "{said}");
    lab.start_part("c1");
    wait_refused(&part, "only observes before it is resumed");

    // It is the same cluster, and says what is the matter and what to do.
    let now = until("it leads", WAIT_MAX, || status(&lab).filter(|it| it["leader"] == "c1"));
    assert_eq!(
        (&now["cluster_id"], &now["observing"]),
        (&before["cluster_id"], &Value::from(true)),
        "{now:#}"
    );
    assert!(has_alarm(&now, "restored") && now["members"].as_array().map(Vec::len) == Some(1), "{now:#}");
    for environment in ["staging", "prod"] {
        let it = installation(&lab, environment);
        let says = it["message"].as_str().is_some_and(|it| it.contains("only observes"));
        assert!(it["code"] == "restored" && says && it["version"] == "v1", "{it:#}");
    }
    refused(&lab, &["deploy", "-f", web.file(), "--artifact", &web.artifact("v3"), "--detach"], "TR4106");
    refused(&lab, &["installation", "adopt", "web/prod/lab-prod"], "TR4106");
    unchanged(&lab, &ran);

    resume_and_decide(&lab, &web, &ran);
    web.deploy_until(&lab, "v3", "succeeded");

    let (ran, second) = (starts(&lab), lose(&lab, &part, "second"));
    restore_again(&lab, (&backup, &root_key), &part, &ran);
    meet_earlier(&lab, &web, (&part, &second), &ran);
}

/// It goes on and still nothing changes; then reality is right in prod, and the state in staging.
fn resume_and_decide(lab: &Lab, web: &Web, ran: &[Start]) {
    assert_eq!(lab.run(&["cluster", "resume"]).status.code(), Some(2));
    let resumed = lab.json(&["cluster", "resume", "--yes"]);
    assert_eq!((&resumed["schema"], &resumed["epoch"]), (&"trimaran.cluster_resumed/v1".into(), &2.into()));
    refused(lab, &["cluster", "resume", "--yes"], "TR4107");
    wait_attached(lab);
    refused(lab, &["deploy", "-f", web.file(), "--artifact", &web.artifact("v3"), "--detach"], "TR4109");
    refused(lab, &["rollback", "web", "--env", "prod", "--yes"], "TR4109");
    let why = lab.json(&["why", "web"]);
    let clears = "trimaran installation adopt web/prod/lab-prod";
    let reasons = why["stages"].as_array().expect("a list").iter().flat_map(|it| it["reasons"].as_array());
    assert!(reasons.flatten().any(|it| it["code"] == "restored" && it["clears"] == clears), "{why:#}");
    unchanged(lab, ran);

    // Reality is right in prod, and the state in staging.
    lab.ok(&["installation", "adopt", "web/prod/lab-prod", "--wait"]);
    let it = installation(lab, "prod");
    assert_eq!((&it["version"], &it["code"], &it["health"]), (&"v2".into(), &Value::Null, &"healthy".into()));
    unchanged(lab, ran);
    lab.ok(&["installation", "reapply", "web/staging/lab-staging", "--wait"]);
    let it = installation(lab, "staging");
    assert_eq!((&it["version"], &it["code"]), (&"v1".into(), &Value::Null), "{it:#}");
    assert!(starts(lab).len() > ran.len() && starts(lab).last().is_some_and(|it| it.version == "v1"));
    let runs = lab.json(&["run", "list"]);
    let kinds: Vec<&Value> = runs["runs"].as_array().expect("a list").iter().map(|it| &it["kind"]).collect();
    assert_eq!(kinds[..2], ["reapply", "adopt"], "{runs:#}");
    refused(lab, &["installation", "reapply", "web/staging/lab-staging"], "TR4107");
    assert!(!has_alarm(&status(lab).expect("it answers"), "restored"));
    lab.ok(&["audit", "verify"]);
}

/// Once more from the same file: the agent knows the incarnation before, and this one chooses an epoch above it.
fn restore_again(lab: &Lab, (backup, root_key): (&Path, &Path), part: &Part, ran: &[Start]) {
    let (code, said) = restore(backup, root_key, part);
    assert_eq!(code, Some(0), "{said}");
    lab.start_part("c1");
    wait_refused(part, "has seen epoch 2 of another incarnation");
    assert!(has_alarm(&status(lab).expect("it answers"), "other_incarnation"));
    assert_eq!(lab.json(&["cluster", "resume", "--yes"])["epoch"], 3);
    wait_attached(lab);
    assert_eq!(starts(lab), ran);
    lab.ok(&["installation", "adopt", "web/prod/lab-prod", "--wait"]);
    assert_eq!(installation(lab, "prod")["version"], "v3");
    assert_eq!(starts(lab), ran);
}

/// A coordinator of the incarnation before gives no order any more; then the last one goes on.
fn meet_earlier(lab: &Lab, web: &Web, (part, second): (&Part, &Path), ran: &[Start]) {
    let third = lose(lab, part, "third");
    std::fs::rename(second, &part.data_dir).expect("it is moved");
    std::fs::write(part.data_dir.join("log"), "").expect("a log");
    lab.start_part("c1");
    wait_refused(part, "has seen epoch 3 of another incarnation");
    let run = web.deploy(lab, "v4");
    let held = lab.wait_run(&run, "it waits for the agent", WAIT_MAX, |shown| {
        let stages = shown["stages"].as_array()?;
        let waits = stages.iter().flat_map(|it| it["reasons"].as_array()).flatten();
        waits.map(|it| it["code"].clone()).find(|it| *it == "agent_not_connected" || *it == "agent_lost")
    });
    assert!(held.is_string() && starts(lab) == ran, "an order of an earlier incarnation was performed");

    // What is deployed against the backup is what should run.
    lose(lab, part, "second again");
    std::fs::rename(&third, &part.data_dir).expect("it is moved");
    lab.start_part("c1");
    wait_attached(lab);
    let run = web.deploy_by(lab, "v4", &["--override", "restored", "--reason", "v4 is what we want"]);
    lab.wait_status(&run, "succeeded", Duration::from_secs(90));
    assert!(!has_alarm(&status(lab).expect("it answers"), "restored"));
}
