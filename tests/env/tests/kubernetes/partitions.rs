//! Two clusters side by side, and one of them cut off.

use std::time::{Duration, Instant};

use trimaran_test_env::kubernetes::{Cluster, Cut};

/// What a request of 2 s comes to: `None` when it was not answered in time.
fn nodes(cluster: &Cluster) -> Option<String> {
    let began = Instant::now();
    let output = cluster.try_kubectl(&["get", "nodes", "--output", "name", "--request-timeout=2s"], "");
    if output.status.success() {
        return Some(String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !said.contains("refused") && !said.contains("unreachable"),
        "a dead link does not answer: {said}"
    );
    assert!(began.elapsed() >= Duration::from_millis(1500), "it hangs and does not fail at once: {said}");
    None
}

#[test]
fn a_cluster_is_cut_off_both_ways_and_one_way_while_the_other_one_answers() {
    let (first, second) = (Cluster::start(), Cluster::start());
    let (here, there) = (nodes(&first).expect("it answers"), nodes(&second).expect("it answers"));
    assert_ne!(here, there, "two clusters are two");
    for cut in [Cut::Both, Cut::In, Cut::Out] {
        let partition = first.cut(cut);
        assert_eq!(nodes(&first), None, "{cut:?}");
        assert_eq!(nodes(&second).as_ref(), Some(&there), "{cut:?}");
        drop(partition);
        assert_eq!(nodes(&first).as_ref(), Some(&here), "healed after {cut:?}");
    }
}
