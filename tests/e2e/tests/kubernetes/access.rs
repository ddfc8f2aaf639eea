//! A target that does not lead into its cluster is found at plan, with the field and the remedy; a cluster that is silent
//! is not held against it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::wait::until;

use crate::shop::{Shape, Shop, printed, write};

/// Plans until the answer of the target has this code and all of these words. What is refused is exit 6 with TR2213, for
/// people too; silence is none.
fn answered(shop: &Shop<'_>, artifact: &str, exit: i32, code: &str, words: &[&str]) {
    let name = shop.name();
    let file = format!("{name}.yaml");
    let command = ["plan", "-f", &file, "--artifact", artifact];
    until(&format!("the plan says {code} and {words:?}"), Duration::from_secs(30), || {
        let planned = shop.lab.run(&[&command[..], &["-o", "json"]].concat());
        let plan: Value = serde_json::from_slice(&planned.stdout).expect("the plan is a document");
        let difference = &plan["differences"][0];
        eprintln!("exit {:?}: {difference}", planned.status.code());
        let says = difference["missing"].as_str().unwrap_or_default();
        let is_whole = planned.status.code() == Some(exit) && difference["code"] == code;
        (is_whole && words.iter().all(|word| says.contains(word))).then_some(())
    });
    let planned = shop.lab.run(&command);
    assert_eq!(planned.status.code(), Some(exit), "{}", printed(&planned));
    assert_eq!(printed(&planned).contains("TR2213"), exit == 6, "{}", printed(&planned));
}

/// The file, with one value in place of another.
fn changed(kubeconfig: &Path, pointer: &str, value: &str) -> String {
    let text = std::fs::read_to_string(kubeconfig).expect("a file");
    let mut config: Value = serde_json::from_str(&text).expect("it was written as JSON");
    *config.pointer_mut(pointer).expect("it has this") = json!(value);
    config.to_string()
}

#[test]
fn a_kubeconfig_that_is_missing_expired_or_of_another_cluster_is_found_at_plan() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "access", &Shape::default());
    shop.write_plain_workload();
    let artifact = shop.version("v1", &[]);
    let deployed = shop.deploy(&artifact);
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    let kubeconfig: PathBuf = lab.folder.path().join("access.kubeconfig");
    let good = std::fs::read_to_string(&kubeconfig).expect("a file");
    let of_another = std::fs::read(lab.part("c1").data_dir.join("identity/ca.pem")).expect("a certificate");
    let of_another = base64::engine::general_purpose::STANDARD.encode(of_another);
    let cases = [
        ("/users/0/user/token", "expired", "does not accept this agent's credentials"),
        ("/clusters/0/cluster/certificate-authority-data", of_another.as_str(), "certificate"),
    ];
    let field = ["target access", "field `kubernetes.kubeconfig`", "access.kubeconfig", "write a kubeconfig"];
    for (pointer, value, says) in cases {
        std::fs::write(&kubeconfig, changed(&kubeconfig, pointer, value)).expect("a file");
        answered(&shop, &artifact, 6, "permission_denied", &[&field[..], &[says]].concat());
        std::fs::write(&kubeconfig, &good).expect("a file");
    }
    std::fs::remove_file(&kubeconfig).expect("a file");
    answered(&shop, &artifact, 6, "permission_denied", &field);
    std::fs::write(&kubeconfig, &good).expect("a file");
    // Nothing listens there.
    let silent = changed(&kubeconfig, "/clusters/0/cluster/server", "https://127.0.0.1:9");
    std::fs::write(&kubeconfig, silent).expect("a file");
    answered(&shop, &artifact, 0, "api_unavailable", &["does not answer"]);
    std::fs::write(&kubeconfig, &good).expect("a file");
    cluster.kubectl(&["delete", "deployment", "web", "--namespace", &shop.namespace]);
    let words =
        ["none of the 1 objects", &shop.namespace, "Deployment/web", "another cluster", "deploy to make"];
    answered(&shop, &artifact, 6, "missing", &words);
    let again = shop.deploy(&artifact);
    assert_eq!(again.status.code(), Some(0), "{}", printed(&again));
}

/// The uid of a namespace.
fn uid(cluster: &Cluster, namespace: &str) -> String {
    let path = "jsonpath={.metadata.uid}";
    cluster.kubectl(&["get", "namespace", namespace, "--output", path])
}

#[test]
fn credentials_of_another_cluster_are_found_at_plan_and_before_anything_is_written() {
    let lab = Lab::fresh(1);
    let (cluster, other) = (Cluster::start(), Cluster::start());
    let shop = Shop::new(&lab, &cluster, "moved", &Shape::default());
    let artifact = shop.version("v1", &[]);
    let deployed = shop.deploy(&artifact);
    assert_eq!(deployed.status.code(), Some(0), "{}", printed(&deployed));
    // The same names and rights there.
    let namespace = other.namespace("moved");
    let rights = lab.ok(&["target", "rbac", "moved"]);
    let applied = other.try_kubectl(&["apply", "-f", "-"], &rights);
    assert!(applied.status.success(), "{}", printed(&applied));
    let kubeconfig = lab.folder.path().join("moved.kubeconfig");
    let good = std::fs::read_to_string(&kubeconfig).expect("a file");
    other.account_kubeconfig(&namespace, "trimaran-moved", &kubeconfig);
    let (here, there) = (uid(&cluster, "kube-system"), uid(&other, "kube-system"));
    let words = ["target moved", "kubernetes.kubeconfig", &here, &there, "credentials of that cluster"];
    answered(&shop, &artifact, 6, "permission_denied", &words);
    shop.configure("two", "text");
    let run = lab.json(&["deploy", "-f", "moved.yaml", "--artifact", &artifact, "--detach"]);
    let run = run["run"].as_str().expect("a run has a name");
    lab.wait_run(run, "the stage waits", Duration::from_secs(60), |shown| {
        let mut reasons = shown["stages"][0]["reasons"].as_array().into_iter().flatten();
        let says = |it: &Value, word: &str| it["message"].as_str().unwrap_or_default().contains(word);
        reasons.any(|it| says(it, &here) && says(it, &there)).then_some(())
    });
    let written = other.list("deployments,services,pods,secrets", &namespace);
    assert!(written.is_empty(), "nothing was written there: {written:#?}");
    std::fs::write(&kubeconfig, good).expect("a file");
    lab.ok(&["resume", run]);
    let shown = lab.wait_finished(run, Duration::from_secs(90));
    assert_eq!(shown["status"], "succeeded", "{shown:#}");
}

#[test]
fn a_secret_that_can_not_be_sealed_names_the_kubeconfig() {
    let lab = Lab::fresh(1);
    let cluster = Cluster::shared();
    let shop = Shop::new(&lab, &cluster, "unsealed", &Shape::default());
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: { name: db }\nstringData: { password: x }\n";
    write(&lab, "unsealed/secret.yaml", secret);
    std::fs::remove_file(lab.folder.path().join("unsealed.kubeconfig")).expect("a file");
    let artifact = shop.version("v1", &[]);
    let planned = lab.run(&["plan", "-f", "unsealed.yaml", "--artifact", &artifact, "-o", "json"]);
    assert_eq!(planned.status.code(), Some(6), "{}", printed(&planned));
    let error: Value = serde_json::from_slice(&planned.stderr).expect("the error is a document");
    let text = error["error"].to_string();
    for word in ["target unsealed", "kubernetes.kubeconfig", "unsealed.kubeconfig", "write a kubeconfig"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("start the agents"), "the agent runs: {text}");
}
