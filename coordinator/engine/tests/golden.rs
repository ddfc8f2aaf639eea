//! A log as this version writes it: it decodes for ever and replays to the same state. `UPDATE=1` writes it
//! again, which is allowed until the first release and never after it.
#![allow(clippy::disallowed_methods, reason = "the log is a file, and a variable says that it is rewritten")]

use std::fmt::Write as _;
use std::path::Path;

use trimaran_engine::Engine;
use trimaran_sim::lab::{Lab, failure, operator, run_id};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::assignment::WireOutcome;
use trimaran_wire::v1::command::{CommandBody, Entry};

/// Commands of every concern: enrolment, a deploy with an approval, a failure that goes back, a human's rollback.
fn history() -> Lab {
    let mut lab = Lab::with_hosts(1, 4);
    lab.pipelines.insert(
        "web".to_owned(),
        vec![
            "staging targets=lab-staging".to_owned(),
            "prod after=staging targets=lab-prod approve=promote,roll_back sizes=1,100% bake=10s".to_owned(),
        ],
    );
    for (number, stable_releases) in [(1, true), (2, false), (3, true)] {
        let deploy = lab.deploy("web", &format!("v{number}"), &[]);
        lab.must(operator("op1", deploy));
        report(&mut lab, "lab-staging", WireOutcome::Done);
        let (run, option) = (run_id(&format!("web#{number}")), Some("promote".to_owned()));
        let approve =
            CommandBody::Approve { run, stage: None, option, plan_digest: None, comment: "seen".to_owned() };
        lab.must(operator("op2", approve));
        report(&mut lab, "lab-prod", WireOutcome::Done);
        let outcome = match stable_releases {
            true => WireOutcome::Done,
            false => WireOutcome::Failed(failure("probe_failed", "503 Service Unavailable", Some("p2"))),
        };
        report(&mut lab, "lab-prod", outcome);
        if !stable_releases {
            report(&mut lab, "lab-prod", WireOutcome::Done);
        }
        lab.pass(11_000);
    }
    let rollback = CommandBody::Rollback {
        pipeline: "web".to_owned(),
        environment: "prod".to_owned(),
        to: None,
        reason: "slow".to_owned(),
    };
    lab.must(operator("op1", rollback));
    report(&mut lab, "lab-prod", WireOutcome::Fault(failure("host_lost", "silent", Some("p1"))));
    lab.must(operator("op1", CommandBody::Resume { run: run_id("web#4"), stage: None }));
    report(&mut lab, "lab-prod", WireOutcome::Done);
    lab
}

fn report(lab: &mut Lab, target: &str, outcome: WireOutcome) {
    let row = lab.live(target).expect("work");
    let command = lab.result(&row, outcome);
    lab.must(command);
}

#[test]
fn an_old_log_replays_to_the_same_state() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/log-v1.txt");
    if std::env::var("UPDATE").is_ok_and(|value| value == "1") {
        let lab = history();
        let mut text = String::new();
        for (index, bytes) in &lab.log {
            let hex: String = bytes.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            text.push_str(&format!("{index} {hex}\n"));
        }
        text.push_str(&format!("hash {:032x}\n", lab.engine.hash()));
        std::fs::write(&path, text).expect("the log is written");
    }
    let text = std::fs::read_to_string(&path).expect("the log of the version");
    let mut engine = Engine::new();
    let mut entries = 0;
    for line in text.lines() {
        let (index, rest) = line.split_once(' ').expect("two words");
        if index == "hash" {
            assert_eq!(format!("{:032x}", engine.hash()), rest, "the log replays to another state");
            continue;
        }
        let byte = |at: usize| u8::from_str_radix(&rest[at..at + 2], 16).expect("hexadecimal digits");
        let bytes: Vec<u8> = (0..rest.len()).step_by(2).map(byte).collect();
        engine.apply(index.parse().expect("an index"), &Entry::from_bytes(&bytes).expect("an entry"));
        entries += 1;
    }
    assert!(entries > 40, "only {entries} entries");
    // The history as it is made today encodes to the same bytes.
    assert_eq!(history().engine.hash(), engine.hash());
}
