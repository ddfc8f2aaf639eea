//! One agent with hosts and another platform: what hangs there delays nothing here.

use std::time::Duration;

use trimaran_e2e::hung::HungCluster;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web};
use trimaran_test_support::wait::until;

#[test]
fn a_platform_that_hangs_delays_no_deploy_no_verdict_and_no_lease_of_the_agents_hosts() {
    let lab = Lab::fresh(3);
    let shape = Shape { bake: "1h", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good"), ("v2", "healthy-for 15000")]);
    let jobs = HungCluster::start().give_jobs(&lab, 8);
    web.deploy_until(&lab, "v1", "succeeded");
    let run = web.deploy(&lab, "v2");
    // It is healthy for long enough to be deployed, and not for its bake: the verdict of the hosts goes back.
    until("the bake fails and goes back", Duration::from_secs(90), || {
        let runs = lab.json(&["run", "list", "web"]);
        let caused = |it: &&serde_json::Value| it["caused_by"] == run.as_str() && it["status"] == "succeeded";
        runs["runs"].as_array().expect("a list").iter().find(caused).map(drop)
    });
    for job in &jobs {
        assert_eq!(lab.show(job)["status"], "running", "its order is live, and its platform hangs");
    }
    let agents = lab.json(&["agent", "list"]);
    assert_eq!(agents["agents"][0]["state"], "connected", "{agents:#}");
}
