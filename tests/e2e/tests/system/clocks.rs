//! Clocks that lie and nights without power: nothing passes or hangs by them.

use std::time::Duration;

use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web, stages};
use trimaran_test_support::wait::until;

/// Moves the wall clock of a process, and leaves its monotonic clocks alone.
fn moved(how: (&str, &str)) -> Vec<(String, String)> {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    assert!(std::path::Path::new(&library).exists(), "`make setup` installs faketime");
    [("LD_PRELOAD", library.as_str()), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), how]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

#[test]
fn after_26_hours_without_power_every_part_comes_back_without_a_human() {
    let mut lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    lab.restart_with(moved(("FAKETIME", "+26h")));
    web.deploy_until(&lab, "v2", "succeeded");
}

#[test]
fn a_wall_clock_that_jumps_expires_no_approval_and_raises_an_alarm() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape { approve: true, ..Shape::default() }, &[("v1", "good")]);
    let offset = lab.folder.path().join("offset");
    let set = |text: &str| std::fs::write(&offset, text).expect("a file");
    set("+0");
    lab.kill("c1");
    let mut environment = moved(("FAKETIME_TIMESTAMP_FILE", &offset.display().to_string()));
    environment.push(("FAKETIME_NO_CACHE".to_owned(), "1".to_owned()));
    lab.start_part_in("c1", &[], &environment);
    let run = web.deploy(&lab, "v1");
    until("prod asks", Duration::from_secs(60), || {
        let shown = lab.show(&run);
        stages(&shown).any(|it| it["name"] == "prod/approve" && it["status"] == "waiting").then_some(())
    });
    let alarms = || lab.json(&["cluster", "status"])["alarms"].as_array().map_or(0, Vec::len);
    for jump in ["+2h", "-2h", "+3650d", "+0"] {
        let now = || lab.json(&["cluster", "status"])["now"].clone();
        let before = now();
        set(jump);
        until("time moves", Duration::from_secs(20), || (now() != before).then_some(()));
        if jump != "+0" {
            until("the jump alarms", Duration::from_secs(20), || (alarms() > 0).then_some(()));
        }
        assert_eq!(lab.show(&run)["status"], "waiting", "after {jump}");
    }
    web.approve(&lab, &run, "promote");
    lab.wait_status(&run, "succeeded", Duration::from_secs(60));
}
