//! Wall clocks that are wrong: one that is years ahead, and a night that is longer than any certificate.

use std::time::Duration;

use trimaran_e2e::lab::Lab;
use trimaran_e2e::preload::WallClock;
use trimaran_e2e::web::{Shape, Web, bakes, stages};
use trimaran_test_support::wait::until;

use crate::stand::{Setup, Stand, WAIT_MAX};

const TEN_YEARS: i64 = 87_600;
/// How far the cluster's wall time may be from this machine's clock.
const WALL_TOLERANCE: Duration = Duration::from_secs(10);

/// How far the cluster's wall time is from this machine's clock.
fn wall_error(stand: &Stand) -> Duration {
    let status = until("the cluster can be asked", WAIT_MAX, || stand.status());
    let wall: jiff::Timestamp = status["wall"].as_str().expect("a time").parse().expect("RFC 3339");
    wall.duration_since(jiff::Timestamp::now()).unsigned_abs()
}

fn wait_alarms(stand: &Stand, names: &[&str]) {
    until(&format!("the clocks of {names:?} alone are named"), WAIT_MAX, || {
        let alarms = stand.alarms("clock_wrong")?;
        let all = names.iter().all(|name| alarms.iter().any(|it| it.contains(&format!("`{name}`"))));
        (alarms.len() == names.len() && all).then_some(())
    });
}

/// It alone is named, also when it starts and leads: nothing expires by it, and timers go on.
pub(crate) fn ten_years_ahead(seed: u64) {
    let stand = Stand::new(seed, Setup::default());
    let lab = &stand.lab;
    let shape = Shape { approve: true, bake: "3s", ..Shape::default() };
    let web = Web::new(lab, shape, &[("v1", "good"), ("v2", "good")]);
    let run = web.deploy(lab, "v1");
    let wait_approval = |run: &str| {
        lab.wait_run(run, "prod asks", WAIT_MAX, |shown| {
            stages(shown).any(|it| it["name"] == "prod/approve" && it["status"] == "waiting").then_some(())
        });
    };
    wait_approval(&run);
    let leader = stand.leader();
    let [wrong, _] = stand.followers(&leader);
    let is_as_before = |what: &str| {
        wait_alarms(&stand, &[wrong]);
        let error = wall_error(&stand);
        assert!(error < WALL_TOLERANCE, "{what}: the cluster's wall time is {error:?} wrong");
        let shown = lab.show(&run);
        assert_eq!(shown["status"], "waiting", "{what}: {shown:#}");
        let agents = lab.json(&["agent", "list"]);
        assert_eq!(agents["agents"][0]["state"], "connected", "{what}: {agents:#}");
    };
    stand.clock(wrong).shift_hours(TEN_YEARS);
    is_as_before("a follower's clock");
    lab.kill(wrong);
    stand.start(wrong);
    stand.wait_whole();
    is_as_before("a follower that starts");
    stand.make_lead(wrong);
    is_as_before("it leads");

    // An approval that would have expired in an hour is open yet, and a bake of three seconds ends.
    web.approve(lab, &run, "promote");
    stand.wait_finished(&run);
    let run = web.deploy(lab, "v2");
    web.approve(lab, &run, "promote");
    lab.ok(&["watch", &run]);
    until("the bake is over", Duration::from_secs(20), || (!bakes(lab, &run)).then_some(()));
    assert_eq!(stand.leader(), wrong, "it leads all the time");
    stand.clock(wrong).shift_hours(-TEN_YEARS);
    wait_behind(&stand, wrong);
    stand.clock(wrong).shift_hours(0);
    wait_alarms(&stand, &[]);
}

/// One that is years behind is no better.
fn wait_behind(stand: &Stand, wrong: &str) {
    until("it is behind", WAIT_MAX, || {
        let alarms = stand.alarms("clock_wrong")?;
        (alarms.len() == 1 && alarms[0].contains(wrong) && alarms[0].contains("behind")).then_some(())
    });
    let error = wall_error(stand);
    assert!(error < WALL_TOLERANCE, "the cluster's wall time is {error:?} wrong");
}

/// Everything stands still for longer than any certificate is valid, and comes back without a human.
pub(crate) fn certificates_that_expired(_seed: u64) {
    let mut lab = Lab::fresh_with(3, 3);
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let clock = WallClock::new(lab.folder.path(), "all");
    clock.shift_hours(26);
    lab.restart_with(clock.environment().variables());
    web.deploy_until(&lab, "v2", "succeeded");
    let status = until("all three are there", WAIT_MAX, || {
        let output = lab.run(&["cluster", "status", "-o", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let members = status["members"].as_array()?;
        (members.len() == 3 && members.iter().all(|it| it["state"] == "alive")).then(|| status.clone())
    });
    let agents = lab.json(&["agent", "list"]);
    assert_eq!(agents["agents"][0]["state"], "connected", "{status:#}\n{agents:#}");
    let runners = lab.json(&["runner", "list"]);
    let runners = runners["runners"].as_array().expect("a list").iter();
    assert_eq!(runners.filter(|it| it["state"] == "connected").count(), 3);
}
