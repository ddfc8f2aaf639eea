//! Hosts that leave a target: what `on_leave` says becomes of their services, until they are removed.

use std::time::Duration;

use trimaran_e2e::lab::{Lab, is_alive};
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

use super::{apply_prod, counts, process, prod, runs};

/// Whether `status` lists a host as one that left and still runs something.
fn is_orphan(lab: &Lab, host: &str) -> bool {
    lab.ok(&["why", "web"]).contains(&format!("{host}: it does not belong to the target"))
}

/// Removes a host: its runner is refused and ends.
fn remove(lab: &Lab, host: &str) {
    let part = lab.part(host);
    lab.ok(&["runner", "remove", host, "--yes"]);
    until("the runner is refused", Duration::from_secs(30), || (!is_alive(part.pid?)).then_some(()));
    let log = std::fs::read_to_string(part.data_dir.join("log")).expect("a log");
    assert!(log.contains("revoked"), "{log}");
    let list = lab.json(&["runner", "list"]);
    let names: Vec<&str> =
        list["runners"].as_array().expect("a list").iter().filter_map(|it| it["name"].as_str()).collect();
    assert!(!names.contains(&host), "{names:?}");
}

#[test]
fn a_host_that_leaves_keeps_its_services_where_its_target_says_so_also_when_it_was_drained_and_removed() {
    let lab = Lab::fresh(6);
    apply_prod(&lab, "on_leave: keep");
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let [relabeled, drained] = ["host-5", "host-6"].map(|host| process(&lab, host, "v1"));
    lab.ok(&["runner", "label", "host-5", "group=other"]);
    lab.ok(&["runner", "drain", "host-6", "--yes"]);
    until("both are listed", Duration::from_secs(30), || {
        (counts(&lab) == [2, 2, 0] && is_orphan(&lab, "host-5") && is_orphan(&lab, "host-6")).then_some(())
    });
    web.deploy_until(&lab, "v2", "succeeded");
    assert!(is_alive(relabeled) && is_alive(drained), "they are left alone");

    remove(&lab, "host-6");
    until("it is forgotten", Duration::from_secs(30), || (!is_orphan(&lab, "host-6")).then_some(()));
    lab.ok(&["runner", "label", "host-5", "group=prod"]);
    until("the other one is back and catches up", Duration::from_secs(60), || {
        let it = prod(&lab);
        (it["members"] == 3 && it["updated"] == 3 && it["ready"] == 3).then_some(())
    });
    assert!(is_alive(process(&lab, "host-5", "v2")) && !is_alive(relabeled));
    assert!(is_alive(drained), "a host that is removed keeps what it runs");
    assert_eq!(runs(&lab), 2, "no run did any of it");
}

#[test]
fn a_host_that_leaves_ends_its_services_where_its_target_says_so_and_a_cordon_alone_ends_none() {
    let lab = Lab::fresh(7);
    apply_prod(&lab, "on_leave: stop");
    let web = Web::new(&lab, Shape::default(), &[("v1", "good"), ("v2", "good")]);
    web.deploy_until(&lab, "v1", "succeeded");
    let [cordoned, relabeled, drained] = ["host-5", "host-6", "host-7"].map(|host| process(&lab, host, "v1"));
    lab.ok(&["runner", "cordon", "host-5", "--yes"]);
    lab.ok(&["runner", "label", "host-6", "group=other"]);
    lab.ok(&["runner", "drain", "host-7", "--yes"]);
    until("services of those that left have ended", Duration::from_secs(30), || {
        (!is_alive(relabeled) && !is_alive(drained)).then_some(())
    });
    until("the host with a service is listed alone", Duration::from_secs(30), || {
        let named = ["host-5", "host-6", "host-7"].map(|host| is_orphan(&lab, host));
        (counts(&lab) == [2, 2, 0] && named == [true, false, false]).then_some(())
    });
    remove(&lab, "host-7");
    web.deploy_until(&lab, "v2", "succeeded");
    assert!(is_alive(cordoned), "a cordon leaves services alone");
    lab.ok(&["runner", "uncordon", "host-5"]);
    lab.ok(&["runner", "label", "host-6", "group=prod"]);
    until("both are back and catch up", Duration::from_secs(60), || {
        let it = prod(&lab);
        (it["members"] == 4 && it["updated"] == 4 && it["ready"] == 4).then_some(())
    });
    assert!(["host-5", "host-6"].iter().all(|host| is_alive(process(&lab, host, "v2"))));
    assert_eq!(runs(&lab), 2, "no run did any of it");
}
