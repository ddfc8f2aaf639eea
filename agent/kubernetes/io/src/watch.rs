//! What is there of one release, shown at first and with each change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_kubernetes_driver::{Moment, ObjectKey, Observation, ObservedObject, Observer, Pods, Query};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::{Fault, Verdict};
use trimaran_process::clock::{boot_time, system_wall};

use crate::evidence::{Evidence, Gathered};
use crate::informer::Problem;
use crate::pace::Pace;
use crate::place::Place;

/// Silence and events are looked for at least so often.
pub(crate) const OBSERVE_INTERVAL: Millis = Millis::seconds(5);
/// As long as something is not healthy.
pub(crate) const CHANGING_INTERVAL: Millis = Millis::seconds(1);
/// A watch that lags behind for so long is overtaken by a read.
const LAG_MAX: Millis = Millis::seconds(1);
/// A watch that shows nothing for so long after its begin is blind.
pub(crate) const BEGIN_MAX: Millis = Millis::seconds(15);
/// Between two tries to begin.
const RETRY_DELAY: Duration = Duration::from_secs(2);

/// What became of an attempt to observe.
pub(crate) enum Attempt {
    Seen(Observation),
    /// Watches are on their way.
    NotYet,
}

/// What the watches know at a moment.
enum Known {
    /// Nothing, since then.
    Blind(Timestamp),
    /// Not all that is needed.
    NotAll,
    /// Of these objects an older state than calls were answered.
    Stale(Vec<ObjectKey>),
    Current(Gathered),
}

/// Watches that were begun.
pub(crate) struct Watches {
    evidence: Evidence,
    began: Timestamp,
}

/// The changes that the watches show.
pub(crate) struct Changes {
    count: tokio::sync::watch::Receiver<u64>,
    pace: Pace,
}

impl Changes {
    fn of(watches: &Watches) -> Self {
        Self { count: watches.evidence.cluster.link.changes(), pace: Pace::new(Instant::now()) }
    }

    /// What was shown until now is about to be judged.
    pub(crate) fn mark_seen(&mut self) {
        self.count.borrow_and_update();
    }

    /// Ends when something has changed that may be judged, and at the latest after this time.
    pub(crate) async fn next(&mut self, wait: Millis) {
        let changed = tokio::time::timeout(Duration::from_millis(wait.0), self.count.changed()).await;
        if changed.is_ok() {
            tokio::time::sleep(self.pace.delay(Instant::now())).await;
        }
    }
}

impl Place {
    /// Begins the watches of a query, or joins them; tells meanwhile since when it can't.
    pub(crate) async fn begin_watches(
        &self,
        observer: &Observer,
        blinded: impl Fn(Timestamp),
    ) -> (Watches, Changes) {
        let began = boot_time();
        loop {
            let begun = match self.route.cluster().await {
                Ok(cluster) => Evidence::of(cluster, observer.query.keys.clone()).await,
                Err(error) => Err(error),
            };
            match begun {
                Ok(evidence) => {
                    let watches = Watches { evidence, began };
                    let changes = Changes::of(&watches);
                    return (watches, changes);
                }
                Err(error) => {
                    tracing::debug!(%error, "a watch can't begin");
                    blinded(began);
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Whether the credentials of the target lead elsewhere now. While there are none, what was begun goes on.
    pub(crate) async fn has_moved(&self, watches: &Watches) -> bool {
        let cluster = self.route.cluster().await;
        cluster.is_ok_and(|cluster| !Arc::ptr_eq(&cluster, &watches.evidence.cluster))
    }

    /// Shows the objects of a query until it is dropped.
    pub(crate) async fn follow(&self, query: Query, show: impl Fn(Observation)) {
        let observer = Observer { query, rules: self.rules.clone() };
        let blinded = |since| show(blind(since));
        let (mut watches, mut changes) = self.begin_watches(&observer, blinded).await;
        let mut shown: Option<Observation> = None;
        let mut lagging: Option<Timestamp> = None;
        loop {
            if self.has_moved(&watches).await {
                (watches, changes) = self.begin_watches(&observer, blinded).await;
            }
            changes.mark_seen();
            // That something is good does not wait for the reasons why it was not.
            let attempt = tokio::select! {
                attempt = self.attempt(&watches, &observer, &mut lagging) => attempt,
                observation = self.next_healthy(&watches, &observer, &mut changes) => Attempt::Seen(observation),
            };
            let mut wait = if lagging.is_some() { LAG_MAX } else { OBSERVE_INTERVAL };
            if let Attempt::Seen(observation) = attempt {
                if !is_healthy(&observation) {
                    wait = CHANGING_INTERVAL;
                }
                if let Some(check) = observation.next_check {
                    wait = wait.min((check - boot_time()).max(Millis(10)));
                }
                if shown.as_ref().is_none_or(|shown| !is_same(shown, &observation)) {
                    show(observation.clone());
                    shown = Some(observation);
                }
            }
            changes.next(wait).await;
        }
    }

    /// Judges what there is, with the reasons where it is not good.
    pub(crate) async fn attempt(
        &self,
        watches: &Watches,
        observer: &Observer,
        lagging: &mut Option<Timestamp>,
    ) -> Attempt {
        let Watches { evidence, began } = watches;
        let now = boot_time();
        let gathered = match self.known(watches, observer, now) {
            Known::Blind(since) => return Attempt::Seen(blind(since)),
            Known::NotAll => {
                return match evidence.problem() {
                    Some(problem) if problem.is_forbidden => {
                        Attempt::Seen(self.forbidden(observer, &problem))
                    }
                    _ if now >= *began + BEGIN_MAX => Attempt::Seen(blind(*began)),
                    _ => Attempt::NotYet,
                };
            }
            Known::Stale(keys) => {
                if now >= *lagging.get_or_insert(now) + LAG_MAX {
                    self.catch_up(evidence, &keys).await;
                    *lagging = None;
                }
                return Attempt::NotYet;
            }
            Known::Current(gathered) => gathered,
        };
        *lagging = None;
        let observation = observe(observer, &gathered.documents, now);
        if is_healthy(&observation) {
            return Attempt::Seen(observation);
        }
        let Gathered { mut documents, uids } = gathered;
        documents.extend(self.events_about(evidence, &uids).await);
        let mut observation = observe(observer, &documents, now);
        self.add_last_output(&mut observation).await;
        Attempt::Seen(observation)
    }

    /// The next state that is healthy.
    async fn next_healthy(
        &self,
        watches: &Watches,
        observer: &Observer,
        changes: &mut Changes,
    ) -> Observation {
        // Changes that are judged here alone still count as unseen for the caller.
        let mut count = changes.count.clone();
        loop {
            if count.changed().await.is_err() {
                return std::future::pending().await;
            }
            tokio::time::sleep(changes.pace.delay(Instant::now())).await;
            count.borrow_and_update();
            let now = boot_time();
            if let Known::Current(gathered) = self.known(watches, observer, now) {
                let observation = observe(observer, &gathered.documents, now);
                if is_healthy(&observation) {
                    return observation;
                }
            }
        }
    }

    fn known(&self, watches: &Watches, observer: &Observer, now: Timestamp) -> Known {
        let evidence = &watches.evidence;
        if let Some(since) = self.route.lost_since(now).or_else(|| evidence.cluster.link.silent_since(now)) {
            return Known::Blind(since);
        }
        let Some(gathered) = evidence.gather() else { return Known::NotAll };
        let stale = self.stale(evidence, observer);
        if stale.is_empty() { Known::Current(gathered) } else { Known::Stale(stale) }
    }

    /// What the cluster reports about objects with these uids.
    async fn events_about(&self, evidence: &Evidence, uids: &BTreeSet<String>) -> Vec<Arc<Value>> {
        let mut about = Vec::new();
        for namespace in evidence.namespaces() {
            let events = self.events(namespace).of(&evidence.cluster.link, namespace).await;
            about.extend(events.into_iter().filter(|event| {
                let uid = event.pointer("/involvedObject/uid").and_then(Value::as_str);
                uid.is_some_and(|uid| uids.contains(uid))
            }));
        }
        about
    }

    /// Objects of which the watches show an older state than calls were answered.
    fn stale(&self, evidence: &Evidence, observer: &Observer) -> Vec<ObjectKey> {
        let is_stale = |key: &&ObjectKey| {
            let shown = evidence.informer(key).and_then(|informer| informer.get(key));
            self.floors.is_stale(key, shown.as_deref())
        };
        observer.query.keys.iter().filter(is_stale).cloned().collect()
    }

    /// Reads what watches did not show in time.
    async fn catch_up(&self, evidence: &Evidence, keys: &[ObjectKey]) {
        for key in keys {
            let Ok(Some(served)) = self.served(key).await else { continue };
            match self.get(&served, key).await {
                Ok(Some(document)) => {
                    if let Some(informer) = evidence.informer(key) {
                        informer.put(document);
                    }
                }
                Ok(None) => self.floors.remove(key),
                Err(error) => tracing::debug!(%key, %error, "an object could not be read"),
            }
        }
    }

    /// A kind that this agent may not watch: nothing is known of the objects, and why.
    fn forbidden(&self, observer: &Observer, problem: &Problem) -> Observation {
        let object = |key: &ObjectKey| {
            let floor = self.floors.get(key);
            ObservedObject {
                key: key.clone(),
                uid: Some(floor.as_ref().map(|it| it.uid.clone()).unwrap_or_default()),
                generation: 0,
                marks: floor.map(|it| it.marks).unwrap_or_default(),
                verdict: Verdict::Unknown,
                reason: Some(ReasonCode::PermissionDenied),
                message: problem.message.clone(),
                fault: Some(Fault::Platform),
                pods: Pods::default(),
                stuck: None,
                fields: None,
                edits: Vec::new(),
            }
        };
        let objects = observer.query.keys.iter().map(object).collect();
        Observation { blind_since: None, objects, instances: Vec::new(), next_check: None }
    }
}

fn observe(observer: &Observer, documents: &[Arc<Value>], now: Timestamp) -> Observation {
    let documents: Vec<&Value> = documents.iter().map(|it| &**it).collect();
    observer.observe(&documents, Moment { now, wall: system_wall(), since: None })
}

fn blind(since: Timestamp) -> Observation {
    Observation { blind_since: Some(since), objects: Vec::new(), instances: Vec::new(), next_check: None }
}

fn is_healthy(observation: &Observation) -> bool {
    observation.blind_since.is_none()
        && observation.objects.iter().all(|object| match object.verdict {
            Verdict::Healthy => true,
            // Nothing that could be seen later would say more.
            Verdict::Unknown => object.reason == Some(ReasonCode::NoRule),
            Verdict::Progressing | Verdict::Degraded | Verdict::Suspended | Verdict::Missing => false,
        })
}

/// The next check moves with every look; it alone is no news.
fn is_same(one: &Observation, other: &Observation) -> bool {
    one.blind_since == other.blind_since
        && one.objects == other.objects
        && one.instances == other.instances
        && one.next_check.is_some() == other.next_check.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trimaran_model::id::{InstallationId, PipelineName, TargetName};

    use super::*;
    use crate::fake::Fake;

    fn pod(ready: &str, version: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "namespace": "shop", "uid": "p-1", "resourceVersion": version},
            "spec": {"containers": [{"name": "web"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    /// One pod that is not ready; requests for its events are never answered.
    fn answer(request: &str) -> Option<(u16, Value)> {
        if request.ends_with(" /api/v1") {
            let pods = json!({"name": "pods", "kind": "Pod", "namespaced": true});
            return Some((200, json!({"resources": [pods]})));
        }
        let list = |items: &[Value]| json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "5"}, "items": items});
        let is_silent = request.contains("watch=true") || request.contains("/events");
        (!is_silent).then(|| (200, list(&[pod("False", "3")])))
    }

    #[tokio::test]
    async fn what_has_become_healthy_does_not_wait_for_the_events_of_before() {
        let server = Fake::start(answer).await;
        let route = server.route("tokyo", "t", &Arc::default());
        let place = Place::new(TargetName::new("tokyo").expect("a name"), "shop".to_owned(), route);
        let key = ObjectKey::of(&pod("False", "3")).expect("a key");
        let installation = InstallationId {
            pipeline: PipelineName::new("web").expect("a name"),
            target: TargetName::new("tokyo").expect("a name"),
        };
        let query = Query { installation, keys: [key.clone()].into() };
        let (sender, mut shown) = tokio::sync::mpsc::unbounded_channel();
        let follow = place.follow(query, |observation| sender.send(observation).expect("it is read"));
        let change = async {
            while server.count(|asked| asked.contains("/events")) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let cluster = place.route.cluster().await.expect("the kubeconfig is good");
            let evidence = Evidence::of(cluster.clone(), [key.clone()].into()).await.expect("it answers");
            evidence.informer(&key).expect("pods are watched").put(pod("True", "7"));
            cluster.link.changed();
            shown.recv().await.expect("it goes on")
        };
        let first = tokio::select! {
            () = follow => unreachable!("it ends when it is dropped"),
            first = tokio::time::timeout(Duration::from_secs(20), change) => first.expect("something is shown"),
        };
        assert_eq!(first.objects[0].verdict, Verdict::Healthy, "{first:?}");
    }
}
