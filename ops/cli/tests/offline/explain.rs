//! `trimaran explain`: every code and reason has its text.

use serde_json::json;
use trimaran_model::error_code;
use trimaran_model::reason::ReasonCode;

use crate::Desk;

#[test]
fn every_code_and_reason_is_explained() {
    let desk = Desk::new();
    for entry in error_code::catalogue() {
        let done = desk.run(&["explain", &entry.code.to_string(), "-o", "json"]);
        let document = done.document();
        assert_eq!((done.code, &document["code"]), (0, &json!(entry.code.to_string())));
        assert_eq!(
            (&document["title"], &document["exit_code"]),
            (&json!(entry.title), &json!(entry.exit as u8))
        );
    }
    for reason in ReasonCode::ALL {
        let done = desk.run(&["explain", reason.as_str()]);
        assert_eq!(done.code, 0, "{}", reason.as_str());
        assert!(done.stdout.contains(reason.summary()) && done.stdout.contains(reason.advice()));
    }
}

#[test]
fn people_get_cause_help_and_exit_code() {
    let done = Desk::new().run(&["explain", "tr1203"]);
    let expected = "\
TR1203: unknown environment

`after` names an environment that the pipeline does not have.

Name an environment of this pipeline.

Exit code 11; as a warning 0.
";
    assert_eq!((done.code, done.stdout.as_str()), (0, expected));
}

#[test]
fn unknown_names_are_not_found_and_the_nearest_is_named() {
    let desk = Desk::new();
    for (name, help) in [
        ("TR9999", "codes look like TR1203, reasons like crash_loop"),
        ("crash_lop", "did you mean `trimaran explain crash_loop`?"),
    ] {
        let done = desk.run(&["explain", name, "-o", "json"]);
        assert_eq!((done.code, done.stdout.as_str()), (5, ""));
        assert_eq!(done.error()["help"], help);
    }
}

#[test]
fn every_alarm_of_the_documentation_is_explained() {
    let page = include_str!("../../../docs/cli.md");
    let (_, table) = page.split_once("### Alarms").expect("a table of alarms");
    let codes: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(codes.contains(&"disk_low") && codes.contains(&"clock_jump"), "{codes:?}");
    let desk = Desk::new();
    for code in codes {
        let done = desk.run(&["explain", code]);
        assert_eq!(done.code, 0, "{code}: {}", done.stderr);
    }
}

#[test]
fn help_is_a_command_too() {
    let done = Desk::new().run(&["help", "rollback"]);
    assert_eq!(done.code, 0);
    assert!(done.stdout.contains("--to <VERSION|RUN|DIGEST>"), "{}", done.stdout);
    let (own, global) = done.stdout.split_once("Global options:").expect("a heading of their own");
    assert!(own.contains("--env") && global.contains("--context") && !own.contains("--context"), "{own}");
}

#[test]
fn a_shell_asks_the_program_itself_for_completions() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        let done = desk.run(&["completion", shell]);
        assert!(done.code == 0 && done.stdout.contains("COMPLETE"), "{shell}: {}", done.stdout);
    }
    let mut command = desk.command(&["--", "trimaran", "rollb"]);
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "1").env("_CLAP_IFS", "\n");
    let done = crate::Done::from(command.output().expect("the command starts"));
    assert_eq!(done.stdout.trim(), "rollback", "{}", done.stderr);
}
