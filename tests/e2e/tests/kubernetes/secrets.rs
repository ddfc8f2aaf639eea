//! A Secret of a release: its value reaches the pods, and nothing else on the way.

use std::path::Path;

use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;

use crate::shop::{Shape, Shop, printed, write};

const MARKER: &str = "marker-6f1d2c-not-to-be-found";
/// The marker as an API server writes it.
const ENCODED: &str = "bWFya2VyLTZmMWQyYy1ub3QtdG8tYmUtZm91bmQ=";

/// The files below a folder that hold a text, as it is or as base64.
fn files_with_marker(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_with_marker(&path, found);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        if holds(MARKER) || holds(ENCODED) {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn the_value_of_a_secret_is_in_the_cluster_and_nowhere_else() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "sealed", &Shape::default());
    shop.add_environment("PASSWORD", "secretKeyRef", "db", "password");
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: db }}\nstringData: {{ password: {MARKER} }}\n"
    );
    write(&lab, "sealed/secret.yaml", &secret);
    let artifact = shop.version("v1", &[]);
    let mut outputs = vec![printed(&lab.run(&["plan", "-f", "sealed.yaml", "--artifact", &artifact]))];
    let deployed = shop.deploy(&artifact);
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    outputs.push(printed(&deployed));
    for command in [
        &["run", "show", "sealed", "-o", "json"][..],
        &["status", "-o", "json"],
        &["why", "sealed"],
        &["logs", "sealed"],
        &["audit", "list", "-o", "json"],
        &["plan", "-f", "sealed.yaml", "--artifact", &artifact, "-o", "json"],
    ] {
        outputs.push(printed(&lab.run(command)));
    }
    let secrets = cluster.list("secrets", &shop.namespace);
    let applied: Vec<_> = secrets.iter().filter(|it| it["data"]["password"] == ENCODED).collect();
    assert_eq!(applied.len(), 1, "the cluster has the value: {:?}", shop.objects());
    std::fs::remove_file(lab.folder.path().join("sealed/secret.yaml")).expect("the user's own file");
    let mut found = Vec::new();
    files_with_marker(lab.folder.path(), &mut found);
    assert_eq!(found, Vec::<String>::new(), "files that hold it");
    for output in outputs {
        assert!(!output.contains(MARKER) && !output.contains(ENCODED), "{output}");
    }
}
