//! Machines that come and go: what is shown of them, what hosts that join get, what becomes of those that leave, and that
//! nothing is rolled back for those that are away.

mod away;
mod draining;
mod evidence;
mod joining;
mod leaving;
mod trust;

use std::path::PathBuf;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, signal};
use trimaran_e2e::web::starts;

/// The installation on the prod target.
fn prod(lab: &Lab) -> Value {
    let status = lab.json(&["status", "web"]);
    let list = status["installations"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|it| it["environment"] == "prod").expect("prod has an installation")
}

/// Its counts: `desired`, `ready` and `lost`.
fn counts(lab: &Lab) -> [u64; 3] {
    let it = prod(lab);
    ["desired", "ready", "lost"].map(|name| it[name].as_u64().expect("a number"))
}

/// Applies the target of prod with these settings of its hosts.
fn apply_prod(lab: &Lab, settings: &str) {
    let text = format!(
        "trimaran: v1\ntarget: lab-prod\nagent: lab\nclass: prod\nhosts: {{ select: {{ group: prod }}, {settings} }}\n"
    );
    std::fs::write(lab.folder.path().join("lab-prod.yaml"), text).expect("a file");
    lab.ok(&["apply", "lab-prod.yaml"]);
}

/// Kills a host with everything on it, as a loss of power does.
fn power_off(lab: &Lab, name: &str) {
    let services: Vec<u32> = starts(lab).iter().filter(|it| it.host == name).map(|it| it.pid).collect();
    lab.kill(name);
    for pid in services {
        signal(pid, "KILL");
    }
}

/// The last process of a version on a host.
fn process(lab: &Lab, host: &str, version: &str) -> u32 {
    let all = starts(lab);
    let mut found = all.iter().rev().filter(|it| it.host == host && it.version == version);
    found.next().expect("it was started").pid
}

fn runs(lab: &Lab) -> usize {
    lab.json(&["run", "list"])["runs"].as_array().map_or(0, Vec::len)
}

/// A file with a token that `runner enroll` made.
fn token(lab: &Lab, name: &str, arguments: &[&str]) -> PathBuf {
    let made = lab.json(&[&["runner", "enroll"], arguments].concat());
    let path = lab.folder.path().join(format!("{name}.token"));
    std::fs::write(&path, made["token"].as_str().expect("a token")).expect("a file");
    path
}
