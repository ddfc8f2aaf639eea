//! Who may know whom (the design's section 3): direct dependencies of each crate, read from `cargo metadata`,
//! and what the whole graph must not have.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Crates that decide and do no I/O: no tokio, clock, randomness, files or sockets.
const CORES: &[&str] = &[
    "trimaran-model",
    "trimaran-spec",
    "trimaran-wire",
    "trimaran-engine",
    "trimaran-replica",
    "trimaran-executor",
    "trimaran-host-core",
    "trimaran-kubernetes-core",
];

/// What no core may link directly.
const IMPURE: &[&str] =
    &["tokio", "rand", "getrandom", "quinn", "reqwest", "rocksdb", "libc", "rustix", "tempfile"];

/// `(dependency, the only crates that may name it)`.
const ONLY: &[(&str, &[&str])] = &[
    ("bincode", &["trimaran-wire"]),
    ("quinn", &["trimaran-transport"]),
    ("quinn-proto", &["trimaran-transport"]),
    ("rustls", &["trimaran-transport", "trimaran-host"]),
    ("raft", &["trimaran-replica"]),
    ("raft-proto", &["trimaran-replica"]),
    ("protobuf", &["trimaran-replica"]),
    ("rocksdb", &["trimaran-store"]),
];

/// Our crates and which of ours they may depend on.
const ALLOWED: &[(&str, &[&str])] = &[
    ("trimaran-model", &[]),
    ("trimaran-spec", &["trimaran-model"]),
    ("trimaran-wire", &["trimaran-model"]),
    ("trimaran-transport", &["trimaran-model", "trimaran-wire"]),
    ("trimaran-engine", &["trimaran-model", "trimaran-wire"]),
    ("trimaran-replica", &["trimaran-model", "trimaran-wire", "trimaran-engine"]),
    ("trimaran-store", &["trimaran-model", "trimaran-wire", "trimaran-engine", "trimaran-replica"]),
    (
        "trimaran-coordinator",
        &[
            "trimaran-model",
            "trimaran-wire",
            "trimaran-transport",
            "trimaran-engine",
            "trimaran-replica",
            "trimaran-store",
            "trimaran-spec",
            "trimaran-host-core",
        ],
    ),
    ("trimaran-executor", &["trimaran-model", "trimaran-wire"]),
    ("trimaran-kubernetes-core", &["trimaran-model"]),
    ("trimaran-host-core", &["trimaran-model", "trimaran-wire", "trimaran-executor"]),
    ("trimaran-host", &["trimaran-model", "trimaran-wire", "trimaran-executor", "trimaran-host-core"]),
    (
        "trimaran-agent",
        &[
            "trimaran-model",
            "trimaran-wire",
            "trimaran-transport",
            "trimaran-executor",
            "trimaran-host-core",
            "trimaran-host",
            "trimaran-spec",
        ],
    ),
    ("trimaran-client", &["trimaran-model", "trimaran-wire", "trimaran-transport"]),
    (
        "trimaran",
        &["trimaran-model", "trimaran-wire", "trimaran-client", "trimaran-spec", "trimaran-kubernetes-core"],
    ),
];

pub(crate) fn check(root: &Path) -> Vec<String> {
    let metadata = metadata(root);
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().expect("cargo metadata lists packages") {
        let name = package["name"].as_str().expect("a package has a name");
        let direct: Vec<&str> = package["dependencies"]
            .as_array()
            .expect("a package has dependencies")
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().expect("a dependency has a name"))
            .collect();
        findings.extend(check_package(name, &direct));
    }
    findings.extend(no_ring(root));
    findings
}

fn check_package(name: &str, direct: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    if CORES.contains(&name) {
        let impure = direct.iter().filter(|dependency| IMPURE.contains(dependency));
        findings
            .extend(impure.map(|dependency| format!("{name} is a core and must not depend on {dependency}")));
    }
    for (dependency, users) in ONLY {
        let is_test = !ALLOWED.iter().any(|(ours, _)| *ours == name);
        if direct.contains(dependency) && !users.contains(&name) && !is_test {
            findings.push(format!("{name} must not depend on {dependency}; only {users:?} may"));
        }
    }
    if let Some((_, allowed)) = ALLOWED.iter().find(|(ours, _)| *ours == name) {
        let ours = direct.iter().filter(|dependency| dependency.starts_with("trimaran"));
        let wrong = ours.filter(|dependency| !allowed.contains(dependency));
        findings.extend(wrong.map(|dependency| format!("{name} must not know {dependency}")));
    }
    findings
}

fn metadata(root: &Path) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

/// One crypto provider: two would make rustls panic at its first use.
fn no_ring(root: &Path) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--workspace",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let ring = text.lines().find(|line| line.starts_with("ring v"));
    ring.map(|line| format!("{line} is in the graph; aws-lc-rs is the one provider")).into_iter().collect()
}
