//! What counts against a release, and what is named and counts for nothing.

use std::time::{Duration, Instant};

use trimaran_e2e::lab::{Lab, signal};
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

use super::{process, prod, runs};

#[test]
fn a_crash_in_a_bake_and_a_host_that_left_are_named_and_more_crashes_than_the_budget_go_back_at_once() {
    // Two in staging, six in prod, of which one leaves.
    let lab = Lab::fresh(9);
    lab.ok(&["runner", "label", "host-3", "group=prod"]);
    let shape = Shape { bake: "5m", prod_unavailable: "3", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    lab.ok(&["runner", "label", "host-9", "group=other"]);
    web.deploy_until(&lab, "v2", "succeeded");
    until("the host that left is named", Duration::from_secs(20), || {
        lab.ok(&["why", "web#2"]).contains("host-9: it does not belong to the target").then_some(())
    });
    // The release before, on a host that left; and one crash of this one, which its restart policy fixes.
    signal(process(&lab, "host-9", "v1"), "KILL");
    signal(process(&lab, "host-4", "v2"), "KILL");
    until("the crash is counted", Duration::from_secs(20), || {
        let why = lab.ok(&["why", "web#2"]);
        (why.contains("a process ended once") && why.contains("host-4")).then_some(())
    });
    std::thread::sleep(Duration::from_secs(4));
    let after = prod(&lab);
    assert_eq!((&after["version"], &after["health"]), (&"v2".into(), &"healthy".into()), "{after:#}");
    assert_eq!(runs(&lab), 2, "nothing was rolled back");
    assert!(lab.ok(&["status", "web"]).contains("host-9"), "the orphan is named");

    // No crash is allowed, and one that is fixed at once is a warning: the second at the same time is one too many, also
    // while the orphan serves well.
    for host in ["host-5", "host-6", "host-7"] {
        signal(process(&lab, host, "v2"), "KILL");
    }
    let killed = Instant::now();
    until("it goes back", Duration::from_secs(10), || (runs(&lab) == 3).then_some(()));
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(1), "it went back after {took:?}");
    let list = lab.json(&["run", "list"]);
    assert_eq!(list["runs"][0]["caused_by"], "web#2", "{list:#}");
    lab.wait_status("web#3", "succeeded", Duration::from_secs(60));
    assert_eq!(prod(&lab)["version"], "v1");
}
