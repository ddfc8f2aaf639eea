//! Bad versions: how soon each is named, beside kubectl, and how soon the pods of the version before serve again.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pods::{PodWatch, all_serve, first_shown};
use super::service::{Ended, Ours, PROGRESS_DEADLINE, Theirs, Version};
use crate::report::{Report, ends, percentile, time};

const NAMED_MAX: Duration = Duration::from_secs(120);
/// For the version that fails after it was ready.
const STABILITY: Duration = Duration::from_secs(20);

/// Whether one of these pods shows what dooms the rollout.
type HasEvidence = fn(&[&Value]) -> bool;

/// A version that goes wrong.
struct Bad {
    what: &'static str,
    version: Version,
    stability: Duration,
    /// Whether the new pods show what no waiting would change, and how long it has to stay so.
    evidence: Option<(HasEvidence, Duration)>,
}

pub(super) fn run(report: &mut Report, ours: &Ours<'_>, theirs: &Theirs<'_>, pods: [&PodWatch; 2]) {
    let good = Version::good("good");
    ours.deploy(&good, Duration::ZERO).events.stage("succeeded", NAMED_MAX);
    theirs.deploy(&good);
    let (mut own, mut other) = (Vec::new(), Vec::new());
    for bad in all() {
        let ended = theirs.deploy(&bad.version);
        let undone = theirs.undo();
        other.push(back(pods[1], undone.began));
        own.push(named(report, &bad, ours, pods[0], &ended));
    }
    for times in [&mut own, &mut other] {
        times.sort_unstable();
    }
    report.add(
        "Kubernetes: an automatic rollback, from its begin until all old pods serve",
        time(percentile(&own, 50)),
        format!(
            "p50 of {}, {}; {} from a human's `kubectl rollout undo`, {}",
            own.len(),
            ends(&own),
            time(percentile(&other, 50)),
            ends(&other)
        ),
    );
}

/// Deploys a bad version with Trimaran; from the begin of its rollback until the old pods serve.
fn named(report: &mut Report, bad: &Bad, ours: &Ours<'_>, pods: &PodWatch, kubectl: &Ended) -> Duration {
    let begun = ours.deploy(&bad.version, bad.stability);
    let (at, event) = begun.events.stage("rolling_back", NAMED_MAX);
    let reason = &event["reasons"][0];
    let shown = bad.evidence.and_then(|(shows, grace)| {
        pods.when(|seen| first_shown(seen, &bad.version.name, shows)).map(|shown| (shown, grace))
    });
    let late = match shown {
        Some((shown, grace)) => format!(
            "{} after the pods showed it for {} s, bar 1 s",
            time(at.saturating_duration_since(shown + grace)),
            grace.as_secs()
        ),
        None => "no pod shows more before".to_owned(),
    };
    let took = time(kubectl.at.duration_since(kubectl.began));
    let said = if kubectl.output.status.success() { "as a success" } else { "without a cause" };
    report.add(
        format!("Kubernetes: `{}` named", bad.what),
        time(at.duration_since(begun.at)),
        format!(
            "as `{}`; {late}; kubectl ends after {took} {said}, with `progressDeadlineSeconds: {}` (default 600)",
            reason["code"].as_str().unwrap_or("nothing"),
            PROGRESS_DEADLINE.as_secs()
        ),
    );
    begun.events.stage("rolled_back", NAMED_MAX);
    back(pods, at)
}

fn back(pods: &PodWatch, since: Instant) -> Duration {
    let at = pods.wait("the old pods serve", |seen| all_serve(seen, "good", since));
    at.duration_since(since)
}

fn all() -> Vec<Bad> {
    let environment = |what, environment, evidence| Bad {
        what,
        version: Version { environment, ..Version::good(&what.replace(' ', "-")) },
        stability: Duration::ZERO,
        evidence,
    };
    let container = |what, container, evidence| Bad {
        what,
        version: Version { container, ..Version::good(&what.replace(' ', "-")) },
        stability: Duration::ZERO,
        evidence: Some(evidence),
    };
    // By all new pods, and then two looks that are so far apart.
    let ended_twice: (fn(&[&Value]) -> bool, Duration) = (ended_twice, Duration::from_secs(3));
    let key = json!({"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "kube-root-ca.crt", "key": "absent"}}});
    vec![
        Bad {
            what: "image that is not there",
            version: Version { image_is_absent: true, ..Version::good("absent") },
            stability: Duration::ZERO,
            evidence: Some((|pods| any(pods, &["ErrImagePull", "ImagePullBackOff"]), Duration::ZERO)),
        },
        container(
            "key that its ConfigMap has not",
            json!({"env": [key]}),
            (|pods| any(pods, &["CreateContainerConfigError"]), Duration::from_secs(5)),
        ),
        container(
            "command that is not there",
            json!({"command": ["/absent"]}),
            (|pods| any(pods, &["RunContainerError", "StartError"]), Duration::ZERO),
        ),
        environment("crash", &[("CRASH", "0s")], Some(ended_twice)),
        environment("file of its configuration is not there", &[("CONFIG", "/absent")], Some(ended_twice)),
        Bad {
            version: Version {
                environment: &[("LEAK", "64")],
                container: json!({"resources": {"limits": {"memory": "32Mi"}}}),
                ..Version::good("leak")
            },
            ..environment("out of memory", &[], Some(ended_twice))
        },
        environment("never ready", &[("READY", "never")], None),
        Bad { stability: STABILITY, ..environment("crash when it was ready", &[("CRASH", "5s")], None) },
    ]
}

/// Whether a container of a pod is, or ended, for one of these reasons.
fn any(pods: &[&Value], reasons: &[&str]) -> bool {
    let is = |reason: &Value| reason.as_str().is_some_and(|reason| reasons.contains(&reason));
    pods.iter().map(|pod| &pod["status"]["containerStatuses"][0]).any(|container| {
        let (now, before) = (&container["state"], &container["lastState"]);
        is(&now["waiting"]["reason"])
            || is(&now["terminated"]["reason"])
            || is(&before["terminated"]["reason"])
    })
}

fn ended_twice(pods: &[&Value]) -> bool {
    pods.iter().map(|pod| &pod["status"]["containerStatuses"][0]).all(|container| {
        let state = &container["state"];
        let is_down = state["terminated"].is_object() || state["waiting"]["reason"] == "CrashLoopBackOff";
        container["restartCount"].as_u64().is_some_and(|count| count >= 1) && is_down
    })
}
