//! What one coordinator alone knows is shown by each: live progress, and what an agent says of its target.

use serde_json::Value;
use trimaran_e2e::lab::Lab;
use trimaran_e2e::web::{Shape, Web};

use super::{coordinators, refused_plan, wait_whole};

fn events(lab: &Lab, address: &str, run: &str) -> Vec<Value> {
    let watched = lab.run(&["--endpoint", address, "watch", run, "-o", "jsonl"]);
    let lines = String::from_utf8(watched.stdout).expect("UTF-8");
    lines.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[test]
fn live_progress_reaches_those_who_watch_at_any_coordinator() {
    let lab = Lab::fresh_with(3, 6);
    let shape = Shape { min_healthy: "2s", ..Shape::default() };
    let web = Web::new(&lab, shape, &[("v1", "good")]);
    wait_whole(&lab);
    let run = web.deploy(&lab, "v1");
    let (lab, run) = (&lab, &run);
    std::thread::scope(|scope| {
        let watch = |address: String| scope.spawn(move || events(lab, &address, run));
        let watchers: Vec<_> = coordinators(lab).into_iter().map(watch).collect();
        for watcher in watchers {
            let seen = watcher.join().expect("it ends");
            let live =
                seen.iter().filter(|event| event["event"] == "instances" && event["position"].is_null());
            assert!(live.count() > 0, "{seen:#?}");
            assert!(seen.iter().any(|event| event["status"] == "succeeded"), "{seen:#?}");
        }
    });
}

#[test]
fn the_agent_of_a_target_is_asked_through_any_coordinator() {
    let lab = Lab::fresh_with(3, 3);
    wait_whole(&lab);
    let write = |name: &str, text: &str| std::fs::write(lab.folder.path().join(name), text).expect("a file");
    write(
        "target.yaml",
        "trimaran: v1\ntarget: tokyo\nagent: lab\nclass: prod\nkubernetes: { namespace: shop, kubeconfig: /nowhere/kubeconfig }\n",
    );
    lab.ok(&["apply", "target.yaml"]);
    write(
        "shop.yaml",
        "\
trimaran: v1
pipeline: shop
owner: team-shop
artifacts:
  app: { image: \"registry.corp/shop/web\" }
workload:
  kubernetes:
    manifests: manifests.yaml
    images: { web: app }
environments:
  - name: prod
    targets: [tokyo]
",
    );
    write(
        "manifests.yaml",
        "\
apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: registry.corp/shop/web }] }
",
    );
    let artifact = format!("app=1@sha256:{}", "ab".repeat(32));
    for address in coordinators(&lab) {
        let plan =
            refused_plan(&lab, &["--endpoint", &address, "plan", "-f", "shop.yaml", "--artifact", &artifact]);
        let missing = plan["differences"][0]["missing"].as_str().unwrap_or_default();
        assert!(missing.contains("/nowhere/kubeconfig"), "the agent's own words: {plan:#}");
    }
}
