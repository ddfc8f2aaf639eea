//! What a human on call sees at night: what is blocked and what to do first, what failed and its last output, which run
//! took a release back, and where `logs` of a run end.

use std::net::TcpListener;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, binaries};
use trimaran_e2e::web::{Shape, Web};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The installation on the prod target.
fn prod(lab: &Lab) -> Value {
    let status = lab.json(&["status", "web"]);
    let list = status["installations"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|it| it["environment"] == "prod").expect("prod has an installation")
}

/// Lets the pipeline file name another port, which is taken on the first prod host.
fn take_port(lab: &Lab, web: &Web) -> TcpListener {
    let path = lab.folder.path().join(web.file());
    let text = std::fs::read_to_string(&path).expect("the pipeline file");
    let (_, rest) = text.split_once("\"--port\", \"").expect("a port");
    let (port, _) = rest.split_once('"').expect("a port");
    let taken = TcpListener::bind(lab.host(2, 0)).expect("a free port");
    let other = taken.local_addr().expect("an address").port().to_string();
    std::fs::write(&path, text.replace(port, &other)).expect("written");
    taken
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
fn mistakes_get_a_sentence_that_says_what_to_type() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let file = web.file().to_owned();
    let mistakes: &[(&[&str], i32, &str)] = &[
        (&["deploy", "wbe", "--artifact", "bundle=v1"], 5, "did you mean `web`?"),
        (&["deploy", "web"], 2, "add `--artifact bundle=VERSION`"),
        (&["deploy", "-f", &file, "--wait", "approval"], 2, "write `--wait=approval`"),
        (&["deploy", "-f", &file, "--artifact", "bundle=v99"], 5, "web-v99.tar.zst"),
        (&["deploy", "-f", &file, "--artifact", "bundel=v1"], 5, "bundle"),
        (&["why", "web#999"], 5, "the newest run of `web` is web#1"),
        (&["why", "wbe"], 5, "did you mean `web`?"),
        (&["why", "web#1/prdo/lab-prod"], 5, "did you mean `prod/lab-prod`?"),
        (&["why", "web#1/prod"], 5, "its stages are: staging/lab-staging, prod/lab-prod"),
        (&["rollback", "web", "--env", "porrd", "--yes"], 5, "prod"),
        (&["rollback", "web", "--env", "prod"], 2, "--yes"),
        (&["installation", "show", "web"], 2, "write PIPELINE/TARGET"),
        (&["watch", "web", "--timeout", "60"], 2, "write 90s, 10m, 1h30m or 3d"),
    ];
    for (arguments, exit, words) in mistakes {
        let output = lab.run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(*exit), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?} does not say `{words}`: {said}");
    }
    let piped = lab.run(&["deploy", "-f", &file, "--artifact", &web.artifact("v1")]);
    assert!(stderr(&piped).contains("detached: ") && stderr(&piped).contains("trimaran watch web#2"));
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
    trimaran_test_support::wait::until("dev says so", Duration::from_secs(20), || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        (said.contains("host-1 ended; see ") && said.contains("to start it again: ")).then_some(())
    });
}
