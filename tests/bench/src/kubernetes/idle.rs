//! What an agent costs while nothing is deployed: its memory, and its requests in a minute as the API server's audit log
//! has them.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use trimaran_e2e::lab::{Lab, resident_bytes};
use trimaran_test_env::kubernetes::Cluster;

use super::many::{Service, deploy_all};
use super::service::{Image, add_target};
use crate::report::Report;

const INSTALLATIONS: usize = 20;
/// The last requests of the deploys are made in it.
const SETTLING: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);

pub(super) fn run(report: &mut Report, cluster: &Cluster) {
    let image = Image::publish(cluster);
    let lab = Lab::fresh(1);
    add_target(&lab, cluster, "idle", "");
    let services: Vec<Service> = (0..INSTALLATIONS).map(|number| Service::new(number, "idle")).collect();
    deploy_all(&lab, &image, &services);
    measure(report, cluster, &lab, "in one target");
    drop(lab);
    let lab = Lab::fresh(1);
    let services: Vec<Service> = (0..INSTALLATIONS)
        .map(|number| {
            let target = format!("idle-{number}");
            add_target(&lab, cluster, &target, "");
            Service::new(number, &target)
        })
        .collect();
    deploy_all(&lab, &image, &services);
    measure(report, cluster, &lab, "each in a target of its own");
}

fn measure(report: &mut Report, cluster: &Cluster, lab: &Lab, where_they_are: &str) {
    std::thread::sleep(SETTLING);
    let before = cluster.audited();
    std::thread::sleep(MINUTE);
    let after = cluster.audited();
    let id = |request: &Value| request["auditID"].as_str().unwrap_or_default().to_owned();
    let known: BTreeSet<String> = before.iter().map(id).collect();
    let requests: BTreeSet<String> = after.iter().map(id).filter(|id| !known.contains(id)).collect();
    let watched = |request: &&Value| request["verb"] == "watch";
    let of = |request: &Value, key: &str| request["objectRef"][key].to_string();
    let watches: BTreeSet<(String, String)> = before
        .iter()
        .filter(watched)
        .map(|request| (of(request, "resource"), of(request, "namespace")))
        .collect();
    let kinds: BTreeSet<&String> = watches.iter().map(|(resource, _)| resource).collect();
    let agent = lab.part("lab").pid.expect("the agent runs");
    report.add(
        format!("Kubernetes: RssAnon of an agent with {INSTALLATIONS} installations {where_they_are}"),
        format!("{:.1} MB", resident_bytes(agent) as f64 / f64::from(1 << 20)),
        format!(
            "bar 60 MiB; {} requests in an idle minute, which is {:.1} for each of {} watched kinds, bar 10",
            requests.len(),
            requests.len() as f64 / kinds.len() as f64,
            kinds.len()
        ),
    );
}
