//! What is there of one release, shown at first and with each change.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use trimaran_kubernetes_driver::{Moment, ObjectKey, Observation, ObservedObject, Observer, Pods, Query};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::{Fault, Verdict};
use trimaran_process::clock::{boot_time, system_wall};

use crate::evidence::Evidence;
use crate::informer::Problem;
use crate::place::Place;

/// Changes come in bursts: what is judged is a moment old at most.
pub(crate) const BURST: Duration = Duration::from_millis(20);
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

/// Watches that were begun.
pub(crate) struct Watches {
    evidence: Evidence,
    began: Timestamp,
    pub(crate) changes: tokio::sync::watch::Receiver<u64>,
}

impl Place {
    /// Begins the watches of a query, or joins them; tells meanwhile since when it can't.
    pub(crate) async fn begin_watches(&self, observer: &Observer, blinded: impl Fn(Timestamp)) -> Watches {
        let began = boot_time();
        loop {
            let begun = match self.route.cluster().await {
                Ok(cluster) => Evidence::of(cluster, observer.query.keys.clone()).await,
                Err(error) => Err(error),
            };
            match begun {
                Ok(evidence) => {
                    let changes = evidence.cluster.link.changes();
                    return Watches { evidence, began, changes };
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
        let mut watches = self.begin_watches(&observer, blinded).await;
        let mut shown: Option<Observation> = None;
        let mut lagging: Option<Timestamp> = None;
        loop {
            if self.has_moved(&watches).await {
                watches = self.begin_watches(&observer, blinded).await;
            }
            watches.changes.borrow_and_update();
            let attempt = self.attempt(&watches, &observer, &mut lagging).await;
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
            let changed =
                tokio::time::timeout(Duration::from_millis(wait.0), watches.changes.changed()).await;
            if changed.is_ok() {
                tokio::time::sleep(BURST).await;
            }
        }
    }

    pub(crate) async fn attempt(
        &self,
        watches: &Watches,
        observer: &Observer,
        lagging: &mut Option<Timestamp>,
    ) -> Attempt {
        let Watches { evidence, began, .. } = watches;
        let link = &evidence.cluster.link;
        let now = boot_time();
        if let Some(since) = self.route.lost_since(now).or_else(|| link.silent_since(now)) {
            return Attempt::Seen(blind(since));
        }
        let Some(gathered) = evidence.gather() else {
            return match evidence.problem() {
                Some(problem) if problem.is_forbidden => Attempt::Seen(self.forbidden(observer, &problem)),
                _ if now >= *began + BEGIN_MAX => Attempt::Seen(blind(*began)),
                _ => Attempt::NotYet,
            };
        };
        let stale = self.stale(evidence, observer);
        if !stale.is_empty() {
            if now >= *lagging.get_or_insert(now) + LAG_MAX {
                self.catch_up(evidence, &stale).await;
                *lagging = None;
            }
            return Attempt::NotYet;
        }
        *lagging = None;
        let observe = |documents: &[Arc<Value>]| {
            let documents: Vec<&Value> = documents.iter().map(|it| &**it).collect();
            observer.observe(&documents, Moment { now, wall: system_wall(), since: None })
        };
        let observation = observe(&gathered.documents);
        if is_healthy(&observation) {
            return Attempt::Seen(observation);
        }
        let mut documents = gathered.documents;
        for namespace in evidence.namespaces() {
            let events = self.events(namespace).of(link, namespace).await;
            documents.extend(events.into_iter().filter(|event| {
                let uid = event.pointer("/involvedObject/uid").and_then(Value::as_str);
                uid.is_some_and(|uid| gathered.uids.contains(uid))
            }));
        }
        let mut observation = observe(&documents);
        self.add_last_output(&mut observation).await;
        Attempt::Seen(observation)
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
