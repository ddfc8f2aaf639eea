//! `trimaran verdict` and `trimaran explain` as real processes: documents, exit codes and errors with places.
#![allow(clippy::disallowed_methods, reason = "a test starts processes and writes files")]

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

fn trimaran(folder: &Path, args: &[&str]) -> Done {
    let output = Command::new(env!("CARGO_BIN_EXE_trimaran"))
        .args(args)
        .current_dir(folder)
        .env_remove("TRIMARAN_CONTEXT")
        .output()
        .expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let code = output.status.code().expect("an exit code");
    Done { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        std::fs::write(path, text).expect("the folder can be written");
    }
    folder
}

/// The objects of a case of the judge's own tests, as `kubectl get -o json` would print them.
fn case(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../agent/kubernetes/core/tests/cases");
    let text = std::fs::read_to_string(root.join(name)).expect("the case exists");
    let case: Value = serde_json::from_str(&text).expect("a case is JSON");
    json!({"apiVersion": "v1", "kind": "List", "items": case["objects"]}).to_string()
}

const NOW: &str = "2026-03-01T10:00:20Z";

#[test]
fn a_bundle_gives_the_verdict_of_its_root_with_evidence() {
    let crash = case("crash/loop.json");
    let folder = folder(&[("live/all.json", crash.as_str())]);
    let done = trimaran(folder.path(), &["verdict", "live", "--now", NOW, "-o", "json"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let verdicts: Value = serde_json::from_str(&done.stdout).expect("a JSON array");
    assert_eq!(verdicts.as_array().map(Vec::len), Some(1), "{verdicts}");
    let one = &verdicts[0];
    assert_eq!(one["subject"], "Deployment/web");
    assert_eq!(one["namespace"], "shop");
    assert_eq!(one["verdict"], "degraded");
    assert_eq!(one["reason"], "crash_loop");
    assert_eq!(one["fault"], "release");
    assert_eq!(one["next_check_at"], Value::Null);
    assert!(one["message"].as_str().is_some_and(|it| it.contains("exit code 137")), "{one}");
    let evidence = one["evidence"].as_array().expect("evidence is a list");
    let exit = evidence.iter().find(|it| it["value"] == "137").expect("the exit code is evidence");
    assert_eq!(exit["field"], "status.containerStatuses[web].lastState.terminated.exitCode");
    assert_eq!(exit["at"], "2026-03-01T10:00:16.000Z");
    assert_eq!(one["warnings"], json!([]));
}

#[test]
fn fail_on_decides_the_exit_code() {
    let (crash, good) = (case("crash/loop.json"), case("deployment/healthy.json"));
    let folder = folder(&[("crash.json", crash.as_str()), ("good.json", good.as_str())]);
    let run = |args: &[&str]| {
        trimaran(folder.path(), &[&["verdict", "--now", NOW, "-o", "json"], args].concat()).code
    };
    assert_eq!(run(&["crash.json", "--fail-on", "degraded"]), 3);
    assert_eq!(run(&["crash.json", "--fail-on", "missing,unknown"]), 0);
    assert_eq!(run(&["good.json", "--fail-on", "degraded,missing,unknown"]), 0);
    assert_eq!(run(&["good.json", "--subject", "Deployment/nope", "--fail-on", "missing"]), 3);
    assert_eq!(run(&["good.json", "--fail-on", "sick"]), 2);
    assert_eq!(run(&["good.json", "--now", "yesterday"]), 2);
    assert_eq!(run(&["good.json", "--subject", "web"]), 2);
    assert_eq!(run(&[]), 2);
}

#[test]
fn subjects_are_found_by_short_names_and_missing_ones_are_said() {
    let crash = case("crash/loop.json");
    let folder = folder(&[("all.json", crash.as_str())]);
    let args = ["verdict", "all.json", "--now", NOW, "-o", "json", "--subject"];
    for (subject, namespace, verdict) in [
        ("deploy/web", "shop", "degraded"),
        ("deployments.apps/web", "shop", "degraded"),
        ("Deployment/web", "other", "missing"),
        ("svc/web", "shop", "missing"),
    ] {
        let done = trimaran(folder.path(), &[&args[..], &[subject, "--namespace", namespace]].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        let verdicts: Value = serde_json::from_str(&done.stdout).expect("a JSON array");
        assert_eq!(verdicts[0]["verdict"], verdict, "{subject}: {verdicts}");
        assert_eq!(verdicts.as_array().map(Vec::len), Some(1));
    }
}

#[test]
fn yaml_is_read_and_people_get_lines() {
    let text = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: shop}
data: {COLOR: blue}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: shop, creationTimestamp: 2026-03-01T10:00:00Z}
status: {loadBalancer: {}}
";
    let folder = folder(&[("all.yaml", text)]);
    let done = trimaran(folder.path(), &["verdict", "all.yaml", "--now", NOW]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert!(lines[0].contains("ConfigMap/web") && lines[0].contains("healthy"), "{}", done.stdout);
    assert!(lines[1].contains("Ingress/web") && lines[1].contains("no_address"), "{}", done.stdout);
    assert!(done.stdout.contains("2026-03-01T10:01:00.000Z"), "{}", done.stdout);
}

#[test]
fn unreadable_input_ends_with_its_place() {
    let folder = folder(&[
        ("bad.yaml", "kind: Pod\nmetadata: [\n"),
        ("text.yaml", "---\njust words\n"),
        ("nameless.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {}\n"),
        (
            "cycle.json",
            r#"{"apiVersion":"corp.example/v1","kind":"A","metadata":{"name":"a","uid":"1","ownerReferences":[{"apiVersion":"corp.example/v1","kind":"A","name":"a","uid":"1"}]}}"#,
        ),
    ]);
    for file in ["bad.yaml", "text.yaml", "absent.yaml"] {
        let done = trimaran(folder.path(), &["verdict", file, "-o", "json"]);
        assert_eq!(done.code, 11, "{file}: {}", done.stdout);
        let error: Value = serde_json::from_str(&done.stderr).expect("an error document");
        assert!(error["error"]["message"].is_string(), "{error}");
        if file != "absent.yaml" {
            assert_eq!(error["error"]["position"]["file"], file, "{error}");
            assert!(error["error"]["position"]["line"].as_u64().is_some_and(|line| line >= 1), "{error}");
        }
    }
    for file in ["nameless.yaml", "cycle.json"] {
        let done = trimaran(folder.path(), &["verdict", file, "-o", "json"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let verdicts: Value = serde_json::from_str(&done.stdout).expect("a JSON array");
        assert_eq!(verdicts[0]["verdict"], "unknown", "{verdicts}");
    }
}

#[test]
fn rules_of_a_folder_speak_for_their_kinds() {
    let rule = "\
match: {group: corp.example, kind: Widget}
observed_generation: none
when:
  - {cel: 'status.mood == \"fine\"', verdict: healthy}
  - {cel: 'status.mood == \"sad\"', verdict: degraded, message: 'it is ${status.mood}'}
otherwise: {verdict: progressing, message: it does not tell its mood}
examples:
  good: [{apiVersion: corp.example/v1, kind: Widget, metadata: {name: a}, status: {mood: fine}}]
  progressing: [{apiVersion: corp.example/v1, kind: Widget, metadata: {name: a}, status: {mood: odd}}]
  bad: [{apiVersion: corp.example/v1, kind: Widget, metadata: {name: a}, status: {mood: sad}}]
";
    let widget = "apiVersion: corp.example/v1\nkind: Widget\nmetadata: {name: w, namespace: shop}\nstatus: {mood: sad}\n";
    let folder = folder(&[
        ("rules/corp.example/Widget.yaml", rule),
        (
            "broken/Widget.yaml",
            "match: {group: corp.example, kind: Widget}\nwhen:\n  - {cel: '((', verdict: healthy}\n",
        ),
        ("widget.yaml", widget),
    ]);
    let run = |rules: &[&str]| {
        trimaran(folder.path(), &[&["verdict", "widget.yaml", "-o", "json"], rules].concat())
    };
    let done = run(&["--rules", "rules"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let verdicts: Value = serde_json::from_str(&done.stdout).expect("a JSON array");
    assert_eq!(verdicts[0]["verdict"], "degraded", "{verdicts}");
    assert!(verdicts[0]["message"].as_str().is_some_and(|it| it.contains("sad")), "{verdicts}");
    let without: Value = serde_json::from_str(&run(&[]).stdout).expect("a JSON array");
    assert_eq!(without[0]["verdict"], "unknown", "{without}");
    let broken = run(&["--rules", "broken"]);
    assert_eq!(broken.code, 11, "{}", broken.stdout);
    assert!(broken.stderr.contains("Widget.yaml"), "{}", broken.stderr);
    assert_eq!(run(&["--rules", "nowhere"]).code, 11);
}

#[test]
fn every_reason_of_a_verdict_is_explained() {
    let folder = folder(&[]);
    for reason in
        ["crash_loop", "image_pull", "no_rule", "webhook_unavailable", "sts_stuck_pod", "volume_lost"]
    {
        let done = trimaran(folder.path(), &["explain", reason]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert!(done.stdout.starts_with(reason), "{}", done.stdout);
    }
}
