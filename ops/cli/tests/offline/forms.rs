//! Usage errors, output forms, help and what needs no cluster to be refused.

use serde_json::json;

use crate::Desk;

#[test]
fn usage_errors_exit_2_in_the_form_that_was_asked_for() {
    let desk = Desk::new();
    let cases: &[&[&str]] = &[
        &["fly"],
        &[],
        &["deploy"],
        &["approve"],
        &["lint", "--fast"],
        &["deploy", "web", "--detach", "--wait"],
        &["deploy", "web", "-f", "trimaran.yaml"],
        &["plan", "web", "--override", "everything", "--reason", "x"],
        &["plan", "web", "--override", "freeze"],
        &["explain", "TR1001", "-o", "xml"],
        &["operator", "enroll", "me", "--role", "owner"],
    ];
    for args in cases {
        let done = desk.run(args);
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{args:?}");
        assert!(!done.stderr.is_empty(), "{args:?}");
        if args.contains(&"-o") {
            continue;
        }
        let done = desk.run(&[args, &["-o", "json"][..]].concat());
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{args:?}");
        assert_eq!(done.error()["code"], "TR2001", "{args:?}");
    }
}

#[test]
fn a_result_that_can_not_be_written_is_an_error() {
    let desk = Desk::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let done = desk.command(&["explain", "TR1001"]).stdout(full).output().expect("the command starts");
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.starts_with("error: stdout can't be written: No space left"), "{said}");
}

#[test]
fn values_that_no_server_would_take_exit_2() {
    let desk = Desk::new();
    desk.run(&["init"]);
    for (args, code) in [
        (vec!["plan", "web", "--artifact", "bundle"], "TR2001"),
        (vec!["plan", "web", "--artifact", "bundle=v1@sha256:zz"], "TR2001"),
        (vec!["plan", "web", "--artifact", "bundle=v1", "--artifact", "bundle=v2"], "TR2001"),
        (vec!["plan", "web", "--artifact", "bundle=v1"], "TR4103"),
        (vec!["status"], "TR4103"),
        (vec!["status", "--context", "nowhere"], "TR4103"),
        (vec!["status", "--endpoint", "127.0.25.1"], "TR2001"),
        (vec!["status", "--endpoint", ":7700"], "TR2001"),
        (vec!["status", "--endpoint", "c1:0"], "TR2001"),
        (vec!["context", "use", "nowhere"], "TR4103"),
        (vec!["context", "add", "lab", "--token-file", "token"], "TR2001"),
        (vec!["context", "add", "Lab!", "--token-file", "token", "--endpoint", "127.0.25.1:1"], "TR2001"),
        (vec!["context", "add", "lab", "--token-file", "token", "--endpoint", "127.0.25.1:1"], "TR2001"),
    ] {
        let done = desk.run(&[args.clone(), vec!["-o", "json"]].concat());
        assert_eq!((done.code, done.stdout.as_str()), (2, ""), "{args:?}: {}", done.stderr);
        assert_eq!(done.error()["code"], code, "{args:?}");
    }
    let done = desk.run(&["plan", "web", "--artifact", "bundle"]);
    assert!(done.stderr.starts_with("error[TR2001]: "), "{}", done.stderr);
    assert!(done.stderr.contains("\n  help: write `--artifact NAME=VERSION`"), "{}", done.stderr);
}

#[test]
fn contexts_are_listed_and_used() {
    let desk = Desk::new();
    desk.write(
        "config.toml",
        "current = \"lab\"\n[contexts.lab]\nendpoints = []\nca = \"/a\"\ncert = \"/b\"\nkey = \"/c\"\n",
    );
    let listed = desk.run(&["context", "list", "-o", "json"]);
    let expected = json!({"schema": "trimaran.contexts/v1", "contexts": [{"name": "lab", "endpoints": [], "current": true}]});
    assert_eq!((listed.code, listed.document()), (0, expected));
    assert_eq!(desk.run(&["context", "list"]).stdout, "\tCONTEXT\tENDPOINTS\n*\tlab\t\n");
    let used = desk.run(&["context", "use", "lab", "-o", "json"]);
    assert_eq!((used.code, used.document()), (0, json!({"schema": "trimaran.context/v1", "name": "lab"})));
    let unset = desk.command(&["context", "list"]).env("TRIMARAN_CONTEXT", "").output().expect("it starts");
    assert_eq!(crate::Done::from(unset).stdout, "\tCONTEXT\tENDPOINTS\n*\tlab\t\n", "empty is not named");
    desk.write("config.toml", "[contexts\n");
    assert_eq!(desk.run(&["context", "list"]).code, 2);
}

#[test]
fn every_form_is_spoken() {
    let desk = Desk::new();
    let json = desk.run(&["version", "-o", "json"]).document();
    assert_eq!(json["schema"], "trimaran.version/v1");
    let lines = desk.run(&["version", "-o", "jsonl"]);
    assert_eq!((lines.stdout.lines().count(), lines.document()), (1, json.clone()));
    let yaml = desk.run(&["version", "-o", "yaml"]).stdout;
    let version = json["version"].as_str().expect("a text");
    assert_eq!(yaml, format!("schema: trimaran.version/v1\nversion: \"{version}\"\n"));
    assert_eq!(desk.run(&["version"]).stdout, format!("trimaran {version}\n"));
    assert_eq!(desk.run(&["--version"]).stdout, format!("trimaran {version}\n"));
    let error = desk.run(&["explain", "nothing", "-o", "yaml"]);
    assert!(
        error.stderr.starts_with("schema: trimaran.error/v1\nerror:\n  code: TR2102\n"),
        "{}",
        error.stderr
    );
}

#[test]
fn help_goes_to_stdout_and_has_examples() {
    let desk = Desk::new();
    for command in
        ["", "lint", "init", "explain", "plan", "deploy", "context", "completion", "version", "context add"]
    {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let done = desk.run(&args);
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{command}");
        assert!(
            done.stdout.contains("Usage: trimaran") && done.stdout.contains("Examples:"),
            "{}",
            done.stdout
        );
        assert!(!done.stdout.contains('\u{1b}'), "no colours in a pipe");
    }
}

#[test]
fn completions_are_scripts() {
    let desk = Desk::new();
    for (shell, mark) in
        [("bash", "_clap_complete_trimaran"), ("zsh", "#compdef trimaran"), ("fish", "--command trimaran")]
    {
        let done = desk.run(&["completion", shell]);
        assert_eq!(done.code, 0);
        assert!(done.stdout.contains(mark), "{shell}");
    }
    assert_eq!(desk.run(&["completion", "abacus"]).code, 2);
}

/// A reader that goes away, such as `head`, ends a command quietly.
#[test]
fn a_closed_pipe_is_no_error() {
    let desk = Desk::new();
    for args in [&["completion", "bash"][..], &["--help"], &["lint", "--help"]] {
        let mut child = desk
            .command(args)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the command starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the command ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}
