//! `cargo xtask test`: all tests of the workspace, as `cargo test --workspace --all-targets` plays them, but with more
//! threads for suites whose tests wait most of their time.
//!
//! By default there are as many threads as processors. Tests of real processes wait for health windows, leases and
//! deadlines instead, and with two threads they leave two processors idle. Suites are named by cargo's own metadata, so that none is
//! forgotten.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Suites of processes that wait, and the number of their threads.
const WAITING: [(&str, &str); 1] = [("system", "4")];

/// Plays all suites, also behind one that fails; `arguments` go to each cargo.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let all = suites(&metadata(root)?);
    let mut failed = Vec::new();
    let is_waiting = |name: &str| WAITING.iter().any(|(waiting, _)| *waiting == name);
    let others: Vec<&str> = all.iter().map(String::as_str).filter(|name| !is_waiting(name)).collect();
    let mut first = vec!["--lib", "--bins"];
    first.extend(others.iter().flat_map(|name| ["--test", name]));
    if !test(root, &first, arguments, &[])? {
        failed.push("the suites above".to_owned());
    }
    for (name, threads) in WAITING {
        if !all.contains(name) {
            return Err(format!("no suite is called `{name}`: ops/xtask/src/suites.rs names it"));
        }
        if !test(root, &["--test", name], arguments, &["--", "--test-threads", threads])? {
            failed.push(format!("suite `{name}`"));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

/// Whether all of these targets passed.
fn test(root: &Path, targets: &[&str], arguments: &[String], more: &[&str]) -> Result<bool, String> {
    let mut cargo = cargo(root);
    cargo
        .args(["test", "--locked", "--workspace", "--no-fail-fast"])
        .args(arguments)
        .args(targets)
        .args(more);
    let status = cargo.status().map_err(|error| format!("cargo could not be started: {error}"))?;
    Ok(status.success())
}

fn metadata(root: &Path) -> Result<Value, String> {
    let asked = cargo(root).args(["metadata", "--locked", "--no-deps", "--format-version", "1"]).output();
    let asked = asked.map_err(|error| format!("cargo could not be started: {error}"))?;
    if !asked.status.success() {
        return Err(String::from_utf8_lossy(&asked.stderr).into_owned());
    }
    serde_json::from_slice(&asked.stdout).map_err(|error| format!("cargo's metadata: {error}"))
}

/// The names of all test targets.
fn suites(metadata: &Value) -> BTreeSet<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let targets = list(&metadata["packages"]).into_iter().flat_map(|package| list(&package["targets"]));
    let tests = targets.filter(|target| list(&target["kind"]).iter().any(|kind| kind == "test"));
    tests.filter_map(|target| target["name"].as_str().map(str::to_owned)).collect()
}

fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.current_dir(root);
    cargo
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::suites;

    #[test]
    fn suites_are_all_test_targets_of_all_packages() {
        let target = |kind: &str, name: &str| json!({"kind": [kind], "name": name});
        let metadata = json!({"packages": [
            {"targets": [target("lib", "core"), target("test", "real")]},
            {"targets": [target("bin", "program"), target("test", "system"), target("test", "real")]},
        ]});
        assert_eq!(suites(&metadata).into_iter().collect::<Vec<_>>(), ["real", "system"]);
    }
}
