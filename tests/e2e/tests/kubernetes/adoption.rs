//! What kubectl made passes to Trimaran as it is, and what would be refused is found before anything is written.

use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;

use crate::shop::{Shape, Shop, printed, write};

#[test]
fn what_kubectl_made_keeps_its_uid_and_its_pods() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "adopted", &Shape::default());
    let artifact = shop.version("v1", &[]);
    let (_, digest) = artifact.split_once('@').expect("a digest");
    shop.write_plain_workload();
    let manifest = std::fs::read_to_string(lab.folder.path().join("adopted/web.yaml")).expect("a file");
    let pinned = format!("image: {}@{digest}", shop.repository);
    let applied = cluster.try_kubectl(
        &["apply", "--namespace", &shop.namespace, "-f", "-"],
        &manifest.replace("image: web", &pinned),
    );
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    cluster.kubectl(&["rollout", "status", "deployment/web", "--namespace", &shop.namespace]);
    let identity = || {
        let deployments = cluster.list("deployments", &shop.namespace);
        let mut names: Vec<String> = cluster
            .list("pods", &shop.namespace)
            .iter()
            .map(|it| it["metadata"]["uid"].to_string())
            .collect();
        names.sort();
        (deployments[0]["metadata"]["uid"].clone(), names)
    };
    let before = identity();
    let planned = printed(&lab.run(&["plan", "-f", "adopted.yaml", "--artifact", &artifact]));
    assert!(!planned.contains(".spec."), "nothing of it would change: {planned}");
    let deployed = shop.deploy(&artifact);
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    assert_eq!(identity(), before);
    let deployment = cluster.list("deployments", &shop.namespace).remove(0);
    assert_eq!(deployment["metadata"]["annotations"]["trimaran.dev/installation"], "adopted/adopted");
    let text = cluster.kubectl(&[
        "get",
        "deployment",
        "web",
        "--namespace",
        &shop.namespace,
        "--show-managed-fields",
        "--output",
        "json",
    ]);
    assert!(!text.contains("kubectl-client-side-apply"), "its fields are ours: {text}");
}

#[test]
fn a_plan_shows_the_fields_that_change_and_names_what_would_be_refused() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "planned", &Shape::default());
    shop.write_plain_workload();
    let artifact = shop.version("v1", &[]);
    let plan_with = |code: i32| {
        let planned = lab.run(&["plan", "-f", "planned.yaml", "--artifact", &artifact]);
        assert_eq!(planned.status.code(), Some(code), "{}", printed(&planned));
        printed(&planned)
    };
    let plan = || plan_with(0);
    let first = plan();
    assert!(first.contains("+ Deployment/web"), "{first}");
    assert_eq!(shop.objects(), Vec::<String>::new(), "a plan writes nothing");
    let deployed = shop.deploy(&artifact);
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    let path = lab.folder.path().join("planned/web.yaml");
    let text = std::fs::read_to_string(&path).expect("a file");
    write(&lab, "planned/web.yaml", &text.replace("replicas: 2", "replicas: 3"));
    let changed = plan();
    assert!(changed.contains(".spec.replicas: 2 -> 3"), "{changed}");
    write(&lab, "planned/web.yaml", &text.replace("app: web", "app: other"));
    let refused = plan_with(6);
    assert!(refused.contains("Deployment/web") && refused.contains("immutable"), "{refused}");
    write(&lab, "planned/web.yaml", &text.replace("replicas:", "replicsa:"));
    let unknown = plan_with(11);
    assert!(unknown.contains("replicsa"), "{unknown}");
    cluster.kubectl(&["delete", "rolebinding", "trimaran-planned", "--namespace", &shop.namespace]);
    write(&lab, "planned/web.yaml", &text);
    let denied = plan_with(6);
    assert!(denied.contains("may not patch deployments in namespace"), "{denied}");
}
