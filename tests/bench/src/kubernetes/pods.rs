//! A watch of the pods of a namespace that neither tool knows of: what each showed, and when that was received.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_test_env::kubernetes::Cluster;
use trimaran_test_support::wait::until;

use super::service::REPLICAS;

const WAIT_MAX: Duration = Duration::from_secs(60);

/// Every state of every pod, in the order in which they came.
type Seen = Arc<Mutex<Vec<(Instant, Value)>>>;

pub(super) struct PodWatch {
    kubectl: Child,
    reader: Option<JoinHandle<()>>,
    seen: Seen,
}

impl PodWatch {
    pub(super) fn start(cluster: &Cluster, namespace: &str) -> Self {
        let words = ["get", "pods", "--namespace", namespace, "--watch", "--output", "json"];
        let mut kubectl = cluster.start_kubectl(&words);
        let output = kubectl.stdout.take().expect("it is piped");
        let seen = Seen::default();
        let into = seen.clone();
        let reader = std::thread::spawn(move || {
            let documents =
                serde_json::Deserializer::from_reader(BufReader::new(output)).into_iter::<Value>();
            for document in documents.map_while(Result::ok) {
                let at = Instant::now();
                let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
                match document["items"].as_array() {
                    Some(items) => seen.extend(items.iter().map(|item| (at, item.clone()))),
                    None => seen.push((at, document)),
                }
            }
        });
        Self { kubectl, reader: Some(reader), seen }
    }

    /// Waits until `when` finds a moment in what was seen of the pods.
    pub(super) fn wait(&self, what: &str, when: impl Fn(&[(Instant, Value)]) -> Option<Instant>) -> Instant {
        until(what, WAIT_MAX, || self.when(&when))
    }

    pub(super) fn when(&self, when: impl Fn(&[(Instant, Value)]) -> Option<Instant>) -> Option<Instant> {
        when(&self.seen.lock().expect("the reader does not panic"))
    }
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        // It may have ended with its cluster.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// When the last pod of a version became ready.
pub(super) fn last_ready(seen: &[(Instant, Value)], version: &str) -> Option<Instant> {
    let mut ready: Vec<(&str, Instant)> = Vec::new();
    for (at, pod) in seen.iter().filter(|(_, pod)| version_of(pod) == version && is_ready(pod)) {
        if !ready.iter().any(|(name, _)| *name == name_of(pod)) {
            ready.push((name_of(pod), *at));
        }
    }
    (ready.len() >= REPLICAS).then(|| ready.iter().map(|(_, at)| *at).max()).flatten()
}

/// When a version alone served: all of its pods were ready, and each pod of another one was being deleted.
pub(super) fn alone(seen: &[(Instant, Value)], version: &str) -> Option<Instant> {
    moments(seen).find_map(|(at, pods)| {
        let ready = pods.iter().filter(|pod| version_of(pod) == version && is_ready(pod)).count();
        let is_left =
            |pod: &&Value| version_of(pod) != version && pod["metadata"]["deletionTimestamp"].is_null();
        (ready >= REPLICAS && !pods.iter().any(is_left)).then_some(at)
    })
}

/// When, after `since`, as many pods of a version as there should be were ready.
pub(super) fn all_serve(seen: &[(Instant, Value)], version: &str, since: Instant) -> Option<Instant> {
    let serve = |pods: &[&Value]| {
        pods.iter().filter(|pod| version_of(pod) == version && is_ready(pod)).count() >= REPLICAS
    };
    let mut served = false;
    for (at, pods) in moments(seen) {
        let serves = serve(&pods);
        if at > since && (served || serves) {
            return Some(if served { since } else { at });
        }
        served = serves;
    }
    // Nothing has changed since then.
    served.then_some(since)
}

/// When the pods of a version showed at first what `shows` asks for.
pub(super) fn first_shown(
    seen: &[(Instant, Value)],
    version: &str,
    shows: impl Fn(&[&Value]) -> bool,
) -> Option<Instant> {
    moments(seen).find_map(|(at, mut pods)| {
        pods.retain(|pod| version_of(pod) == version);
        (!pods.is_empty() && shows(&pods)).then_some(at)
    })
}

/// The pods as they were after each change.
fn moments(seen: &[(Instant, Value)]) -> impl Iterator<Item = (Instant, Vec<&Value>)> {
    let mut latest = BTreeMap::new();
    seen.iter().map(move |(at, pod)| {
        latest.insert(name_of(pod), pod);
        (*at, latest.values().copied().collect())
    })
}

fn name_of(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap_or_default()
}

/// Of the first variable of the first container.
fn version_of(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["env"][0]["value"].as_str().unwrap_or_default()
}

fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.any(|it| it["type"] == "Ready" && it["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, version: &str, ready: bool) -> Value {
        let status = if ready { "True" } else { "False" };
        json!({"metadata": {"name": name}, "spec": {"containers": [{"env": [{"name": "VERSION", "value": version}]}]},
               "status": {"conditions": [{"type": "Ready", "status": status}]}})
    }

    #[test]
    fn moments_are_found_in_what_was_seen() {
        let began = Instant::now();
        let at = |second: u64| began + Duration::from_secs(second);
        let mut seen: Vec<(Instant, Value)> =
            (0..REPLICAS).map(|n| (at(1), pod(&n.to_string(), "1", true))).collect();
        seen.push((at(2), pod("0", "1", false)));
        seen.push((at(3), pod("new", "2", false)));
        seen.push((at(5), pod("0", "1", true)));
        seen.push((at(6), pod("new", "2", true)));
        assert_eq!(last_ready(&seen, "1"), Some(at(1)));
        assert_eq!(last_ready(&seen, "2"), None, "not all of them were ready");
        assert_eq!(all_serve(&seen, "1", at(2)), Some(at(5)));
        assert_eq!(all_serve(&seen, "1", at(6)), Some(at(6)), "they serve already");
        assert_eq!(all_serve(&seen, "2", at(2)), None);
        assert_eq!(first_shown(&seen, "2", |pods| pods.len() == 1), Some(at(3)));
        assert_eq!(first_shown(&seen, "3", |_| true), None);
        assert_eq!(alone(&seen, "1"), Some(at(1)));
        seen.extend((0..REPLICAS).map(|n| (at(7), pod(&format!("next-{n}"), "4", true))));
        assert_eq!(alone(&seen, "4"), None, "earlier ones are there");
        for (_, mut pod) in seen.clone() {
            if version_of(&pod) != "4" {
                pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
                seen.push((at(8), pod));
            }
        }
        assert_eq!(alone(&seen, "4"), Some(at(8)));
    }
}
