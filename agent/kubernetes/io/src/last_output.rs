//! What a process printed before it ended, beside the verdict that it ended.

use std::time::Duration;

use trimaran_kubernetes_driver::{EndedContainer, Instance, InstanceState, Observation};
use trimaran_model::reason::ReasonCode;
use trimaran_model::text::cut;
use trimaran_model::verdict::Verdict;

use crate::place::Place;
use crate::request::{JSON, Method, encoded, send_for_text};

/// Of the last process.
const LINES: u32 = 5;
const BYTES_MAX: usize = 600;
/// A verdict does not wait longer for its decoration.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Outputs that are remembered.
const KNOWN_MAX: usize = 256;

/// Verdicts that are explained by what a process printed.
const EXPLAINED: &[ReasonCode] = &[
    ReasonCode::CrashLoop,
    ReasonCode::StartError,
    ReasonCode::OomKilled,
    ReasonCode::ProbeKill,
    ReasonCode::JobFailed,
];

impl Place {
    /// Adds the last lines of the first pod that fails to it, and to the verdict of its workload.
    pub(crate) async fn add_last_output(&self, observation: &mut Observation) {
        let fails = |instance: &&mut Instance| {
            instance.state == InstanceState::Failing && instance.is_current != Some(false)
        };
        let Some(instance) = observation.instances.iter_mut().find(fails) else { return };
        let Some(ended) = instance.ended.clone() else { return };
        let Some(output) = self.last_output(&instance.name, ended).await else { return };
        instance.message = format!("{}; its last output: {output}", instance.message);
        let explained = observation.objects.iter_mut().filter(|object| {
            object.verdict == Verdict::Degraded
                && object.reason.is_some_and(|reason| EXPLAINED.contains(&reason))
                && object.message.contains(instance.name.as_str())
        });
        for object in explained {
            object.message = format!("{}; its last output: {output}", object.message);
        }
    }

    async fn last_output(&self, pod: &str, ended: EndedContainer) -> Option<String> {
        let key = (pod.to_owned(), ended);
        if let Some(known) = self.outputs.lock().get(&key) {
            return Some(known.clone()).filter(|known| !known.is_empty());
        }
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/log?container={}&tailLines={LINES}&previous={}",
            encoded(&self.namespace),
            encoded(pod),
            encoded(&key.1.name),
            key.1.is_previous,
        );
        let cluster = self.route.cluster().await.ok()?;
        let asked = send_for_text(cluster.link.client(), Method::GET, &path, JSON, Vec::new());
        let text = tokio::time::timeout(TIMEOUT, asked).await.ok()?.ok()?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let output = cut(lines.join(" | "), BYTES_MAX);
        let mut known = self.outputs.lock();
        while known.len() >= KNOWN_MAX {
            known.pop_first();
        }
        known.insert(key, output.clone());
        Some(output).filter(|output| !output.is_empty())
    }
}
