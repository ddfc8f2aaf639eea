//! Clocks that lie and nights without power: nothing passes or hangs by them.

use std::time::Duration;

use trimaran_e2e::lab::Lab;
use trimaran_e2e::preload::WallClock;
use trimaran_e2e::web::{Shape, Web, stages};
use trimaran_test_support::wait::until;

#[test]
fn after_26_hours_without_power_every_part_comes_back_without_a_human() {
    let mut lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let clock = WallClock::new(lab.folder.path(), "all");
    clock.shift_hours(26);
    lab.restart_with(clock.environment().variables());
    web.deploy_until(&lab, "v2", "succeeded");
}

#[test]
fn a_wall_clock_that_jumps_expires_no_approval_and_raises_an_alarm() {
    let lab = Lab::fresh(3);
    let web = Web::new(&lab, Shape { approve: true, ..Shape::default() }, &[("v1", "good")]);
    let clock = WallClock::new(lab.folder.path(), "c1");
    lab.kill("c1");
    lab.start_part_in("c1", &[], &clock.environment().variables());
    let run = web.deploy(&lab, "v1");
    until("prod asks", Duration::from_secs(60), || {
        let shown = lab.show(&run);
        stages(&shown).any(|it| it["name"] == "prod/approve" && it["status"] == "waiting").then_some(())
    });
    let alarms = || lab.json(&["cluster", "status"])["alarms"].as_array().map_or(0, Vec::len);
    for hours in [2, -2, 87_600, 0] {
        let now = || lab.json(&["cluster", "status"])["now"].clone();
        let before = now();
        clock.shift_hours(hours);
        until("time moves", Duration::from_secs(20), || (now() != before).then_some(()));
        if hours != 0 {
            until("the jump alarms", Duration::from_secs(20), || (alarms() > 0).then_some(()));
        }
        assert_eq!(lab.show(&run)["status"], "waiting", "after {hours} hours");
    }
    web.approve(&lab, &run, "promote");
    lab.wait_status(&run, "succeeded", Duration::from_secs(60));
}
