//! Faults in the middle of a deploy: an agent that dies at each of its steps, and an API server that can't be reached.

use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, is_alive};
use trimaran_test_env::kubernetes::{Cluster, Cut};
use trimaran_test_support::wait::until;

use crate::shop::{Shape, Shop, printed};

/// Starts a run and returns its name.
fn detached(shop: &Shop<'_>, artifact: &str) -> String {
    shop.write_environment(artifact);
    let file = format!("{}.yaml", shop.name());
    let run = shop.lab.json(&["deploy", "-f", &file, "--artifact", artifact, "--detach"]);
    run["run"].as_str().expect("a run has a name").to_owned()
}

/// All of them are tried where there is time.
fn is_full() -> bool {
    std::env::var_os("TRIMARAN_FULL").is_some()
}

/// The agent dies at its first failpoint, then at a later one, and so on, until one of its processes ends the run; how
/// often it died.
fn die_at_each_step(shop: &Shop<'_>, run: &str) -> usize {
    let ended = || !shop.lab.show(run)["finished_at"].is_null();
    let points = (1..).step_by(if is_full() { 1 } else { 5 });
    for (deaths, point) in points.enumerate() {
        let environment = [("TRIMARAN_FAILPOINT".to_owned(), point.to_string())];
        let agent = shop.lab.start_part_in("lab", &[], &environment);
        let died = until("the agent dies or the run ends", Duration::from_secs(90), || {
            if is_alive(agent) { ended().then_some(false) } else { Some(true) }
        });
        if !died {
            return deaths;
        }
    }
    unreachable!("there is a last step")
}

/// All uids of what the release consists of: a second creation would be another one.
fn uids(shop: &Shop<'_>) -> Vec<String> {
    let objects = shop.cluster.list("deployments,services,replicasets", &shop.namespace);
    let mut uids: Vec<String> = objects.iter().map(|it| it["metadata"]["uid"].to_string()).collect();
    uids.sort();
    uids
}

#[test]
fn an_agent_that_dies_at_each_step_of_a_deploy_and_of_its_rollback_does_nothing_twice() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "killed", &Shape { stability: "1s", ..Shape::default() });
    let deployed = shop.deploy(&shop.version("v1", &[]));
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    shop.wait_installation("v1", "healthy");
    let (serving, objects) = (shop.serving(), shop.objects());
    let generation =
        || shop.cluster.list("deployments", &shop.namespace)[0]["metadata"]["generation"].clone();
    let before = generation().as_u64().expect("a number");
    shop.configure("two", "text");
    let bad = shop.version("v2", &["CRASH=0s"]);
    lab.kill("lab");
    let run = detached(&shop, &bad);
    let deaths = die_at_each_step(&shop, &run);
    let expected = if is_full() { 20 } else { 4 };
    assert!(deaths > expected, "{deaths} times it died: a deploy and its rollback have more than ten calls");
    assert_eq!(lab.show(&run)["status"], "rolled_back", "{:#}", lab.show(&run));
    shop.wait_installation("v1", "healthy");
    assert_eq!((shop.serving(), shop.objects()), (serving, objects));
    assert_eq!(generation().as_u64(), Some(before + 2), "one change there and one back");
    assert_eq!(uids(&shop).len(), 4, "a Deployment, a Service, and a ReplicaSet for each version");
}

#[test]
fn an_api_server_that_is_cut_off_is_unknown_and_the_deploy_ends_when_it_is_back() {
    let lab = Lab::fresh(1);
    // Others would be cut off with it.
    let cluster = Cluster::start();
    let shop = Shop::new(&lab, &cluster, "away", &Shape { stability: "5s", bake: "10m" });
    let deployed = shop.deploy(&shop.version("v1", &[]));
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    shop.wait_installation("v1", "healthy");
    let cut = cluster.cut(Cut::Both);
    let blind = until("the cluster is not seen", Duration::from_secs(60), || {
        let it = shop.installation();
        it["blind_since"].is_string().then_some(it)
    });
    assert_eq!(blind["health"], "unknown", "{blind:#}");
    drop(cut);
    shop.wait_installation("v1", "healthy");
    let v2 = shop.version("v2", &["READY=3s"]);
    let run = detached(&shop, &v2);
    let has_begun = |shown: &Value| {
        let instances = shown["stages"][0]["instances"].as_array().into_iter().flatten();
        instances.clone().any(|it| it["status"] == "updating").then_some(())
    };
    lab.wait_run(&run, "a pod of v2 starts", Duration::from_secs(60), has_begun);
    let cut = cluster.cut(Cut::Both);
    lab.wait_run(&run, "the cluster is not seen", Duration::from_secs(60), |shown| {
        let mut reasons = shown["stages"][0]["reasons"].as_array().into_iter().flatten();
        reasons.any(|it| it["code"] == "api_unavailable").then_some(())
    });
    assert!(lab.show(&run)["finished_at"].is_null(), "silence is neither success nor failure");
    drop(cut);
    let shown = lab.wait_finished(&run, Duration::from_secs(90));
    assert_eq!(shown["status"], "succeeded", "{shown:#}");
    shop.wait_installation("v2", "healthy");
    let runs = lab.json(&["run", "list"]);
    assert_eq!(runs["runs"].as_array().map(Vec::len), Some(2), "nothing went back: {runs:#}");
}
