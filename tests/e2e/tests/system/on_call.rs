//! What a human on call sees at night: what is blocked and what to do first, what failed and its last output, which run
//! took a release back, and where `logs` of a run end.

use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, binaries};
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The installation on the prod target.
fn prod(lab: &Lab) -> Value {
    let status = lab.json(&["status", "web"]);
    let list = status["installations"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|it| it["environment"] == "prod").expect("prod has an installation")
}

/// Lets the pipeline file name another port, which is taken on a host.
fn take_port_of(lab: &Lab, web: &Web, host: u8) -> (TcpListener, u16) {
    let path = lab.folder.path().join(web.file());
    let text = std::fs::read_to_string(&path).expect("the pipeline file");
    let (_, rest) = text.split_once("\"--port\", \"").expect("a port");
    let (port, _) = rest.split_once('"').expect("a port");
    let taken = TcpListener::bind(lab.host(host, 0)).expect("a free port");
    let other = taken.local_addr().expect("an address").port();
    std::fs::write(&path, text.replace(port, &other.to_string())).expect("written");
    (taken, other)
}

/// Lets the pipeline file name another port, which is taken on both prod hosts, whichever is first.
fn take_port(lab: &Lab, web: &Web) -> [TcpListener; 2] {
    let (taken, other) = take_port_of(lab, web, 2);
    [taken, TcpListener::bind(lab.host(3, other)).expect("the port is free there too")]
}

#[test]
fn a_pause_says_what_to_do_first_and_a_cancel_that_changed_nothing_leaves_the_health() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let taken = take_port(&lab, &web);
    let (file, artifact) = (web.file().to_owned(), web.artifact("v2"));
    let waited = lab.run(&["deploy", "-f", &file, "--artifact", &artifact, "--wait", "--timeout", "90s"]);
    assert_eq!(waited.status.code(), Some(8), "only a human can move it: {}", stderr(&waited));
    let why = lab.ok(&["why", "web"]);
    assert!(why.contains("first: ") && why.contains("then: trimaran resume web#2/prod/lab-prod"), "{why}");
    assert!(!why.contains("Nothing is blocking"), "{why}");
    let status = lab.ok(&["status", "web"]);
    let row = status.lines().find(|line| line.contains("lab-prod")).expect("a row");
    assert!(row.contains("web#2 (waiting)") && row.contains("2/2"), "both hosts serve v1: {status}");
    lab.ok(&["cancel", "web#2"]);
    drop(taken);
    let after = prod(&lab);
    assert_eq!((&after["health"], &after["version"]), (&"healthy".into(), &"v1".into()), "{after:#}");
}

#[test]
fn a_running_stage_says_what_its_hosts_do_since_when_and_for_how_long_at_most() {
    let lab = Lab::fresh(3);
    let shape = Shape { min_healthy: "4s", deadline: "9s", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good")]);
    let run = web.deploy(&lab, "v1");
    let why = until("a host verifies", Duration::from_secs(30), || {
        Some(lab.ok(&["why", &run])).filter(|why| why.contains("verifying"))
    });
    let line = why.lines().find(|line| line.contains("verifying")).expect("a line of the host");
    assert!(line.contains("host-1 is updating: verifying, needs 4s of health within 9s (since 20"), "{why}");
    assert!(why.contains("staging/lab-staging is running, wave 1 of "), "{why}");
}

/// One host has the new release, the other one can't be changed, and the run is canceled there.
#[test]
fn a_cancel_in_mid_wave_leaves_the_health_that_the_hosts_have() {
    let lab = Lab::fresh(3);
    let shape = Shape { max_lost: "0", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good"), ("v3", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    // Whichever host is first, in one of the two it is not the one whose port is taken.
    let mut was_in_mid_wave = false;
    for (host, version, run) in [(3, "v2", "web#2"), (2, "v3", "web#3")] {
        let (taken, _) = take_port_of(&lab, &web, host);
        let (file, artifact) = (web.file().to_owned(), web.artifact(version));
        let waited = lab.run(&["deploy", "-f", &file, "--artifact", &artifact, "--wait", "--timeout", "90s"]);
        assert_eq!(waited.status.code(), Some(8), "only a human can move it: {}", stderr(&waited));
        let changed = prod(&lab)["updated"] != 0;
        lab.ok(&["cancel", run]);
        drop(taken);
        let after = prod(&lab);
        assert_eq!((&after["health"], &after["ready"]), (&"healthy".into(), &2.into()), "{after:#}");
        was_in_mid_wave |= changed && after["code"] == "mixed_releases";
    }
    assert!(was_in_mid_wave, "one of the runs changed one host");
}

#[test]
fn a_release_that_fails_in_its_bake_says_so_in_its_own_run_and_is_waited_for() {
    let lab = Lab::fresh(3);
    let shape = Shape { bake: "90s", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "healthy-for 15000")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let (file, artifact) = (web.file().to_owned(), web.artifact("v2"));
    let waited =
        lab.run(&["deploy", "-f", &file, "--artifact", &artifact, "--wait=baked", "--timeout", "120s"]);
    assert_eq!(waited.status.code(), Some(12), "{}", stderr(&waited));
    let why = lab.ok(&["why", "web#2"]);
    assert!(why.contains("web#2 succeeded") && why.contains("rolled back later by web#3"), "{why}");
    let history = lab.json(&["history", "web", "--env", "prod"]);
    let entries = history["entries"].as_array().cloned().expect("a list");
    let own = entries.iter().find(|it| it["run"] == "web#2").expect("the entry of the run");
    assert_eq!(own["rolled_back_by"], "web#3", "{own:#}");
}

#[test]
fn logs_of_a_run_that_was_rolled_back_are_of_the_release_that_failed() {
    let lab = Lab::fresh(3);
    let builds = [("v1", "good"), ("v2", "exit-after 100 7")];
    let web = Web::new(&lab, Shape { deadline: "4s", ..Shape::default() }, &builds);
    web.deploy_until(&lab, "v1", "succeeded");
    let shown = web.deploy_until(&lab, "v2", "rolled_back");
    let failed = lab.json(&["history", "web", "--env", "staging"])["entries"][0]["release"].clone();
    let logs = lab.json(&["logs", "web#2", "--host", "host-1"]);
    let lines = logs["lines"].as_array().cloned().expect("a list");
    assert!(!lines.is_empty(), "{shown:#}");
    assert!(lines.iter().all(|line| line["release"] == failed), "{failed}: {logs:#}");
    let why = lab.ok(&["why", "web#2"]);
    assert!(why.contains("last output of host-1:"), "{why}");
    assert!(why.contains("more: trimaran logs web#2/staging/lab-staging --host host-1"), "{why}");
}

#[test]
fn a_rollback_names_a_version_and_is_guarded_by_the_one_that_runs() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good"), ("v3", "good")]);
    for version in ["v1", "v2", "v3"] {
        web.deploy_until(&lab, version, "succeeded");
    }
    let rollback = |more: &[&str]| lab.run(&[&["rollback", "web", "--env", "prod", "--yes"], more].concat());
    let unknown = rollback(&["--to", "v9"]);
    assert_eq!(unknown.status.code(), Some(5));
    assert!(stderr(&unknown).contains("v1"), "{}", stderr(&unknown));
    let guarded = rollback(&["--to", "v1", "--from", "v2"]);
    assert_eq!(guarded.status.code(), Some(6));
    assert!(stderr(&guarded).contains("runs v3"), "{}", stderr(&guarded));
    let done = rollback(&["--to", "v1", "--from", "v3", "--wait", "--timeout", "60s"]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    assert_eq!(prod(&lab)["version"], "v1");
    let by_run = rollback(&["--to", "web#2", "--wait", "--timeout", "60s"]);
    assert_eq!(by_run.status.code(), Some(0), "{}", stderr(&by_run));
    assert_eq!(prod(&lab)["version"], "v2");
}

#[test]
fn a_deploy_in_a_pipe_says_that_it_detached() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    let piped = lab.run(&["deploy", "-f", web.file(), "--artifact", &web.artifact("v1")]);
    assert!(stderr(&piped).contains("detached: ") && stderr(&piped).contains("trimaran watch web#1"));
}

#[test]
fn dev_beside_another_context_says_which_one_stays_in_use_and_keeps_the_file() {
    let mut lab = Lab::fresh(1);
    let path = lab.folder.path().join("config.toml");
    let text = std::fs::read_to_string(&path).expect("the configuration");
    let prod =
        "# ours\n[contexts.prod]\nendpoints = [\"127.0.0.1:9\"]\nca = \"/x\"\ncert = \"/x\"\nkey = \"/x\"\n";
    let changed = format!("{}\n{prod}", text.replace("current = \"dev\"", "current = \"prod\""));
    std::fs::write(&path, &changed).expect("written");
    lab.restart();
    let log = std::fs::read_to_string(lab.folder.path().join("dev.log")).expect("what dev wrote");
    assert!(log.contains("`prod` stays the context in use; try: trimaran --context dev status"), "{log}");
    assert_eq!(std::fs::read_to_string(&path).expect("the configuration"), changed);
}

#[test]
fn dev_shows_why_a_part_died() {
    let folder = tempfile::tempdir().expect("a directory");
    let script = "ulimit -n 16; exec \"$0\" dev --hosts 1 --subnet 127.0.39 --data-dir \"$1\"";
    let data = folder.path().join("data");
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(binaries().join("trimaran"))
        .arg(&data)
        .env("TRIMARAN_CONFIG", folder.path().join("config.toml"))
        .output()
        .expect("a shell");
    let said = stderr(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("Too many open files"), "{said}");
}

/// A part that is killed under a running `dev` is named with its log and the command that starts it again.
#[test]
fn dev_says_which_part_ended_and_how_to_start_it_again() {
    let lab = Lab::fresh(1);
    lab.kill("host-1");
    let log = lab.folder.path().join("dev.log");
    until("dev says so", Duration::from_secs(20), || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        (said.contains("host-1 ended; see ") && said.contains("to start it again: ")).then_some(())
    });
}

#[test]
fn dev_says_which_parts_it_took_over_from_one_that_was_killed() {
    let mut lab = Lab::fresh(1);
    lab.kill_dev();
    lab.kill("host-1");
    lab.restart();
    let log = std::fs::read_to_string(lab.folder.path().join("dev.log")).expect("what dev wrote");
    assert!(log.contains("taken over, since they run already: c1, lab\n"), "{log}");
}
