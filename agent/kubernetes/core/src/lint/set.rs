//! A set of objects as the rules of the lint see it: by identity, with its workloads, pod specs and scalers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::identity::{Identity, text};

/// What is known about where the set goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Where objects without a namespace go.
    pub namespace: Option<&'a str>,
    /// Names and namespaces of the targets of the set. Objects of another namespace are errors.
    pub targets: &'a [(String, String)],
}

/// A set with what several rules ask for.
pub(super) struct Set<'a> {
    pub(super) objects: &'a [Value],
    pub(super) options: Options<'a>,
    /// Indexes of the objects of one identity; more than one is an error of its own.
    pub(super) by_identity: BTreeMap<Identity, Vec<usize>>,
    /// The lowest number of replicas that an autoscaler of the set may choose, by workload.
    scaled: BTreeMap<Workload, i64>,
    /// Indexes of workloads by namespace and one label of their pods.
    pub(super) by_label: BTreeMap<(Option<String>, String, String), Vec<usize>>,
}

/// Namespace, kind and name.
type Workload = (Option<String>, String, String);

impl<'a> Set<'a> {
    pub(super) fn new(objects: &'a [Value], options: Options<'a>) -> Self {
        let (by_identity, scaled, by_label) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut set = Self { objects, options, by_identity, scaled, by_label };
        for (index, object) in objects.iter().enumerate() {
            if let Some(identity) = Identity::of(object, options.namespace) {
                set.by_identity.entry(identity).or_default().push(index);
            }
            set.add_scaler(index, object);
            set.add_labels(index, object);
        }
        set
    }

    fn add_scaler(&mut self, index: usize, object: &Value) {
        let minimum = match (crate::identity::group(object), text(object, "/kind")) {
            ("autoscaling", Some("HorizontalPodAutoscaler")) => "/spec/minReplicas",
            ("keda.sh", Some("ScaledObject")) => "/spec/minReplicaCount",
            _ => return,
        };
        let Some(name) = text(object, "/spec/scaleTargetRef/name") else { return };
        let kind = text(object, "/spec/scaleTargetRef/kind").unwrap_or("Deployment");
        let workload = (self.namespace(index), kind.to_owned(), name.to_owned());
        self.scaled.insert(workload, object.pointer(minimum).and_then(Value::as_i64).unwrap_or(1));
    }

    fn add_labels(&mut self, index: usize, object: &Value) {
        let Some(template) = template_pointer(object).filter(|it| !it.is_empty()) else { return };
        let labels = object.pointer(&format!("{template}/metadata/labels")).and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            if let Some(value) = value.as_str() {
                let label = (self.namespace(index), key.clone(), value.to_owned());
                self.by_label.entry(label).or_default().push(index);
            }
        }
    }

    /// Objects of a kind of one group, with their indexes.
    pub(super) fn of_kind<'s>(
        &'s self,
        group: &'s str,
        kind: &'s str,
    ) -> impl Iterator<Item = (usize, &'a Value)> + use<'s, 'a> {
        let all = self.objects.iter().enumerate();
        all.filter(move |(_, it)| text(it, "/kind") == Some(kind) && crate::identity::group(it) == group)
    }

    /// Where an object goes.
    pub(super) fn namespace(&self, index: usize) -> Option<String> {
        text(&self.objects[index], "/metadata/namespace").or(self.options.namespace).map(str::to_owned)
    }

    /// An object of the namespace of another one, by kind and name.
    pub(super) fn neighbour(&self, index: usize, group: &str, kind: &str, name: &str) -> Option<usize> {
        let wanted = Identity {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: self.namespace(index),
            name: name.to_owned(),
        };
        self.by_identity.get(&wanted)?.first().copied()
    }

    /// The lowest number of replicas that an autoscaler of the set may choose for a workload.
    pub(super) fn scaled(&self, index: usize) -> Option<i64> {
        let (kind, name) =
            (text(&self.objects[index], "/kind")?, text(&self.objects[index], "/metadata/name")?);
        self.scaled.get(&(self.namespace(index), kind.to_owned(), name.to_owned())).copied()
    }
}

/// The pod templates of workloads whose pods Kubernetes makes from them as they stand, by kind: JSON pointers.
/// Templates of most custom resources are merged with others first, and are not looked at.
pub(super) fn template_pointer(object: &Value) -> Option<&'static str> {
    let kind = text(object, "/kind")?;
    match (crate::identity::group(object), kind) {
        ("", "Pod") => Some(""),
        ("", "PodTemplate") => Some("/template"),
        ("", "ReplicationController")
        | ("apps" | "extensions", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => Some("/spec/template"),
        ("argoproj.io", "Rollout") if object.pointer("/spec/template").is_some() => Some("/spec/template"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

/// The pod specs of a set: index of the object, pointer of the spec, and the spec.
pub(super) fn pod_specs<'a>(set: &Set<'a>) -> impl Iterator<Item = (usize, String, &'a Value)> {
    set.objects.iter().enumerate().filter_map(|(index, object)| {
        let pointer = format!("{}/spec", template_pointer(object)?);
        object.pointer(&pointer).map(|spec| (index, pointer, spec))
    })
}

/// The containers of a pod spec with their pointers: main ones, then init containers.
pub(super) fn containers<'a>(spec: &'a Value, pointer: &str) -> Vec<(String, &'a Value)> {
    let mut found = Vec::new();
    for key in ["containers", "initContainers"] {
        for (index, container) in list(spec, key).iter().enumerate() {
            found.push((format!("{pointer}/{key}/{index}"), container));
        }
    }
    found
}

/// A list below a value; empty when there is none.
pub(super) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
