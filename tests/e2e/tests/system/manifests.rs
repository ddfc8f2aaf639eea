//! Manifests that are published as an artifact, up to the release that names them: what is applied of it is the driver's.

use std::path::Path;

use serde_json::{Value, json};
use trimaran_e2e::artifacts::{ArtifactServer, pack_files, sha256};
use trimaran_e2e::lab::Lab;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: web }\ndata: { text: one }\n";
/// Nothing listens there: a cluster that is silent refuses no plan.
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: shop
contexts: [{ name: shop, context: { cluster: shop, user: shop } }]
clusters: [{ name: shop, cluster: { server: \"https://127.0.0.1:9\" } }]
users: [{ name: shop, user: { token: none } }]
";

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An archive of one version, with its digest.
fn pack(folder: &Path, version: &str, files: &[(&str, &str)]) -> String {
    let path = folder.join(format!("objects-{version}.tar.zst"));
    pack_files(&path, files).expect("an archive");
    sha256(&path).expect("an archive")
}

#[test]
fn manifests_of_an_artifact_are_planned_and_deployed_by_their_version() {
    let lab = Lab::fresh(1);
    let builds = lab.folder.path().join("builds");
    std::fs::create_dir(&builds).expect("a folder");
    let server = ArtifactServer::start(&builds).expect("a server");
    let first = pack(&builds, "v1", &[("./k8s/config.yaml", CONFIG), ("README.md", "no manifest")]);
    let second = pack(&builds, "v2", &[("k8s/config.yaml", &CONFIG.replace("one", "two"))]);
    pack(&builds, "bad", &[("k8s/config.yaml", &CONFIG.replace("metadata", "metadatas"))]);
    let pipeline = format!(
        "trimaran: v1\npipeline: shop\nowner: team-shop\nartifacts: {{ objects: {{ file: \"{}/objects-{{version}}.tar.zst\" }} }}\n\
         workload: {{ kubernetes: {{ manifests: objects }} }}\nenvironments: [{{ name: staging, targets: [shop] }}]\n",
        server.url()
    );
    let kubeconfig = lab.folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, KUBECONFIG).expect("a file");
    let target = format!(
        "trimaran: v1\ntarget: shop\nagent: lab\nclass: staging\nkubernetes: {{ namespace: shop, kubeconfig: \"{}\" }}\n",
        kubeconfig.display()
    );
    std::fs::write(lab.folder.path().join("target.yaml"), target).expect("a file");
    std::fs::write(lab.folder.path().join("shop.yaml"), pipeline).expect("a file");
    // A folder of the name of the artifact is not what is meant.
    std::fs::create_dir(lab.folder.path().join("objects")).expect("a folder");
    lab.ok(&["apply", "target.yaml"]);
    lab.ok(&["lint", "shop.yaml"]);

    let plan =
        |version: &str| lab.json(&["plan", "-f", "shop.yaml", "--artifact", &format!("objects={version}")]);
    let planned = plan("v1");
    let artifact =
        |version: &str, sha256: &str| json!([{"name": "objects", "version": version, "sha256": sha256}]);
    assert_eq!(planned["artifacts"], artifact("v1", &first), "{planned:#}");
    assert_eq!(planned["stages"][0]["to"]["version"], "v1", "{planned:#}");
    assert_eq!(plan("v1")["plan_digest"], planned["plan_digest"]);
    assert_ne!(plan("v2")["plan_digest"], planned["plan_digest"]);

    let named = format!("objects=v2@sha256:{second}");
    let shown: Value = lab.json(&["deploy", "-f", "shop.yaml", "--artifact", &named, "--detach"]);
    assert_eq!(shown["artifacts"], artifact("v2", &second), "{shown:#}");
    assert_eq!(shown["plan_digest"], plan("v2")["plan_digest"]);
    // By its name: the file is the cluster's, and the archive is still found.
    assert_eq!(lab.json(&["plan", "shop", "--artifact", &named])["plan_digest"], shown["plan_digest"]);

    let other = format!("objects=v1@sha256:{second}");
    let refused = |artifact: &str, words: &[&str], code: i32| {
        for command in ["plan", "deploy"] {
            let output = lab.run(&[command, "-f", "shop.yaml", "--artifact", artifact]);
            assert_eq!(output.status.code(), Some(code), "{command}: {}", text(&output));
            for word in words {
                assert!(text(&output).contains(word), "{command}: {} has {word}", text(&output));
            }
        }
    };
    refused(&other, &["objects", &first[..12], &second[..12]], 11);
    refused("objects=bad", &["objects@bad/k8s/config.yaml", "metadatas"], 11);
    refused("objects=v3", &["404"], 5);
}
