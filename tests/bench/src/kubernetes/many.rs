//! Two hundred services that are rolled out at once, of one small pod each.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trimaran_e2e::lab::Lab;
use trimaran_test_env::kubernetes::Cluster;

use super::events::Events;
use super::service::{Image, add_target, pipeline, write};
use crate::report::{Report, time};

const SERVICES: usize = 200;
/// Commands that run side by side.
const COMMANDS: usize = 8;
const ALL_MAX: Duration = Duration::from_secs(900);

pub(super) fn run(report: &mut Report, cluster: &Cluster) {
    let image = Image::publish(cluster);
    let theirs = by_kubectl(cluster, &image);
    let lab = Lab::fresh(1);
    add_target(&lab, cluster, "many", &format!("parallel: {SERVICES}\n"));
    let services: Vec<Service> = (0..SERVICES).map(|number| Service::new(number, "many")).collect();
    let before = cluster.audited().len();
    let ours = deploy_all(&lab, &image, &services);
    let requests = cluster.audited().len() - before;
    report.add(
        format!("Kubernetes: {SERVICES} services of one pod each rolled out at once"),
        time(ours),
        format!(
            "{:.2} x the {} of one `kubectl apply` and `kubectl rollout status`; {:.1} requests a rollout",
            ours.as_secs_f64() / theirs.as_secs_f64(),
            time(theirs),
            requests as f64 / SERVICES as f64
        ),
    );
}

/// A service with a pipeline of its own.
pub(super) struct Service {
    name: String,
    target: String,
}

impl Service {
    pub(super) fn new(number: usize, target: &str) -> Self {
        Self { name: format!("s{number}"), target: target.to_owned() }
    }
}

fn deployment(name: &str, image: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"of": "bench"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"dnsPolicy": "Default", "terminationGracePeriodSeconds": 1,
                     "containers": [{"name": "web", "image": image}]},
        }},
    })
}

/// Deploys all of them at once; from the first command to the end of the last stage.
pub(super) fn deploy_all(lab: &Lab, image: &Image, services: &[Service]) -> Duration {
    for Service { name, target } in services {
        write(lab, &format!("{name}.yaml"), &pipeline(name, target, image, Duration::ZERO));
        write(lab, &format!("{name}/web.json"), &deployment(name, "web").to_string());
    }
    let events = Events::of_all(lab);
    let artifact = format!("app=v1@{}", image.pinned().split_once('@').expect("it has a digest").1);
    let left = Mutex::new(services.iter());
    let began = Instant::now();
    std::thread::scope(|threads| {
        for _ in 0..COMMANDS {
            threads.spawn(|| {
                let next = || left.lock().expect("no panic while the lock is held").next();
                while let Some(Service { name, .. }) = next() {
                    lab.ok(&["deploy", "-f", &format!("{name}.yaml"), "--artifact", &artifact, "--detach"]);
                }
            });
        }
    });
    events.succeeded(services.len(), ALL_MAX).duration_since(began)
}

/// The same with kubectl, whose pods are gone afterwards.
fn by_kubectl(cluster: &Cluster, image: &Image) -> Duration {
    let namespace = cluster.namespace("many-theirs");
    let mut objects = String::new();
    for number in 0..SERVICES {
        let object = deployment(&format!("s{number}"), &image.pinned());
        writeln!(objects, "{object}\n---").expect("memory");
    }
    let in_namespace = ["--namespace", namespace.as_str()];
    let began = Instant::now();
    let applied = cluster.try_kubectl(&[&["apply", "-f", "-"], &in_namespace[..]].concat(), &objects);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let status = ["rollout", "status", "deployment", "--selector", "of=bench"];
    cluster.kubectl(&[&status, &in_namespace[..]].concat());
    let took = began.elapsed();
    cluster.kubectl(&["delete", "namespace", &namespace]);
    took
}
