//! A cluster in memory under the driver of Kubernetes: an API server that keeps uids and versions, a controller that
//! needs a while until a workload is healthy, and objects of others.
//!
//! The first order deploys a release over an earlier one, the second goes back. Whatever happens in between, the end is
//! one of two sets of objects, to the last field, and what others made is there. Or the first one restarts what runs and the
//! second one scales it: then two fields of one object change, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use trimaran_agent_core::driver::Journaled as _;
use trimaran_kubernetes_core::config::BASE_LABEL;
use trimaran_kubernetes_driver::{
    Call, Change, ClusterId, Expect, Goal, Inventory, KubernetesDriver, Live, LiveObject, Marks, ObjectKey,
    Observation, ObservedObject, OnConflict, Order, Phase, Pods, Query, RESTART_ANNOTATION, Receipt, Refusal,
    Release, Reply, StuckPod,
};
use trimaran_model::action::{Commit, Outcome};
use trimaran_model::id::{AssignmentId, Digest, Fence, InstallationId, PipelineName, TargetName};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::Verdict;

use super::{Finished, Model, Which};

const EARLIER: Digest = Digest([1; 32]);
const NEXT: Digest = Digest([2; 32]);
/// Before the earlier one; no rollback needs it any more.
const FIRST: Digest = Digest([9; 32]);
const EARLIER_FENCE: Fence = Fence(5);
/// A workload is healthy so long after its last change.
const ROLLOUT: Millis = Millis::seconds(2);

/// One stored object, as the API server has it.
#[derive(Debug, Clone, PartialEq)]
struct Stored {
    uid: u32,
    version: u32,
    generation: u64,
    marks: Marks,
    /// Without the marks.
    content: Value,
    changed_at: Timestamp,
}

/// What the two orders are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Story {
    /// A deploy over an earlier release, and back.
    Over,
    /// There is no earlier release: the second order ends the installation.
    First,
    /// The earlier release is restarted, and then gets other replicas.
    Adjust,
}

/// Replicas by the second order of `Adjust`.
const SCALED: u32 = 4;

pub struct KubernetesModel {
    driver: KubernetesDriver,
    cluster: ClusterId,
    objects: BTreeMap<ObjectKey, Stored>,
    /// Contents at the beginning.
    initial: BTreeMap<ObjectKey, Value>,
    /// Objects of others.
    foreign: BTreeSet<ObjectKey>,
    /// What was taken over, as it was.
    kept: BTreeMap<ObjectKey, Value>,
    inventory: Inventory,
    releases: [Arc<Release>; 2],
    count: u32,
    watched: Option<Query>,
    shown: Option<Observation>,
    /// The second order ends no instances that serve.
    keeps_serving: bool,
    /// A change of the workload leaves a pod of the revision before that blocks it until it is deleted.
    sticks: bool,
    /// The uid of such a pod.
    stuck: Option<u32>,
    story: Story,
    /// State of the generator of failures; `None` when the API server never fails.
    failures: Option<u64>,
}

fn object(api_version: &str, kind: &str, name: &str, rest: Value) -> Value {
    let mut object =
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "shop"}});
    let Value::Object(rest) = rest else { unreachable!("the callers are below") };
    object.as_object_mut().expect("it is an object").extend(rest);
    object
}

/// A ConfigMap that is named by its content.
fn config(name: &str) -> Value {
    let mut config = object("v1", "ConfigMap", name, json!({"data": {"name": name}}));
    config["metadata"]["labels"] = json!({BASE_LABEL: "web"});
    config
}

fn workload(config: &str, replicas: u32) -> Value {
    object(
        "apps/v1",
        "Deployment",
        "web",
        json!({"spec": {"replicas": replicas, "template": {"config": config}}}),
    )
}

fn earlier() -> Vec<Value> {
    vec![
        workload("web-1", 3),
        config("web-1"),
        object("v1", "Service", "web", json!({"spec": {"ports": [80]}})),
        object("v1", "Service", "old", json!({"spec": {"ports": [81]}})),
    ]
}

fn next() -> Vec<Value> {
    vec![
        workload("web-2", 5),
        config("web-2"),
        object("v1", "Service", "web", json!({"spec": {"ports": [80]}})),
        object("networking.k8s.io/v1", "Ingress", "web", json!({"spec": {"rules": []}})),
        object("v1", "ConfigMap", "adopted", json!({"data": {"of": "the release"}})),
    ]
}

/// What others made and the next release takes over.
fn adopted() -> Value {
    object("v1", "ConfigMap", "adopted", json!({"data": {"of": "others"}, "immutable": false}))
}

/// What others made; the last one is a copy of an object of ours, marks and all.
fn foreign() -> Vec<Value> {
    vec![
        object("v1", "ConfigMap", "other", json!({"data": {}})),
        object("networking.k8s.io/v1", "Ingress", "copy", json!({"spec": {"rules": []}})),
    ]
}

/// The only cluster of the model.
fn cluster_id() -> ClusterId {
    ClusterId { cluster: Some("c".to_owned()), namespace: Some("n".to_owned()) }
}

fn key_of(document: &Value) -> ObjectKey {
    ObjectKey::of(document).expect("objects of the model have names")
}

fn marks(release: Digest, fence: Fence, assignment: u64) -> Marks {
    Marks {
        installation: Some("web/tokyo".to_owned()),
        release: Some(release),
        fence: Some(fence),
        assignment: Some(AssignmentId(assignment)),
    }
}

/// A document as it is stored: the marks are kept apart.
fn without_marks(document: &Value) -> Value {
    let mut content = document.clone();
    if let Some(metadata) = content["metadata"].as_object_mut() {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| !name.starts_with("trimaran.dev/"));
        }
        if metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty) {
            metadata.shift_remove("annotations");
        }
    }
    content
}

impl KubernetesModel {
    pub fn new() -> Self {
        let release = |digest, documents| {
            Arc::new(
                Release::new(digest, documents, Millis::seconds(3), OnConflict::Refuse).expect("a release"),
            )
        };
        let mut model = Self {
            driver: KubernetesDriver,
            cluster: cluster_id(),
            objects: BTreeMap::new(),
            initial: BTreeMap::new(),
            foreign: foreign().iter().map(key_of).collect(),
            kept: BTreeMap::new(),
            inventory: Inventory::default(),
            releases: [release(EARLIER, earlier()), release(NEXT, next())],
            count: 0,
            watched: None,
            shown: None,
            keeps_serving: false,
            sticks: false,
            stuck: None,
            story: Story::Over,
            failures: None,
        };
        earlier().into_iter().for_each(|it| model.create(it, marks(EARLIER, EARLIER_FENCE, 0), Timestamp(0)));
        let receipts = model.objects.iter().map(|(key, stored)| Receipt {
            key: key.clone(),
            uid: Some(stored.uid.to_string()),
            assignment: AssignmentId(0),
            created_by: Some(EARLIER),
            change: Change::Created,
            replicas_before: None,
            is_versioned: key.kind == "ConfigMap",
            adopted_by: None,
            fields: None,
        });
        model.inventory = Inventory::new(vec![EARLIER], receipts);
        for document in foreign() {
            model.create(document, marks(NEXT, Fence(10), 1), Timestamp(0));
        }
        model.create(adopted(), Marks::default(), Timestamp(0));
        // At the end it is gone, whichever order finds that nothing uses it.
        model.initial = model.objects.iter().map(|(key, it)| (key.clone(), it.content.clone())).collect();
        model.create(config("web-0"), marks(FIRST, Fence(1), 0), Timestamp(0));
        model.inventory = model.inventory.clone().with_older([model.unused_version()]);
        model
    }

    /// One whose first order is a first deploy.
    pub fn first() -> Self {
        let mut model = Self::new();
        let adopted = key_of(&adopted());
        let foreign = model.foreign.clone();
        model.objects.retain(|key, _| *key == adopted || foreign.contains(key));
        model.initial = model.contents();
        Self { inventory: Inventory::default(), story: Story::First, ..model }
    }

    /// One whose orders restart and scale the earlier release.
    pub fn adjusting() -> Self {
        Self { story: Story::Adjust, ..Self::new() }
    }

    /// One whose workload goes on only when a broken pod of the revision before is deleted.
    pub fn sticking() -> Self {
        Self { sticks: true, ..Self::new() }
    }

    /// As [`KubernetesModel::first`] where instances that serve are kept: those of a workload that the release made hold the
    /// second order up, unless others had the workload before.
    pub fn first_that_serves(is_taken_over: bool) -> Self {
        let mut model = Self { keeps_serving: true, ..Self::first() };
        if is_taken_over {
            model.create(workload("by-hand", 2), Marks::default(), Timestamp(0));
            model.initial = model.contents();
        }
        model
    }

    /// A workload that the release made is there, and has instances.
    fn serves(&self) -> bool {
        let web = key_of(&workload("web-2", 5));
        self.keeps_serving && !self.initial.contains_key(&web) && self.objects.contains_key(&web)
    }

    fn unused_version(&self) -> Receipt {
        let key = key_of(&config("web-0"));
        Receipt {
            uid: Some(self.objects[&key].uid.to_string()),
            key,
            assignment: AssignmentId(0),
            created_by: Some(FIRST),
            change: Change::Created,
            replicas_before: None,
            is_versioned: true,
            adopted_by: None,
            fields: None,
        }
    }

    /// One whose API server fails now and then, before or after the change that it was asked for.
    pub fn failing(seed: u64) -> Self {
        Self { failures: Some(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)), ..Self::new() }
    }

    fn create(&mut self, content: Value, marks: Marks, now: Timestamp) {
        self.count += 1;
        let (uid, version) = (self.count, self.count);
        let stored = Stored { uid, version, generation: 1, marks, content, changed_at: now };
        self.objects.insert(key_of(&stored.content), stored);
    }

    fn live(&self, key: &ObjectKey) -> Live {
        self.objects.get(key).map_or(Live::Absent, |stored| Live::Present(live_object(stored)))
    }

    /// A number below `below` from the generator of failures.
    fn chance(&mut self, below: u64) -> u64 {
        let Some(state) = &mut self.failures else { return below };
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % below
    }

    fn answer(&mut self, now: Timestamp, which: Which, call: Call) -> Result<Reply, String> {
        let own = marks(self.digest_of(which), fence_of(which), which as u64 + 1);
        let adjusts =
            matches!(call, Call::Identify | Call::Read { .. } | Call::Adjust { .. } | Call::Unused { .. });
        if self.story == Story::Adjust && !adjusts {
            return Err(format!("a restart and a scale change one field each, and this is asked: {call:?}"));
        }
        match call {
            Call::Identify => Ok(Reply::Identified(self.cluster.clone())),
            Call::Read { keys } => Ok(Reply::Live(keys.iter().map(|key| self.live(key)).collect())),
            Call::Apply { key, document, expect, keep, .. } => {
                if keep {
                    self.keep(&key)?;
                }
                if Marks::of(&document) != own {
                    return Err(format!("{key} is applied with other marks"));
                }
                self.apply(now, &key, without_marks(&document), expect, own)
            }
            Call::Edit { key, .. } => Err(format!("nothing of this release is edited, but {key} is")),
            Call::Adjust { key, uid, resource_version, merge } => {
                self.adjust(now, &key, [&uid, &resource_version], &merge, own)
            }
            Call::PutBack { key, uid, resource_version } => {
                self.put_back(now, which, &key, (&uid, &resource_version))
            }
            Call::Delete { key, uid, .. } if key.kind == "Pod" => self.free(now, &uid),
            Call::Delete { key, uid, resource_version } => {
                self.delete(which, &key, &uid, resource_version.as_deref())
            }
            Call::Unused { versions, retained } => Ok(Reply::Unused(self.unused(versions, &retained))),
        }
    }

    fn adjust(
        &mut self,
        now: Timestamp,
        key: &ObjectKey,
        [uid, version]: [&str; 2],
        document: &Value,
        own: Marks,
    ) -> Result<Reply, String> {
        if self.story != Story::Adjust || self.foreign.contains(key) {
            return Err(format!("{key} is adjusted"));
        }
        if Marks::of(document) != own {
            return Err(format!("{key} is adjusted with other marks"));
        }
        let Some(stored) = self.objects.get_mut(key) else { return Ok(Reply::Refused(Refusal::Moved)) };
        if uid != stored.uid.to_string() || version != stored.version.to_string() {
            return Ok(Reply::Refused(Refusal::Moved));
        }
        if stored.marks == own {
            return Err(format!("{key} is adjusted a second time"));
        }
        merge(&mut stored.content["spec"], &document["spec"]);
        self.count += 1;
        (stored.marks, stored.version) = (own, self.count);
        (stored.generation, stored.changed_at) = (stored.generation + 1, now);
        Ok(Reply::Applied { object: live_object(stored), changed: true })
    }

    fn digest_of(&self, which: Which) -> Digest {
        match which {
            Which::First if self.story != Story::Adjust => NEXT,
            Which::First | Which::Second => EARLIER,
        }
    }

    fn keep(&mut self, key: &ObjectKey) -> Result<(), String> {
        let stored = self.objects.get(key).ok_or_else(|| format!("{key} is not there and is to be kept"))?;
        if stored.marks == Marks::default() {
            self.kept.insert(key.clone(), stored.content.clone());
        }
        Ok(())
    }

    fn put_back(
        &mut self,
        now: Timestamp,
        which: Which,
        key: &ObjectKey,
        (uid, version): (&str, &str),
    ) -> Result<Reply, String> {
        if which == Which::First || self.serves() {
            return Err(format!("{key} is put back by {which:?}"));
        }
        let Some(stored) = self.objects.get_mut(key) else { return Ok(Reply::Refused(Refusal::Moved)) };
        if uid != stored.uid.to_string() || version != stored.version.to_string() {
            return Ok(Reply::Refused(Refusal::Moved));
        }
        let changed = stored.marks != Marks::default();
        if changed {
            let kept = self.kept.get(key).ok_or_else(|| format!("{key} was not kept"))?;
            self.count += 1;
            (stored.content, stored.marks, stored.version) = (kept.clone(), Marks::default(), self.count);
            (stored.generation, stored.changed_at) = (stored.generation + 1, now);
        }
        Ok(Reply::Applied { object: live_object(stored), changed })
    }

    /// What no kept release has; the model's pods are of these two releases.
    fn unused(&self, versions: Vec<ObjectKey>, retained: &BTreeSet<Digest>) -> BTreeSet<ObjectKey> {
        let kept = self.releases.iter().filter(|release| retained.contains(&release.digest));
        let used: BTreeSet<&ObjectKey> = kept.flat_map(|it| &it.manifests).map(|it| &it.key).collect();
        versions.into_iter().filter(|key| !used.contains(key)).collect()
    }

    fn apply(
        &mut self,
        now: Timestamp,
        key: &ObjectKey,
        content: Value,
        expect: Expect,
        own: Marks,
    ) -> Result<Reply, String> {
        if self.foreign.contains(key) {
            return Err(format!("{key} of others is changed"));
        }
        let mut changed = true;
        match (expect, self.objects.get_mut(key)) {
            (Expect::Absent, None) => self.create(content, own, now),
            (Expect::Exists { uid, resource_version }, Some(stored))
                if uid == stored.uid.to_string() && resource_version == stored.version.to_string() =>
            {
                if stored.marks == own {
                    return Err(format!("{key} is applied a second time"));
                }
                changed = stored.content != content;
                if changed {
                    (stored.generation, stored.changed_at) = (stored.generation + 1, now);
                }
                self.count += 1;
                (stored.content, stored.marks, stored.version) = (content, own, self.count);
            }
            (Expect::Absent | Expect::Exists { .. }, _) => return Ok(Reply::Refused(Refusal::Moved)),
        }
        if self.sticks && changed && key.kind == "Deployment" {
            self.stuck = Some(self.count);
        }
        let object = live_object(&self.objects[key]);
        Ok(Reply::Applied { object, changed })
    }

    fn delete(
        &mut self,
        which: Which,
        key: &ObjectKey,
        uid: &str,
        version: Option<&str>,
    ) -> Result<Reply, String> {
        let Some(stored) = self.objects.get(key) else { return Ok(Reply::Deleted) };
        if stored.uid.to_string() != uid || version.is_some_and(|it| it != stored.version.to_string()) {
            return Ok(Reply::Refused(Refusal::Moved));
        }
        let is_left = match which {
            Which::First => !self.releases[1].manifests.iter().any(|it| it.key == *key),
            Which::Second => !self.initial.contains_key(key) && !self.serves(),
        };
        if self.foreign.contains(key) || !is_left {
            return Err(format!("{key} is deleted"));
        }
        self.objects.remove(key);
        Ok(Reply::Deleted)
    }

    /// Deletes the pod that blocks the workload, which then takes its time.
    fn free(&mut self, now: Timestamp, uid: &str) -> Result<Reply, String> {
        if self.stuck.is_none_or(|stuck| stuck.to_string() != uid) {
            return Ok(Reply::Deleted);
        }
        self.stuck = None;
        let web = self.objects.values_mut().find(|stored| key_of(&stored.content).kind == "Deployment");
        web.ok_or("a pod is deleted, and its workload is not there")?.changed_at = now;
        Ok(Reply::Deleted)
    }

    fn observe(&self, query: &Query, now: Timestamp) -> Observation {
        let observed = |key: &ObjectKey| {
            let stored = self.objects.get(key);
            let is_workload = key.kind == "Deployment";
            let ready = stored.is_some_and(|stored| !is_workload || now >= stored.changed_at + ROLLOUT);
            let count = u32::from(is_workload);
            let stuck = self.stuck.filter(|_| is_workload);
            let verdict = match (stuck, ready) {
                (Some(_), _) => Verdict::Degraded,
                (None, true) => Verdict::Healthy,
                (None, false) => Verdict::Progressing,
            };
            let reason = stuck.map_or(ReasonCode::NotReady, |_| ReasonCode::StsStuckPod);
            ObservedObject {
                key: key.clone(),
                uid: stored.map(|stored| stored.uid.to_string()),
                generation: stored.map_or(0, |stored| stored.generation),
                marks: stored.map(|stored| stored.marks.clone()).unwrap_or_default(),
                verdict,
                reason: (verdict != Verdict::Healthy).then_some(reason),
                message: String::new(),
                fault: stuck.and(reason.fault()),
                pods: Pods {
                    desired: count,
                    updated: count,
                    available: u32::from(ready) * count,
                    restarts: 0,
                },
                stuck: stuck.map(|uid| StuckPod { name: "web-1".to_owned(), uid: uid.to_string() }),
                fields: None,
                edits: Vec::new(),
            }
        };
        Observation {
            blind_since: None,
            objects: query.keys.iter().map(observed).collect(),
            instances: Vec::new(),
            next_check: None,
        }
    }

    fn contents(&self) -> BTreeMap<ObjectKey, Value> {
        self.objects.iter().map(|(key, stored)| (key.clone(), stored.content.clone())).collect()
    }
}

impl Default for KubernetesModel {
    fn default() -> Self {
        Self::new()
    }
}

fn live_object(stored: &Stored) -> LiveObject {
    let replicas = stored.content.pointer("/spec/replicas").and_then(Value::as_u64);
    LiveObject {
        uid: stored.uid.to_string(),
        resource_version: stored.version.to_string(),
        generation: stored.generation,
        marks: stored.marks.clone(),
        terminating: None,
        replicas: replicas.and_then(|count| u32::try_from(count).ok()),
        serving: (key_of(&stored.content).kind == "Deployment").then_some(1),
        scaled_by: None,
        is_usable: true,
        keep: false,
        fields: None,
    }
}

/// RFC 7396, without removals.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return into.clone_from(patch) };
    for (name, value) in patch {
        merge(&mut into[name.as_str()], value);
    }
}

fn fence_of(which: Which) -> Fence {
    Fence(10 + which as u64)
}

impl Model for KubernetesModel {
    type Driver = KubernetesDriver;

    fn driver(&self) -> &KubernetesDriver {
        &self.driver
    }

    fn order(&self, which: Which, committed: Option<Commit>) -> Order {
        let initial = Commit { assignment: AssignmentId(0), n: 1, body: self.inventory.to_bytes() };
        Order {
            installation: InstallationId {
                pipeline: PipelineName::new("web").expect("a name"),
                target: TargetName::new("tokyo").expect("a name"),
            },
            assignment: AssignmentId(which as u64 + 1),
            fence: fence_of(which),
            goal: match which {
                Which::First if self.story == Story::Adjust => Goal::Restart(Arc::clone(&self.releases[0])),
                Which::Second if self.story == Story::Adjust => {
                    Goal::Scale(Arc::clone(&self.releases[0]), SCALED)
                }
                Which::First => Goal::Release(Arc::clone(&self.releases[1])),
                Which::Second if self.story == Story::First => Goal::Stop(NEXT),
                Which::Second => Goal::Restore(Arc::clone(&self.releases[0])),
            },
            progress_deadline: Millis::minutes(10),
            retained: self.releases.iter().map(|release| release.digest).collect(),
            keep_serving: self.keeps_serving && which == Which::Second,
            committed: committed.or(Some(initial)),
        }
    }

    fn save(&self, phase: &Phase) -> Vec<u8> {
        self.driver.save(phase)
    }

    fn load(&self, order: &Order, bytes: &[u8]) -> Phase {
        self.driver.load(order, bytes).expect("it was saved by the same driver")
    }

    fn call(&mut self, now: Timestamp, which: Which, call: Call) -> Result<(Reply, Millis), String> {
        let unavailable =
            || Reply::Refused(Refusal::Unavailable { message: "etcd: too many requests".to_owned() });
        match self.chance(8) {
            0 => return Ok((unavailable(), Millis(50))),
            // The gateway gives up; the change is made.
            1 => {
                self.answer(now, which, call)?;
                return Ok((unavailable(), Millis(300)));
            }
            _ => {}
        }
        let takes = if self.starts(&call) { Millis(60) } else { Millis(20) };
        Ok((self.answer(now, which, call)?, takes))
    }

    fn watch(&mut self, query: Query) {
        self.watched = Some(query);
    }

    fn observations(&mut self, now: Timestamp) -> Vec<Observation> {
        let Some(query) = &self.watched else { return Vec::new() };
        let seen = self.observe(query, now);
        if self.shown.as_ref() == Some(&seen) {
            return Vec::new();
        }
        self.shown = Some(seen.clone());
        vec![seen]
    }

    fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self.objects.values().map(|stored| stored.changed_at + ROLLOUT);
        times.filter(|at| *at > now && self.watched.is_some()).min()
    }

    fn crashed(&mut self) {
        (self.watched, self.shown) = (None, None);
    }

    fn is_covered(&self, durable: Option<&Phase>, call: &Call) -> bool {
        !self.starts(call) || durable.is_some_and(|phase| phase.covers(call))
    }

    fn needs_lease(&self, call: &Call) -> bool {
        call.creates()
    }

    fn starts(&self, call: &Call) -> bool {
        !matches!(call, Call::Identify | Call::Read { .. } | Call::Unused { .. })
    }

    fn verify(&self, finished: &Finished, _: &Phase) -> Result<(), String> {
        self.verify_objects(finished)
    }
}

impl KubernetesModel {
    /// What must be true of the objects at the end.
    pub(super) fn verify_objects(&self, finished: &Finished) -> Result<(), String> {
        let contents = self.contents();
        if let Some(key) = self.foreign.iter().find(|key| contents.get(key) != self.initial.get(key)) {
            return Err(format!("{key} of others is not what it was"));
        }
        if self.story == Story::Adjust {
            return self.verify_adjusted(finished);
        }
        let mut expected = self.initial.clone();
        if finished.which == Which::First {
            // Configuration of the earlier release stays for pods of its revision, and to go back to.
            expected.retain(|key, _| key.name != "old");
            expected.extend(next().into_iter().map(|document| (key_of(&document), document)));
        }
        match &finished.outcome {
            Some(Outcome::Done) if contents == expected => Ok(()),
            Some(Outcome::Done) => Err(format!("done, and there is {:?}", contents.keys())),
            Some(Outcome::Stopped) if finished.canceled => Ok(()),
            // What was there of the release, whole or not, is there still: nothing may be taken from it.
            Some(Outcome::Fault(why))
                if why.code == ReasonCode::PausedTraffic
                    && finished.which == Which::Second
                    && self.serves() =>
            {
                Ok(())
            }
            other => Err(format!("it ended with {other:?}")),
        }
    }

    /// The workload was restarted by the first order, where that got so far, and scaled by the second; nothing else changed.
    fn verify_adjusted(&self, finished: &Finished) -> Result<(), String> {
        let web = key_of(&workload("", 0));
        let unused = key_of(&config("web-0"));
        let mut contents = self.contents();
        contents.remove(&unused).ok_or("a version was deleted")?;
        let spec = contents.get_mut(&web).ok_or("the workload is gone")?["spec"].take();
        let mut expected = self.initial.clone();
        let mut wanted = expected.get_mut(&web).expect("it was there")["spec"].take();
        let annotation = spec["template"].pointer("/metadata/annotations/trimaran.dev~1restarted-by");
        let is_restarted = annotation.is_some();
        if is_restarted {
            wanted["template"]["metadata"] = json!({"annotations": {RESTART_ANNOTATION: "1"}});
        }
        if finished.which == Which::Second {
            wanted["replicas"] = json!(SCALED);
        }
        let is_done = finished.which == Which::Second || is_restarted;
        match &finished.outcome {
            _ if contents != expected => Err(format!("another object was changed: {contents:?}")),
            Some(Outcome::Done) if is_done && spec == wanted => Ok(()),
            Some(Outcome::Stopped) if finished.canceled && spec == wanted => Ok(()),
            other => Err(format!("it ended with {other:?}, and there is {spec}")),
        }
    }
}
