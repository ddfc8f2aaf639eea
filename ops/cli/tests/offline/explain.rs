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

Exit code 11.
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
