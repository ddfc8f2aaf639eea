//! What belongs to the objects of one release, gathered from the shared watches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use trimaran_kubernetes_driver::ObjectKey;

use crate::cluster::Cluster;
use crate::informer::{Informer, Problem};
use crate::request::RequestError;
use crate::versions::uid_of;

/// Version and kind.
type Kind = (&'static str, &'static str);

/// Built-in groups whose kinds have no instances.
const PLAIN_GROUPS: &[&str] = &[
    "rbac.authorization.k8s.io",
    "policy",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "autoscaling",
    "networking.k8s.io",
    "gateway.networking.k8s.io",
    "discovery.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "coordination.k8s.io",
];

/// Kinds below a workload of the apps group.
const BELOW_APPS: &[Kind] = &[("v1", "Pod"), ("apps/v1", "ReplicaSet"), ("apps/v1", "ControllerRevision")];
const BELOW_BATCH: &[Kind] = &[("v1", "Pod"), ("batch/v1", "Job")];
/// What controllers make for objects of their own kinds.
const BELOW_CUSTOM: &[Kind] = &[
    ("v1", "Pod"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
];
const BELOW_SERVICE: &[Kind] = &[("discovery.k8s.io/v1", "EndpointSlice")];
/// Of the whole cluster, and only evidence where this agent may see them.
const NODES: Kind = ("v1", "Node");
const STORAGE_CLASSES: Kind = ("storage.k8s.io/v1", "StorageClass");

/// The watches of one set of objects.
pub(crate) struct Evidence {
    pub(crate) cluster: Arc<Cluster>,
    keys: BTreeSet<ObjectKey>,
    required: Vec<Arc<Informer>>,
    optional: Vec<Arc<Informer>>,
}

/// What the watches show.
pub(crate) struct Gathered {
    /// The objects, what belongs to them, and nodes.
    pub(crate) documents: Vec<Arc<Value>>,
    /// Uids of the objects and of all below them.
    pub(crate) uids: BTreeSet<String>,
}

impl Evidence {
    /// Begins or joins the watches that the objects need.
    pub(crate) async fn of(cluster: Arc<Cluster>, keys: BTreeSet<ObjectKey>) -> Result<Self, RequestError> {
        let client = cluster.link.client();
        let mut required = BTreeMap::new();
        let mut optional = BTreeMap::new();
        let mut wanted: BTreeSet<(&str, &str, &str, bool)> = BTreeSet::new();
        for key in &keys {
            wanted.insert((&key.api_version, &key.kind, &key.namespace, true));
            let (below, around) = related(key);
            wanted
                .extend(below.iter().map(|(version, kind)| (*version, *kind, key.namespace.as_str(), true)));
            wanted.extend(around.map(|(version, kind)| (version, kind, "", false)));
        }
        for (version, kind, namespace, is_required) in wanted {
            // What is not served has no objects.
            let Some(served) = cluster.discovery.find(client, version, kind).await? else { continue };
            let informer = cluster.informer(&served, namespace);
            let of = if is_required { &mut required } else { &mut optional };
            of.insert((served, namespace.to_owned()), informer);
        }
        let (required, optional) = (required.into_values().collect(), optional.into_values().collect());
        Ok(Self { cluster, keys, required, optional })
    }

    /// The namespaces that have objects.
    pub(crate) fn namespaces(&self) -> BTreeSet<&str> {
        self.keys.iter().map(|key| key.namespace.as_str()).filter(|it| !it.is_empty()).collect()
    }

    /// The watch that shows an object, when its kind is served.
    pub(crate) fn informer(&self, key: &ObjectKey) -> Option<&Arc<Informer>> {
        self.required.iter().find(|informer| {
            let served = informer.served();
            served.api_version == key.api_version && served.kind == key.kind
                // A watch of one namespace has that namespace's objects alone.
                && (informer.namespace() == key.namespace || informer.namespace().is_empty())
        })
    }

    /// Why a watch shows nothing, when one does not.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let silent = self.required.iter().filter(|informer| informer.objects().is_none());
        silent.filter_map(|informer| informer.problem()).next()
    }

    /// What is there; `None` while a watch does not know.
    pub(crate) fn gather(&self) -> Option<Gathered> {
        let mut all = Vec::new();
        for informer in &self.required {
            all.extend(informer.objects()?);
        }
        let mut below: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut open: Vec<usize> = Vec::new();
        let services: BTreeSet<(&str, &str)> = self
            .keys
            .iter()
            .filter(|key| key.group().is_empty() && key.kind == "Service")
            .map(|key| (key.namespace.as_str(), key.name.as_str()))
            .collect();
        for (index, document) in all.iter().enumerate() {
            for owner in
                document.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten()
            {
                let owner = owner["uid"].as_str().unwrap_or_default();
                below.entry(owner.to_owned()).or_default().push(index);
            }
            let is_wanted = ObjectKey::of(document).is_some_and(|key| self.keys.contains(&key));
            if is_wanted || is_slice_of(document, &services) {
                open.push(index);
            }
        }
        let mut reached = BTreeSet::new();
        let mut uids = BTreeSet::new();
        while let Some(index) = open.pop() {
            if reached.insert(index) {
                let uid = uid_of(&all[index]);
                open.extend(below.get(uid).into_iter().flatten());
                uids.insert(uid.to_owned());
            }
        }
        let mut documents: Vec<Arc<Value>> = reached.into_iter().map(|index| all[index].clone()).collect();
        for informer in &self.optional {
            documents.extend(informer.objects().into_iter().flatten());
        }
        Some(Gathered { documents, uids })
    }
}

/// The kinds below an object, and what around it is evidence.
fn related(key: &ObjectKey) -> (&'static [Kind], Option<Kind>) {
    match (key.group(), key.kind.as_str()) {
        ("", "Service") => (BELOW_SERVICE, None),
        ("", "PersistentVolumeClaim") => (&[], Some(STORAGE_CLASSES)),
        ("", "ReplicationController") => (&[("v1", "Pod")], Some(NODES)),
        ("", "Pod") => (&[], Some(NODES)),
        ("", _) => (&[], None),
        ("apps", _) => (BELOW_APPS, Some(NODES)),
        ("batch", _) => (BELOW_BATCH, Some(NODES)),
        (group, _) if PLAIN_GROUPS.contains(&group) => (&[], None),
        _ => (BELOW_CUSTOM, Some(NODES)),
    }
}

/// Whether it is an endpoint slice of one of these services.
fn is_slice_of(document: &Value, services: &BTreeSet<(&str, &str)>) -> bool {
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    document["kind"] == "EndpointSlice"
        && services
            .contains(&(text("/metadata/namespace"), text("/metadata/labels/kubernetes.io~1service-name")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kinds_below(api_version: &str, kind: &str) -> Vec<&'static str> {
        let document = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}});
        let key = ObjectKey::of(&document).expect("a key");
        related(&key).0.iter().map(|(_, kind)| *kind).collect()
    }

    #[test]
    fn each_kind_needs_what_belongs_to_it_and_nothing_more() {
        assert_eq!(kinds_below("v1", "ConfigMap"), Vec::<&str>::new());
        assert_eq!(kinds_below("v1", "Service"), ["EndpointSlice"]);
        assert_eq!(kinds_below("apps/v1", "Deployment"), ["Pod", "ReplicaSet", "ControllerRevision"]);
        assert_eq!(kinds_below("batch/v1", "CronJob"), ["Pod", "Job"]);
        assert_eq!(kinds_below("networking.k8s.io/v1", "Ingress"), Vec::<&str>::new());
        assert!(kinds_below("example.com/v1", "Database").contains(&"StatefulSet"));
    }
}
