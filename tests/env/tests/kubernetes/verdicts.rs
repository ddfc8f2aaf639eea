//! Versions of a service that go wrong in different ways, on a real cluster, and what is said of each while it happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_core::judgment::Judgment;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_core::snapshot::Snapshot;
use trimaran_kubernetes_core::verdict::judge;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::wait::until;

/// Objects that a verdict is made from.
const EVIDENCE: &str = "deployments,replicasets,pods,events,nodes";
/// A machine that does other things too needs a multiple of what an idle one does; what is asserted is that nothing
/// waits for a deadline of the rollout, which is 10 minutes.
const SECONDS_MAX: u64 = 90;

/// One version and what has to be said of it.
struct Version {
    name: &'static str,
    expected: (Verdict, Option<ReasonCode>),
    /// Words that the message has to have, so that its reader need not look further.
    says: &'static str,
    container: Value,
}

fn versions(cluster: &Cluster) -> Vec<Version> {
    let good = cluster.service_image();
    let with = |name: &str, value: &str| json!({"image": good, "env": [{"name": name, "value": value}]});
    let key = json!({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "nowhere", "key": "a"}}});
    let limited = json!({"limits": {"memory": "32Mi"}});
    let memory = json!({"image": good, "env": [{"name": "LEAK", "value": "200"}], "resources": limited});
    let healthy = (Verdict::Healthy, None);
    let degraded = |reason| (Verdict::Degraded, Some(reason));
    let not_ready = (Verdict::Progressing, Some(ReasonCode::NotReady));
    let all = [
        ("good", healthy, "", json!({"image": good})),
        ("slow", healthy, "", with("READY", "6s")),
        ("crash", degraded(ReasonCode::CrashLoop), "exit code 1", with("CRASH", "0s")),
        ("absent", degraded(ReasonCode::ImagePull), ":absent", json!({"image": cluster.absent_image()})),
        ("badname", degraded(ReasonCode::ImagePull), "Bad//Name", json!({"image": "Bad//Name"})),
        ("config", degraded(ReasonCode::ConfigError), "nowhere", json!({"image": good, "env": [key]})),
        ("command", degraded(ReasonCode::StartError), "/none", json!({"image": good, "command": ["/none"]})),
        ("memory", degraded(ReasonCode::OomKilled), "", memory),
        ("never", not_ready, "", with("READY", "never")),
    ];
    let version = |(name, expected, says, container)| Version { name, expected, says, container };
    all.into_iter().map(version).collect()
}

fn deployment(version: &Version, namespace: &str) -> Value {
    let mut container = json!({
        "name": "web",
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
    });
    let all = container.as_object_mut().expect("it is an object");
    all.extend(version.container.as_object().expect("it is an object").clone());
    let labels = json!({"app": version.name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": version.name, "namespace": namespace},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            // A cluster without a name service warns about each pod that asks for it.
            "template": {"metadata": {"labels": labels}, "spec": {"dnsPolicy": "Default", "containers": [container]}},
        },
    })
}

fn now() -> WallTime {
    WallTime(jiff::Timestamp::now().as_millisecond())
}

/// What is said of every version at this moment.
fn judgments(cluster: &Cluster, namespace: &str, rules: &RuleSet) -> BTreeMap<String, Judgment> {
    let documents = cluster.list(EVIDENCE, namespace);
    let snapshot = Snapshot::new(&documents);
    let deployments = documents.iter().map(Object::new).filter(|object| object.kind() == "Deployment");
    let judged =
        deployments.map(|object| (object.name().to_owned(), judge(&snapshot, object, rules, now(), None)));
    judged.collect()
}

#[test]
fn each_version_gets_its_verdict_with_the_cause_and_a_good_one_is_never_accused() {
    let cluster = Cluster::shared();
    let namespace = cluster.namespace("verdicts");
    let rules = RuleSet::builtin();
    let versions = versions(&cluster);
    let began = Instant::now();
    versions.iter().for_each(|version| cluster.apply(&deployment(version, &namespace)));
    let mut open: Vec<&Version> = versions.iter().collect();
    until("every version has its verdict", Duration::from_secs(SECONDS_MAX), || {
        let judged = judgments(&cluster, &namespace, &rules);
        for version in &versions {
            let Some(judgment) = judged.get(version.name) else { continue };
            let wrong = match judgment.verdict {
                Verdict::Degraded => (Verdict::Degraded, judgment.reason) != version.expected,
                Verdict::Healthy => version.expected.0 != Verdict::Healthy,
                Verdict::Progressing | Verdict::Suspended | Verdict::Missing | Verdict::Unknown => false,
            };
            assert!(!wrong, "{}: {judgment:?}", version.name);
        }
        open.retain(|version| {
            let judgment = judged.get(version.name);
            let reached = judgment.is_some_and(|judgment| {
                (judgment.verdict, judgment.reason) == version.expected
                    && judgment.message.contains(version.says)
            });
            if reached {
                println!("{:>8} {:>6} ms {judgment:?}", version.name, began.elapsed().as_millis());
            }
            !reached
        });
        open.is_empty().then_some(())
    });
}
