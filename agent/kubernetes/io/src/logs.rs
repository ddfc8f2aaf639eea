//! Output of pods, as the cluster keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use trimaran_agent_core::platform::{Part, PartSink, PlatformError};
use trimaran_kubernetes_driver::Marks;
use trimaran_model::id::{Digest, InstanceName};
use trimaran_model::reason::ReasonCode;
use trimaran_wire::v1::runner::{LogLine, LogLines, LogQuery};

use crate::place::Place;
use crate::request::{JSON, Method, RequestError, encoded, send_for_text};
use crate::versions::uid_of;

/// Kinds whose pods belong to an installation.
const OWNERS: [(&str, &str); 6] = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
];
/// Of one container at most: more than this is for a log store.
const CONTAINER_BYTES_MAX: usize = 4 << 20;
/// Lines of one part of an answer, and their bytes.
const BATCH_LINES: usize = 500;
const BATCH_BYTES: usize = 128 << 10;
/// How often lines that came are looked for.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);
/// Owners above a pod.
const OWNERS_MAX: usize = 4;

/// Which lines of a container were sent, by pod and container.
type Sent = BTreeMap<(String, String), i64>;

/// A pod of the installation.
struct LogPod {
    name: String,
    containers: Vec<String>,
    /// What runs there, where its owner says so.
    release: Option<Digest>,
}

impl Place {
    /// Sends the lines of an installation's pods.
    pub(crate) async fn logs(
        &self,
        instances: &[InstanceName],
        previous: bool,
        query: &LogQuery,
        answer: impl PartSink,
    ) -> Result<(), PlatformError> {
        let mut sent = Sent::new();
        loop {
            let pods = self.log_pods(query).await.map_err(|error| unavailable(&error))?;
            for pod in pods.iter().filter(|pod| is_meant(instances, &pod.name)) {
                for container in &pod.containers {
                    let lines = self.lines(pod, container, previous, query, &mut sent).await;
                    for batch in batches(&pod.name, lines) {
                        if answer.put(Part::Logs(batch)).await.is_err() {
                            return Ok(());
                        }
                    }
                }
            }
            if !query.follow || previous {
                return Ok(());
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }

    /// The pods below objects of the installation, of its release where one is asked for.
    async fn log_pods(&self, query: &LogQuery) -> Result<Vec<LogPod>, RequestError> {
        let mut owners = BTreeMap::new();
        for (version, kind) in OWNERS {
            for object in self.list(version, kind).await? {
                owners.insert(uid_of(&object).to_owned(), object);
            }
        }
        let installation = format!("{}/{}", query.pipeline, query.target);
        let wanted = query.release.map(Digest);
        let pods = self.list("v1", "Pod").await?;
        let found = pods.iter().filter_map(|pod| {
            let marks = marks_above(pod, &owners);
            if !marks.iter().any(|marks| marks.installation.as_ref() == Some(&installation)) {
                return None;
            }
            // A ReplicaSet has the annotations that its Deployment had when it was current.
            let release = marks.iter().find_map(|marks| marks.release);
            let is_other = wanted.is_some() && release.is_some() && release != wanted;
            let name = pod.pointer("/metadata/name")?.as_str()?.to_owned();
            (!is_other).then(|| LogPod { name, containers: containers(pod), release })
        });
        Ok(found.collect())
    }

    async fn lines(
        &self,
        pod: &LogPod,
        container: &str,
        previous: bool,
        query: &LogQuery,
        sent: &mut Sent,
    ) -> Result<Vec<LogLine>, String> {
        let key = (pod.name.clone(), container.to_owned());
        let known = sent.get(&key).copied();
        let mut path = format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&timestamps=true&limitBytes={CONTAINER_BYTES_MAX}",
            encoded(&self.namespace),
            encoded(&pod.name),
            encoded(container),
        );
        if previous {
            path.push_str("&previous=true");
        }
        let since = known.map(|nanos| nanos / 1_000_000).or(query.since_ms);
        let since = since.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        if let Some(since) = since {
            path.push_str(&format!("&sinceTime={}", encoded(&since.to_string())));
        }
        if let (Some(tail), None) = (query.tail, known) {
            path.push_str(&format!("&tailLines={tail}"));
        }
        let cluster = self.route.cluster().await.map_err(|error| error.to_string())?;
        let text = match send_for_text(cluster.link.client(), Method::GET, &path, JSON, Vec::new()).await {
            Ok(text) => text,
            // A container that has not begun, or one without a process before, has no lines.
            Err(error) if error.code() == Some(400) => return Ok(Vec::new()),
            Err(error) if error.code() == Some(404) => return Ok(Vec::new()),
            Err(error) => return Err(error.message()),
        };
        let mut lines = Vec::new();
        for line in String::from_utf8_lossy(&text).lines() {
            let Some((nanos, words)) = stamped(line) else { continue };
            if known.is_some_and(|known| nanos <= known) {
                continue;
            }
            sent.insert(key.clone(), nanos);
            let line =
                if pod.containers.len() > 1 { format!("{container}: {words}") } else { words.to_owned() };
            let release = pod.release.map(|digest| digest.0);
            // The cluster keeps both streams as one.
            lines.push(LogLine { at_ms: nanos / 1_000_000, stderr: false, release, line });
        }
        Ok(lines)
    }
}

/// The time of a line in nanoseconds, and its words.
fn stamped(line: &str) -> Option<(i64, &str)> {
    let (time, words) = line.split_once(' ').unwrap_or((line, ""));
    let at: jiff::Timestamp = time.parse().ok()?;
    Some((i64::try_from(at.as_nanosecond()).ok()?, words))
}

fn unavailable(error: &RequestError) -> PlatformError {
    let code = match error.code() {
        Some(401 | 403) => ReasonCode::PermissionDenied,
        _ => ReasonCode::ApiUnavailable,
    };
    PlatformError { code, message: error.message() }
}

fn is_meant(instances: &[InstanceName], pod: &str) -> bool {
    instances.is_empty() || instances.iter().any(|instance| pod.ends_with(instance.as_str()))
}

/// The marks of the objects above a pod, nearest first.
fn marks_above(pod: &Value, owners: &BTreeMap<String, Value>) -> Vec<Marks> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut object = pod;
    while let Some(uid) = object.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str) {
        let Some(owner) = owners.get(uid) else { break };
        if !seen.insert(uid) || seen.len() > OWNERS_MAX {
            break;
        }
        found.push(Marks::of(owner));
        object = owner;
    }
    if found.is_empty() { vec![Marks::of(pod)] } else { found }
}

fn containers(pod: &Value) -> Vec<String> {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let all = lists.iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
    all.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
}

/// The lines of one container in parts that fit a frame.
fn batches(pod: &str, lines: Result<Vec<LogLine>, String>) -> Vec<LogLines> {
    let host = pod.to_owned();
    let lines = match lines {
        Ok(lines) => lines,
        Err(missing) => return vec![LogLines { host, lines: Vec::new(), missing: Some(missing) }],
    };
    let mut batches = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for line in lines {
        bytes += line.line.len();
        batch.push(line);
        if batch.len() >= BATCH_LINES || bytes >= BATCH_BYTES {
            batches.push(LogLines { host: host.clone(), lines: std::mem::take(&mut batch), missing: None });
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        batches.push(LogLines { host, lines: batch, missing: None });
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_have_their_time() {
        let (nanos, words) = stamped("2026-01-01T00:00:00.000000001Z hello there").expect("a line");
        assert_eq!((nanos % 1_000, words), (1, "hello there"));
        assert_eq!(stamped("2026-01-01T00:00:00Z").map(|(_, words)| words), Some(""));
        assert_eq!(stamped("unable to retrieve container logs"), None);
    }

    #[test]
    fn a_pod_is_of_the_installation_that_its_owners_carry() {
        let annotated = |owner: &str, release: u8| {
            json!({"metadata": {"ownerReferences": [{"uid": owner}], "annotations": {
                "trimaran.dev/installation": "web/tokyo", "trimaran.dev/release": Digest([release; 32]).to_string()}}})
        };
        let owners = BTreeMap::from([
            ("set".to_owned(), annotated("deployment", 1)),
            ("deployment".to_owned(), annotated("", 2)),
        ]);
        let pod = json!({"metadata": {"ownerReferences": [{"uid": "set"}]}});
        let marks = marks_above(&pod, &owners);
        assert_eq!(marks.len(), 2);
        assert_eq!(marks[0].release, Some(Digest([1; 32])), "the nearest says what runs");
        assert_eq!(marks[0].installation.as_deref(), Some("web/tokyo"));
    }
}
