//! The watch of one kind in one namespace: what is there now, shared by all who need it.
//!
//! It goes on as long as someone holds it. Objects are kept without what no verdict needs, and ConfigMaps and Secrets
//! without their content, which therefore never enters this process by a watch.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Weak};

use futures_util::StreamExt as _;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::core::{ApiResource, DynamicResourceScope, Resource};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Error as WatchError, Event, watcher};
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value};
use tokio::task::AbortHandle;
use trimaran_kubernetes_driver::{INSTALLATION_ANNOTATION, ObjectKey};
use trimaran_model::time::{Millis, Timestamp};
use trimaran_process::clock::boot_time;

use crate::discovery::Served;
use crate::link::{Link, Watched};
use crate::versions::{is_at_least, uid_of, version_of};

/// Kinds whose content is no evidence.
const WITHOUT_CONTENT: &[&str] = &["ConfigMap", "Secret"];

/// A watch that fails for so long shows nothing any more.
const FAILING_MAX: Millis = Millis::seconds(15);
/// Tries are at most 30 s apart.
const FORGOTTEN_AFTER: Millis = Millis::seconds(40);

/// One watch.
pub(crate) struct Informer {
    served: Served,
    /// Empty for the whole cluster.
    namespace: String,
    state: Mutex<State>,
    task: Mutex<Option<AbortHandle>>,
    /// The link is asked for signs as long as this is held.
    _watched: Option<Watched>,
}

#[derive(Default)]
struct State {
    /// By namespace and name.
    objects: BTreeMap<(String, String), Arc<Value>>,
    /// Those of a list that is not complete yet.
    listed: BTreeMap<(String, String), Arc<Value>>,
    /// Whether `objects` is what is there, but for what is on its way.
    is_current: bool,
    /// Why nothing is shown, in the API server's words.
    problem: Option<Problem>,
    failing: Option<Failing>,
}

/// Tries that failed one after the other. A watch that is made again in silence tells nothing, so their end is known by
/// the absence of a further one.
#[derive(Debug, Clone, Copy)]
struct Failing {
    first: Timestamp,
    last: Timestamp,
}

impl Failing {
    fn again(known: Option<Self>, now: Timestamp) -> Self {
        let first = known.filter(|known| now < known.last + FORGOTTEN_AFTER).map_or(now, |known| known.first);
        Self { first, last: now }
    }

    /// Whether what was seen before is too old to be shown.
    fn is_lasting(self, now: Timestamp) -> bool {
        self.last >= self.first + FAILING_MAX && now < self.last + FORGOTTEN_AFTER
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    /// This agent may not watch the kind.
    pub(crate) is_forbidden: bool,
}

impl Informer {
    pub(crate) fn start(link: &Arc<Link>, served: &Served, namespace: &str) -> Arc<Self> {
        let namespace = namespace.to_owned();
        let informer = Arc::new(Self {
            served: served.clone(),
            namespace: namespace.clone(),
            state: Mutex::default(),
            task: Mutex::default(),
            _watched: Some(link.watch()),
        });
        let (weak, of) = (Arc::downgrade(&informer), link.clone());
        let (resource, restarts) = (served.resource(), link.restarts());
        let with_content = !(served.group().is_empty() && WITHOUT_CONTENT.contains(&served.kind.as_str()));
        let task = tokio::spawn(async move {
            if with_content {
                follow::<DynamicObject>(weak, of, resource, namespace, restarts).await;
            } else {
                follow::<PartialObjectMeta<DynamicObject>>(weak, of, resource, namespace, restarts).await;
            }
        });
        *informer.task.lock() = Some(task.abort_handle());
        informer
    }

    pub(crate) fn served(&self) -> &Served {
        &self.served
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What is there; `None` while that is not known.
    pub(crate) fn objects(&self) -> Option<Vec<Arc<Value>>> {
        let state = self.lock();
        let is_lost = state.failing.is_some_and(|failing| failing.is_lasting(boot_time()));
        (state.is_current && !is_lost).then(|| state.objects.values().cloned().collect())
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Arc<Value>> {
        self.lock().objects.get(&(key.namespace.clone(), key.name.clone())).cloned()
    }

    pub(crate) fn problem(&self) -> Option<Problem> {
        self.lock().problem.clone()
    }

    /// Takes a state that was read, unless a newer one is known.
    pub(crate) fn put(&self, document: Value) {
        let document = Arc::new(prepared(document, &self.served));
        insert(&mut self.lock().objects, document);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn begin_anew(&self) {
        let mut state = self.lock();
        state.is_current = false;
        state.listed.clear();
    }

    fn take(&self, event: Event<Value>) {
        let mut state = self.lock();
        (state.problem, state.failing) = (None, None);
        match event {
            Event::Init => state.listed.clear(),
            Event::InitApply(document) => {
                let document = Arc::new(prepared(document, &self.served));
                insert(&mut state.listed, document);
            }
            // What is not in the list is gone.
            Event::InitDone => {
                let before = std::mem::take(&mut state.objects);
                let mut listed = std::mem::take(&mut state.listed);
                // What was read meanwhile may be newer than the list.
                let still =
                    before.into_iter().filter(|(key, _)| listed.contains_key(key)).collect::<Vec<_>>();
                still.into_iter().for_each(|(_, document)| insert(&mut listed, document));
                state.objects = listed;
                state.is_current = true;
            }
            Event::Apply(document) => {
                let document = Arc::new(prepared(document, &self.served));
                insert(&mut state.objects, document);
            }
            Event::Delete(document) => {
                let key = name_of(&document);
                // A later object of the same name stays.
                if state.objects.get(&key).is_some_and(|known| uid_of(known) == uid_of(&document)) {
                    state.objects.remove(&key);
                }
            }
        }
    }

    fn fail(&self, error: &WatchError) {
        let (message, is_forbidden) = match error {
            WatchError::InitialListFailed(kube::Error::Api(status))
            | WatchError::WatchStartFailed(kube::Error::Api(status)) => {
                (status.message.clone(), matches!(status.code, 401 | 403))
            }
            other => (trimaran_model::text::with_sources(other), false),
        };
        tracing::debug!(kind = self.served.kind, message, "a watch failed");
        let mut state = self.lock();
        state.failing = Some(Failing::again(state.failing, boot_time()));
        state.problem = Some(Problem { message, is_forbidden });
    }
}

impl Drop for Informer {
    fn drop(&mut self) {
        let task = self.task.get_mut().take();
        if let Some(task) = task {
            task.abort();
        }
    }
}

fn name_of(document: &Value) -> (String, String) {
    let text =
        |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("/metadata/namespace"), text("/metadata/name"))
}

fn insert(objects: &mut BTreeMap<(String, String), Arc<Value>>, document: Arc<Value>) {
    let key = name_of(&document);
    let is_newer =
        objects.get(&key).is_none_or(|known| is_at_least(version_of(&document), version_of(known)));
    if is_newer {
        objects.insert(key, document);
    }
}

/// An object as it is kept.
fn prepared(mut document: Value, served: &Served) -> Value {
    let Some(all) = document.as_object_mut() else { return document };
    // Items of lists have no version and kind of their own, and metadata alone has others.
    all.insert("apiVersion".to_owned(), served.api_version.clone().into());
    all.insert("kind".to_owned(), served.kind.clone().into());
    if let Some(metadata) = all.get_mut("metadata").and_then(Value::as_object_mut) {
        let mut is_marked = false;
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
            is_marked = annotations.contains_key(INSTALLATION_ANNOTATION);
        }
        // Who set which field is asked only of what Trimaran applied.
        if !is_marked {
            metadata.shift_remove("managedFields");
        }
    }
    if served.group().is_empty() && served.kind == "Pod" {
        without_environment(all);
    }
    document
}

fn without_environment(pod: &mut Map<String, Value>) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            container.shift_remove("env");
        }
    }
}

/// Follows the kind until no one holds the informer.
async fn follow<K>(
    informer: Weak<Informer>,
    link: Arc<Link>,
    resource: ApiResource,
    namespace: String,
    mut restarts: tokio::sync::watch::Receiver<u64>,
) where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
        + Clone
        + Debug
        + serde::Serialize
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    loop {
        let client = link.client().clone();
        let api: Api<K> = if namespace.is_empty() {
            Api::all_with(client, &resource)
        } else {
            Api::namespaced_with(client, &namespace, &resource)
        };
        let mut events = Box::pin(watcher(api, Config::default()).default_backoff());
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = restarts.changed() => None,
            };
            let Some(informer) = informer.upgrade() else { return };
            match event {
                Some(Ok(event)) => {
                    informer.take(valued(event));
                    link.changed();
                }
                Some(Err(error)) => {
                    informer.fail(&error);
                    link.changed();
                }
                None => {
                    informer.begin_anew();
                    break;
                }
            }
        }
    }
}

fn valued<K: serde::Serialize>(event: Event<K>) -> Event<Value> {
    let value = |object: K| serde_json::to_value(object).expect("it was read from JSON");
    match event {
        Event::Apply(object) => Event::Apply(value(object)),
        Event::Delete(object) => Event::Delete(value(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(value(object)),
        Event::InitDone => Event::InitDone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn informer() -> Informer {
        let served = Served {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            plural: "pods".to_owned(),
            namespaced: true,
        };
        let namespace = "shop".to_owned();
        Informer { served, namespace, state: Mutex::default(), task: Mutex::default(), _watched: None }
    }

    fn pod(name: &str, uid: &str, version: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": version,
                            "managedFields": [1]},
               "spec": {"containers": [{"name": "web", "env": [{"name": "PASSWORD", "value": "x"}]}]}})
    }

    fn shown(informer: &Informer) -> Vec<String> {
        let objects = informer.objects().expect("it is current");
        objects.iter().map(|it| format!("{} {}", uid_of(it), version_of(it))).collect()
    }

    #[test]
    fn a_list_replaces_what_was_known_when_it_is_complete() {
        let informer = informer();
        assert_eq!(informer.objects(), None, "nothing is known");
        informer.take(Event::Init);
        informer.take(Event::InitApply(pod("a", "1", "5")));
        assert_eq!(informer.objects(), None, "the list is not complete");
        informer.take(Event::InitDone);
        informer.take(Event::Apply(pod("b", "2", "6")));
        assert_eq!(shown(&informer), ["1 5", "2 6"]);
        informer.begin_anew();
        assert_eq!(informer.objects(), None, "what was known is old");
        informer.take(Event::Init);
        informer.take(Event::InitApply(pod("b", "2", "7")));
        informer.take(Event::InitDone);
        assert_eq!(shown(&informer), ["2 7"]);
    }

    #[test]
    fn an_older_state_and_the_end_of_an_earlier_object_change_nothing() {
        let informer = informer();
        informer.take(Event::InitDone);
        informer.put(pod("a", "2", "9"));
        informer.take(Event::Apply(pod("a", "1", "7")));
        informer.take(Event::Delete(pod("a", "1", "8")));
        assert_eq!(shown(&informer), ["2 9"]);
        informer.take(Event::Delete(pod("a", "2", "10")));
        assert_eq!(shown(&informer), Vec::<String>::new());
    }

    #[test]
    fn a_watch_that_keeps_failing_shows_nothing() {
        let mut failing = Failing::again(None, Timestamp(0));
        for now in [1000, 4000, 9000, 16_000] {
            failing = Failing::again(Some(failing), Timestamp(now));
        }
        assert!(failing.is_lasting(Timestamp(17_000)));
        assert!(!failing.is_lasting(Timestamp(16_000) + FORGOTTEN_AFTER), "it was made again in silence");
        let later = Failing::again(Some(failing), Timestamp(100_000));
        assert!(!later.is_lasting(Timestamp(100_000)), "one failure is none");
    }

    #[test]
    fn what_is_kept_has_its_kind_and_no_environment() {
        let informer = informer();
        informer.take(Event::InitDone);
        informer.take(Event::Apply(pod("a", "1", "5")));
        let kept = informer.objects().expect("it is current").remove(0);
        assert_eq!((kept["kind"].as_str(), kept["apiVersion"].as_str()), (Some("Pod"), Some("v1")));
        assert!(!kept.to_string().contains("PASSWORD") && !kept.to_string().contains("managedFields"));
    }
}
