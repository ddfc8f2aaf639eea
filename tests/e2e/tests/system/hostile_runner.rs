//! A runner whose program is an attacker's: what it invents moves nothing but its own session.

use std::time::Duration;

use trimaran_e2e::hostile_runner::Attack;
use trimaran_e2e::lab::{Lab, resident_bytes};
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

/// How long it attacks; a minute with `TRIMARAN_FULL`.
const ATTACK: Duration = Duration::from_secs(15);
const ATTACK_FULL: Duration = Duration::from_mins(1);
/// What the memory of its agent may grow by.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

#[test]
fn a_runner_that_invents_everything_at_full_speed_moves_nothing_but_its_own_session() {
    let lab = Lab::fresh(4);
    let shape = Shape { bake: "5m", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    lab.ok(&["runner", "cordon", "host-4", "--yes"]);
    until("it is out of its target", Duration::from_secs(10), || {
        let status = lab.json(&["status", "web"]);
        let list = status["installations"].as_array().cloned()?;
        list.iter().any(|it| it["environment"] == "prod" && it["members"] == 2).then_some(())
    });
    lab.kill("host-4");

    let pid = lab.part("lab").pid.expect("it runs");
    let before = resident_bytes(pid);
    let time = if std::env::var_os("TRIMARAN_FULL").is_some() { ATTACK_FULL } else { ATTACK };
    let mut attack = Attack::start(&lab, "host-4", time);
    // Deploys of the others go their way meanwhile.
    let (mut deploys, mut most) = (1, 0);
    while !attack.is_over() || deploys == 1 {
        let version = ["v1", "v2"][deploys % 2];
        web.deploy_until(&lab, version, "succeeded");
        deploys += 1;
        most = most.max(resident_bytes(pid));
    }
    let sent = attack.end();
    assert!(sent.messages > 1000 && sent.sessions > 0, "{sent:?}");
    let grown = most.max(resident_bytes(pid)).saturating_sub(before);
    assert!(grown <= GROWTH_BYTES_MAX, "the agent took {grown} bytes for {sent:?}");
    println!("{sent:?} while {} deploys of others succeeded; the agent took {grown} bytes", deploys - 1);

    let status = lab.json(&["status"]);
    let list = status["installations"].as_array().expect("a list");
    assert_eq!(list.len(), 2, "nothing was invented: {status:#}");
    let version = ["v1", "v2"][(deploys - 1) % 2];
    for it in list {
        assert_eq!((&it["version"], &it["health"]), (&version.into(), &"healthy".into()), "{it:#}");
    }
    let runs = lab.json(&["run", "list"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(deploys), "nothing was rolled back: {runs:#}");
    let agents = lab.json(&["agent", "list"]);
    let refused = agents["agents"][0]["refused"].clone();
    assert!(
        refused["frames"].as_u64().is_some_and(|frames| frames > 0),
        "its refusals are counted: {agents:#}"
    );
    assert_eq!(agents["agents"][0]["state"], "connected", "{agents:#}");
}
