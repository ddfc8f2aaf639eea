//! `trimaran lint` and `trimaran init`.

use serde_json::json;

use crate::Desk;

const BAD: &str = "\
trimaran: v1
pipeline: web
owner: \"チーム\", x
";

#[test]
fn a_new_file_is_a_good_one() {
    let desk = Desk::new();
    let init = desk.run(&["init"]);
    assert_eq!((init.code, init.stderr.as_str()), (0, ""));
    assert_eq!(init.stdout, "trimaran.yaml written; check it with `trimaran lint trimaran.yaml`\n");
    let lint = desk.run(&["lint"]);
    assert_eq!(
        (lint.code, lint.stdout.as_str(), lint.stderr.as_str()),
        (0, "trimaran.yaml: no errors, no warnings\n", "")
    );
    let again = desk.run(&["init"]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("never overwritten"), "{}", again.stderr);
    let other = desk.run(&["init", "other.yaml", "-o", "json"]);
    assert_eq!(other.document(), json!({"schema": "trimaran.init/v1", "file": "other.yaml"}));
    desk.run(&["init", "--target"]);
    let lint = desk.run(&["lint", "target.yaml"]);
    assert_eq!((lint.code, lint.stdout.as_str()), (0, "target.yaml: no errors, no warnings\n"));
    assert!(desk.run(&["init", "--target"]).stderr.contains("never overwritten"));
}

#[test]
fn findings_show_their_line_with_a_mark() {
    let desk = Desk::new();
    desk.write(
        "trimaran.yaml",
        "trimaran: v1\ntarget: lab\nagent: lab\nclass: \"試験\" # env\nhosts: { select: {} }\nparalel:\t64\n",
    );
    let done = desk.run(&["lint"]);
    assert_eq!((done.code, done.stderr.as_str()), (11, ""));
    let expected = "\
error[TR1013]: `class` can't be `試験`
 --> trimaran.yaml:4:8
  |
4 | class: \"試験\" # env
  |        ^^^^^^
  |
  = help: one of: staging, prod
error[TR1207]: `select` names no label, so it would select every host
 --> trimaran.yaml:5:10
  |
5 | hosts: { select: {} }
  |          ^^^^^^
  |
  = help: Name at least one label.
error[TR1004]: unknown key `paralel`
 --> trimaran.yaml:6:1
  |
6 | paralel:    64
  | ^^^^^^^
  |
  = help: did you mean `parallel`?
3 errors, 0 warnings
";
    assert_eq!(done.stdout, expected);
}

#[test]
fn programs_get_one_document_with_all_findings() {
    let desk = Desk::new();
    desk.write("trimaran.yaml", BAD);
    desk.write("targets.yaml", "trimaran: v2\n");
    let done = desk.run(&["lint", "trimaran.yaml", "targets.yaml", "trimaran.yaml", "-o", "json"]);
    assert_eq!((done.code, done.stderr.as_str()), (11, ""));
    let document = done.document();
    assert_eq!(document["schema"], "trimaran.lint/v1");
    let found = document["diagnostics"].as_array().expect("a list");
    assert_eq!(found.len(), 3, "{document}");
    let version = json!({
        "code": "TR1008", "severity": "error",
        "message": "version `v2` of the language is not known; this version of Trimaran knows v1",
        "file": "targets.yaml", "line": 1, "column": 11, "length": 2, "help": "write `trimaran: v1`",
    });
    assert_eq!(found[1], version);
    assert_eq!(
        (&found[2]["file"], &found[2]["line"], &found[2]["column"]),
        (&json!("trimaran.yaml"), &json!(3), &json!(13))
    );
}

#[test]
fn warnings_are_no_errors() {
    let desk = Desk::new();
    desk.run(&["init"]);
    let text = std::fs::read_to_string(desk.path().join("trimaran.yaml")).expect("the file of init");
    let without: String =
        text.lines().filter(|line| !line.contains("approve:")).map(|line| format!("{line}\n")).collect();
    let target = "---\ntrimaran: v1\ntarget: lab-prod\nagent: lab\nclass: prod\nhosts: { select: { group: prod } }\n\
                  ---\ntrimaran: v1\ntarget: lab-staging\nagent: lab\nclass: staging\nhosts: { select: { group: staging } }\n";
    desk.write("both.yaml", format!("{without}{target}"));
    let done = desk.run(&["lint", "both.yaml"]);
    assert_eq!(done.code, 0, "{}", done.stdout);
    assert!(
        done.stdout.contains("warning[TR1303]: `prod` has prod targets and no `approve`"),
        "{}",
        done.stdout
    );
    assert!(done.stdout.contains("warning[TR1312]: on prod target `lab-prod`"), "{}", done.stdout);
    assert!(done.stdout.ends_with("0 errors, 2 warnings\n"), "{}", done.stdout);
}

#[test]
fn files_that_can_not_be_read_say_why() {
    let desk = Desk::new();
    let done = desk.run(&["lint", "nothing.yaml"]);
    assert_eq!((done.code, done.stdout.as_str()), (11, ""));
    assert!(done.stderr.contains("error[TR5001]: `nothing.yaml` can't be read"), "{}", done.stderr);
    let error = desk.run(&["lint", "nothing.yaml", "-o", "json"]).error();
    assert_eq!((&error["code"], &error["position"]["file"]), (&json!("TR5001"), &json!("nothing.yaml")));
    desk.write("large.yaml", vec![b'#'; (1 << 20) + 1]);
    let done = desk.run(&["lint", "large.yaml"]);
    assert_eq!(done.code, 11);
    assert!(done.stdout.contains("error[TR1019]"), "{}", done.stdout);
    desk.write("edge.yaml", format!("# {}\n", "x".repeat((1 << 20) - 3)));
    let done = desk.run(&["lint", "edge.yaml"]);
    assert!(done.stdout.contains("error[TR1022]: the file has no document"), "a file of 1 MiB is read");
}

#[test]
fn what_can_not_be_read_hides_nothing_of_the_other_files() {
    let desk = Desk::new();
    desk.write("bad.yaml", "trimaran: v1\ntarget: a\n");
    let done = desk.run(&["lint", "bad.yaml", "nothing.yaml", "-o", "json"]);
    assert_eq!((done.code, done.stderr.as_str()), (11, ""));
    let document = done.document();
    let found = document["diagnostics"].as_array().expect("findings");
    let of = |file: &str| found.iter().find(|it| it["file"] == *file).unwrap_or_else(|| panic!("{file}"));
    assert_eq!(of("bad.yaml")["code"], "TR1006");
    let missing = of("nothing.yaml");
    assert_eq!((&missing["code"], &missing["severity"]), (&json!("TR5001"), &json!("error")));
    assert!(missing["message"].as_str().expect("text").contains("No such file"), "{missing}");
    let done = desk.run(&["lint", "bad.yaml", "nothing.yaml"]);
    assert!(done.stdout.contains("error[TR5001]: `nothing.yaml` can't be read"), "{}", done.stdout);
}

#[test]
fn a_device_is_no_file_for_any_command() {
    let desk = Desk::new();
    for command in ["lint", "apply", "render", "verdict"] {
        let done = desk.run(&[command, "/dev/zero"]);
        assert_eq!(done.code, 11, "{command}");
        assert!(done.stderr.contains("it is a device, not a file"), "{command}: {}", done.stderr);
    }
}

#[test]
fn nothing_of_a_file_reaches_the_terminal_as_control() {
    let desk = Desk::new();
    desk.write("trimaran.yaml", "trimaran: v1\npipeline: \"\\e[2J\\u202e\"\nowner: x\u{1b}[2J\n");
    let done = desk.run(&["lint"]);
    assert_eq!(done.code, 11);
    assert!(!done.stdout.contains(['\u{1b}', '\u{202e}']), "{:?}", done.stdout);
    desk.write("trimaran.yaml", "trimaran: v1\npipeline: \"\\e[2J\\u202e\"\n");
    let done = desk.run(&["lint"]);
    assert!(done.stdout.contains("TR1014"), "{}", done.stdout);
    assert!(!done.stdout.contains(['\u{1b}', '\u{202e}']), "{:?}", done.stdout);
}

/// Commands that send a file check it first, and say the same without any cluster.
#[test]
fn plan_deploy_and_apply_show_all_errors_before_they_ask_anybody() {
    let desk = Desk::new();
    desk.write("bad.yaml", "trimaran: v1\ntarget: lab\nagent: [lab]\nclass: live\nhosts: {}\n");
    let lint = desk.run(&["lint", "bad.yaml"]);
    for command in [
        vec!["plan", "-f", "bad.yaml", "--artifact", "bundle=v1"],
        vec!["deploy", "-f", "bad.yaml", "--artifact", "bundle=v1", "--detach"],
        vec!["apply", "bad.yaml"],
    ] {
        let done = desk.run(&command);
        assert_eq!((done.code, done.stdout.as_str()), (11, ""), "{command:?}");
        assert_eq!(done.stderr, lint.stdout, "{command:?}");
        let error = desk.run(&[command, vec!["-o", "json"]].concat()).error();
        assert_eq!(error["code"], "TR1005");
        assert_eq!(error["position"], json!({"file": "bad.yaml", "line": 3, "column": 8}));
    }
}

/// Other commands that are given a file say all of its errors too.
#[test]
fn plan_deploy_and_apply_find_what_lint_finds() {
    let desk = Desk::new();
    desk.write("bad.yaml", "trimaran: v1\npipeline: Web\nownr: team\nartifacts: {}\nworkload: {}\n");
    let found = desk.run(&["lint", "bad.yaml", "-o", "json"]).document()["diagnostics"].clone();
    assert!(found.as_array().is_some_and(|all| all.len() >= 4), "{found}");
    let text = desk.run(&["lint", "bad.yaml"]).stdout;
    for args in [&["plan", "-f", "bad.yaml"][..], &["deploy", "-f", "bad.yaml"], &["apply", "bad.yaml"]] {
        let done = desk.run(&[args, &["-o", "json"][..]].concat());
        assert_eq!((done.code, done.stdout.as_str()), (11, ""), "{args:?}");
        assert_eq!(done.error()["position"]["line"], found[0]["line"], "{args:?}");
        let document: serde_json::Value = serde_json::from_str(&done.stderr).expect("one document");
        assert_eq!(document["diagnostics"], found, "{args:?}");
        assert_eq!(desk.run(args).stderr, text, "{args:?}");
    }
}
