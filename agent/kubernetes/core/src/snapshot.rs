//! The documents of one judgment, indexed: by name, by owner and by the object that an event speaks of.
//!
//! Built once in O(n log n), so that ten thousand pods are judged without scans. The order of the documents
//! changes nothing. What is not among the documents is never evidence.

use std::collections::BTreeMap;

use serde_json::Value;
use trimaran_model::time::Wall;

use crate::object::{Object, group_of};

/// What names an object: group, kind, namespace, name.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

/// A position in the list of objects of a [`Snapshot`].
type Index = usize;

/// Documents that belong together.
#[derive(Debug)]
pub struct Snapshot<'a> {
    objects: Vec<Object<'a>>,
    /// How many documents described each object.
    copies: Vec<u32>,
    children: Vec<Vec<Index>>,
    roots: Vec<Index>,
    keys: BTreeMap<Key<'a>, Index>,
    /// Events by kind and name of what they speak of.
    events: BTreeMap<(&'a str, &'a str), Vec<Event<'a>>>,
    /// Definitions of custom resources by the group and kind that they define.
    definitions: BTreeMap<(&'a str, &'a str), Index>,
    /// Endpoint slices and endpoints by namespace and service.
    endpoints: BTreeMap<(&'a str, &'a str), Vec<Index>>,
}

/// An event of `v1` or `events.k8s.io/v1`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event<'a> {
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
    /// `spec.containers{web}` when it speaks of one container.
    pub(crate) field: &'a str,
    pub(crate) first: Option<Wall>,
    pub(crate) last: Wall,
    /// `type: Warning`.
    pub(crate) is_warning: bool,
    group: Option<&'a str>,
    namespace: &'a str,
    uid: &'a str,
}

impl<'a> Snapshot<'a> {
    /// Of several documents of one object the newest counts: generation, then resourceVersion, then text.
    pub fn new(documents: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut snapshot = Self {
            objects: Vec::new(),
            copies: Vec::new(),
            children: Vec::new(),
            roots: Vec::new(),
            keys: BTreeMap::new(),
            events: BTreeMap::new(),
            definitions: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        };
        documents.into_iter().for_each(|document| snapshot.add(Object::new(document)));
        snapshot.link_owners();
        snapshot.link_events();
        snapshot.link_endpoints();
        snapshot.link_definitions();
        snapshot
    }

    fn add(&mut self, object: Object<'a>) {
        if object.kind().is_empty() || object.name().is_empty() {
            self.push(object);
            return;
        }
        let key = (object.group(), object.kind(), object.namespace(), object.name());
        if let Some(index) = self.keys.get(&key) {
            self.copies[*index] += 1;
            if age_rank(object) > age_rank(self.objects[*index]) {
                self.objects[*index] = object;
            }
            return;
        }
        self.keys.insert(key, self.objects.len());
        self.push(object);
    }

    fn push(&mut self, object: Object<'a>) {
        self.objects.push(object);
        self.copies.push(1);
    }

    fn link_owners(&mut self) {
        let mut by_uid: BTreeMap<&str, Index> = BTreeMap::new();
        for (index, object) in self.objects.iter().enumerate() {
            if !object.uid().is_empty() {
                by_uid.entry(object.uid()).or_insert(index);
            }
        }
        self.children = vec![Vec::new(); self.objects.len()];
        let mut owned = vec![false; self.objects.len()];
        for (child, object) in self.objects.iter().enumerate() {
            for reference in object.owners() {
                let owner = self.owner(&by_uid, *object, reference);
                if let Some(owner) = owner.filter(|owner| *owner != child)
                    && self.children[owner].last() != Some(&child)
                {
                    self.children[owner].push(child);
                    owned[child] = true;
                }
            }
        }
        for children in &mut self.children {
            children.sort_by_key(|child| sort_key(self.objects[*child]));
        }
        self.find_roots(&owned);
    }

    /// Those without an owner, and one object of each cycle of owners, so that everything is judged.
    fn find_roots(&mut self, owned: &[bool]) {
        let mut roots: Vec<Index> = (0..self.objects.len()).filter(|index| !owned[*index]).collect();
        let mut reached = vec![false; self.objects.len()];
        roots.iter().for_each(|root| self.reach(*root, &mut reached));
        let mut rest: Vec<Index> = (0..self.objects.len()).filter(|index| !reached[*index]).collect();
        rest.sort_by_key(|index| sort_key(self.objects[*index]));
        for index in rest {
            if !reached[index] {
                self.reach(index, &mut reached);
                roots.push(index);
            }
        }
        roots.sort_unstable();
        self.roots = roots;
    }

    fn reach(&self, root: Index, reached: &mut [bool]) {
        let mut open = vec![root];
        while let Some(index) = open.pop() {
            if !reached[index] {
                reached[index] = true;
                open.extend(&self.children[index]);
            }
        }
    }

    /// The owner by uid. By name only when one side has no uid: an owner that was made again is another one.
    fn owner(
        &self,
        by_uid: &BTreeMap<&str, Index>,
        child: Object<'a>,
        reference: &'a Value,
    ) -> Option<Index> {
        let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or("");
        if let Some(index) = by_uid.get(text("uid")) {
            return Some(*index);
        }
        let group = group_of(text("apiVersion"));
        let named = |namespace| self.keys.get(&(group, text("kind"), namespace, text("name"))).copied();
        let index = named(child.namespace()).or_else(|| named(""))?;
        (text("uid").is_empty() || self.objects[index].uid().is_empty()).then_some(index)
    }

    fn link_events(&mut self) {
        for object in &self.objects {
            if let Some((key, event)) = event(*object) {
                self.events.entry(key).or_default().push(event);
            }
        }
        for events in self.events.values_mut() {
            events.sort_by_key(|event| (event.last, event.reason, event.message));
        }
    }

    fn link_endpoints(&mut self) {
        for (index, object) in self.objects.iter().enumerate() {
            let service = match (object.group(), object.kind()) {
                ("discovery.k8s.io", "EndpointSlice") => object.label("kubernetes.io/service-name"),
                ("", "Endpoints") => Some(object.name()),
                _ => None,
            };
            if let Some(service) = service {
                self.endpoints.entry((object.namespace(), service)).or_default().push(index);
            }
        }
    }

    fn link_definitions(&mut self) {
        for (index, object) in self.objects.iter().enumerate() {
            let names = object.text("spec.group").zip(object.text("spec.names.kind"));
            if let ("CustomResourceDefinition", Some(names)) = (object.kind(), names) {
                self.definitions.insert(names, index);
            }
        }
    }

    /// Whether the definition of the object's kind declares a status for its version; `None` when the definition is
    /// not among the documents.
    pub(crate) fn declares_status(&self, object: Object<'a>) -> Option<bool> {
        let definition = self.objects[*self.definitions.get(&(object.group(), object.kind()))?];
        let version = object.text("apiVersion")?.rsplit('/').next()?;
        let versions = definition.list("spec.versions").iter();
        let of_version = |it: &&Value| it.get("name").and_then(Value::as_str) == Some(version);
        let version = versions.into_iter().find(of_version)?;
        let has = |path: &str| crate::object::at(version, path).is_some();
        Some(has("subresources.status") || has("schema.openAPIV3Schema.properties.status"))
    }

    /// All objects in the order of their documents, each once.
    pub fn objects(&self) -> impl Iterator<Item = Object<'a>> {
        self.objects.iter().copied()
    }

    /// Those that no other object owns. Events are records of others and not listed.
    pub fn roots(&self) -> impl Iterator<Item = Object<'a>> {
        self.roots.iter().map(|index| self.objects[*index]).filter(|object| !is_event(*object))
    }

    pub(crate) fn find(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<Object<'a>> {
        self.keys.get(&(group, kind, namespace, name)).map(|index| self.objects[*index])
    }

    fn index_of(&self, object: Object<'a>) -> Option<Index> {
        self.keys.get(&(object.group(), object.kind(), object.namespace(), object.name())).copied()
    }

    /// What the object owns, in order of kind, namespace and name.
    pub(crate) fn children(&self, object: Object<'a>) -> impl Iterator<Item = Object<'a>> {
        let children = self.index_of(object).map_or(&[][..], |index| self.children[index].as_slice());
        children.iter().map(|child| self.objects[*child])
    }

    pub(crate) fn children_of_kind(
        &self,
        object: Object<'a>,
        group: &'static str,
        kind: &'static str,
    ) -> impl Iterator<Item = Object<'a>> {
        self.children(object).filter(move |child| child.kind() == kind && child.group() == group)
    }

    /// How many documents described the object.
    pub(crate) fn copies(&self, object: Object<'a>) -> u32 {
        self.index_of(object).map_or(1, |index| self.copies[index])
    }

    /// The events about this very object (its uid, where both sides have one), oldest first.
    pub(crate) fn events(&self, object: Object<'a>) -> impl DoubleEndedIterator<Item = Event<'a>> {
        let events = self.events.get(&(object.kind(), object.name())).map_or(&[][..], Vec::as_slice);
        events.iter().copied().filter(move |event| {
            let other = |one: &str, two: &str| !one.is_empty() && !two.is_empty() && one != two;
            !other(event.uid, object.uid())
                && !other(event.namespace, object.namespace())
                && event.group.is_none_or(|group| group == object.group())
        })
    }

    /// Endpoint slices (and endpoints) of a service; empty when none is among the documents.
    pub(crate) fn endpoints(&self, service: Object<'a>) -> Vec<Object<'a>> {
        let known = self.endpoints.get(&(service.namespace(), service.name()));
        known.into_iter().flatten().map(|index| self.objects[*index]).collect()
    }
}

fn sort_key<'a>(object: Object<'a>) -> Key<'a> {
    (object.group(), object.kind(), object.namespace(), object.name())
}

/// Larger for the newer of two documents of one object.
fn age_rank(object: Object<'_>) -> (i64, u64, String) {
    let version = object.text("metadata.resourceVersion").and_then(|version| version.parse().ok());
    (object.count("metadata.generation").unwrap_or(0), version.unwrap_or(0), object.value().to_string())
}

pub(crate) fn is_event(object: Object<'_>) -> bool {
    object.kind() == "Event" && matches!(object.group(), "" | "events.k8s.io")
}

/// An event with a time; without one nothing shows whether it belongs to this deploy.
fn event(object: Object<'_>) -> Option<((&str, &str), Event<'_>)> {
    if !is_event(object) {
        return None;
    }
    let about = object.at("involvedObject").or_else(|| object.at("regarding"))?;
    let text = |field: &str| about.get(field).and_then(Value::as_str).unwrap_or("");
    let first = ["firstTimestamp", "deprecatedFirstTimestamp", "eventTime"];
    let last = ["series.lastObservedTime", "lastTimestamp", "deprecatedLastTimestamp", "eventTime"];
    let first = first.into_iter().find_map(|path| object.time(path));
    let last = last.into_iter().filter_map(|path| object.time(path)).max().or(first)?;
    let event = Event {
        reason: object.text("reason").unwrap_or(""),
        message: object.text("message").or_else(|| object.text("note")).unwrap_or(""),
        field: text("fieldPath"),
        first,
        last,
        is_warning: object.text("type") == Some("Warning"),
        group: about.get("apiVersion").and_then(Value::as_str).map(group_of),
        namespace: text("namespace"),
        uid: text("uid"),
    };
    Some(((text("kind"), text("name")), event))
}

impl Event<'_> {
    /// When what it says was seen first.
    pub(crate) fn began(&self) -> Wall {
        self.first.unwrap_or(self.last)
    }

    /// Whether it speaks of this container or of the whole pod.
    pub(crate) fn is_about_container(&self, container: &str) -> bool {
        match self.field.split_once('{') {
            Some((_, name)) => name.strip_suffix('}') == Some(container),
            None => true,
        }
    }
}

/// Whether an EndpointSlice or Endpoints has an address that takes traffic. `ready` absent means ready.
pub(crate) fn has_ready_endpoint(object: Object<'_>) -> bool {
    if object.kind() == "Endpoints" {
        return object.list("subsets").iter().any(|subset| {
            subset.get("addresses").and_then(Value::as_array).is_some_and(|it| !it.is_empty())
        });
    }
    object.list("endpoints").iter().any(|endpoint| {
        let addresses = endpoint.get("addresses").and_then(Value::as_array);
        let ready = crate::object::at(endpoint, "conditions.ready").and_then(Value::as_bool).unwrap_or(true);
        ready && addresses.is_some_and(|addresses| !addresses.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(kind: &str, name: &str, uid: &str, owner: Option<(&str, &str, &str)>) -> Value {
        let owners = owner
            .map(|(kind, name, uid)| json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}]));
        json!({"apiVersion": "v1", "kind": kind,
               "metadata": {"name": name, "uid": uid, "namespace": "shop", "ownerReferences": owners}})
    }

    #[test]
    fn an_owner_made_again_is_another_one() {
        let documents = [object("A", "a", "2", None), object("B", "b", "3", Some(("A", "a", "1")))];
        let snapshot = Snapshot::new(&documents);
        assert_eq!(snapshot.roots().count(), 2);
        assert_eq!(snapshot.children(Object::new(&documents[0])).count(), 0);
    }

    #[test]
    fn without_uids_names_join() {
        let documents = [object("A", "a", "", None), object("B", "b", "", Some(("A", "a", "")))];
        let snapshot = Snapshot::new(&documents);
        let roots: Vec<_> = snapshot.roots().map(Object::display).collect();
        assert_eq!(roots, ["A/a"]);
    }

    #[test]
    fn a_cycle_has_one_root() {
        let documents =
            [object("A", "a", "1", Some(("B", "b", "2"))), object("B", "b", "2", Some(("A", "a", "1")))];
        let snapshot = Snapshot::new(&documents);
        assert_eq!(snapshot.roots().map(Object::display).collect::<Vec<_>>(), ["A/a"]);
        let own = [object("A", "a", "1", Some(("A", "a", "1")))];
        assert_eq!(Snapshot::new(&own).roots().count(), 1);
    }

    #[test]
    fn the_newest_copy_counts_in_any_order() {
        let copy = |version: &str| json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "resourceVersion": version}});
        for documents in [[copy("9"), copy("10")], [copy("10"), copy("9")]] {
            let snapshot = Snapshot::new(&documents);
            let one: Vec<_> = snapshot.objects().collect();
            assert_eq!(one.len(), 1);
            assert_eq!(one[0].text("metadata.resourceVersion"), Some("10"));
            assert_eq!(snapshot.copies(one[0]), 2);
        }
    }

    #[test]
    fn events_of_both_groups_are_found_by_the_very_object() {
        let pod = object("Pod", "web-1", "7", None);
        let old = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "a", "namespace": "shop"}, "reason": "Failed",
            "message": "old words", "lastTimestamp": "1970-01-01T00:00:05Z",
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "namespace": "shop", "uid": "7"}
        });
        let new = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "b", "namespace": "shop"},
            "reason": "Failed", "note": "new words", "eventTime": "1970-01-01T00:00:01.000000Z",
            "series": {"count": 4, "lastObservedTime": "1970-01-01T00:00:09.000000Z"},
            "regarding": {"apiVersion": "v1", "kind": "Pod", "name": "web-1", "namespace": "shop", "uid": "7",
                          "fieldPath": "spec.containers{web}"}
        });
        let mut other = old.clone();
        other["involvedObject"]["uid"] = json!("another pod of that name");
        other["metadata"]["name"] = json!("c");
        let mut undated = old.clone();
        undated["lastTimestamp"] = json!(null);
        undated["metadata"]["name"] = json!("d");
        let documents = [new, other, old, undated, pod];
        let snapshot = Snapshot::new(&documents);
        let words: Vec<_> = snapshot
            .events(Object::new(&documents[4]))
            .map(|event| (event.message, event.began(), event.last))
            .collect();
        assert_eq!(words, [("old words", Wall(5000), Wall(5000)), ("new words", Wall(1000), Wall(9000))]);
        let event = snapshot.events(Object::new(&documents[4])).last().expect("two events");
        assert!(event.is_about_container("web") && !event.is_about_container("proxy"));
        assert_eq!(snapshot.roots().map(Object::display).collect::<Vec<_>>(), ["Pod/web-1"]);
    }

    #[test]
    fn endpoints_are_ready_unless_they_say_otherwise() {
        let slice = |conditions: Value| {
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "web-x"},
                   "endpoints": [{"addresses": ["10.0.0.1"], "conditions": conditions}]})
        };
        let ready = |value: &Value| has_ready_endpoint(Object::new(value));
        assert!(ready(&slice(json!({}))) && ready(&slice(json!({"ready": true}))));
        assert!(!ready(&slice(json!({"ready": false}))));
        let old = json!({"apiVersion": "v1", "kind": "Endpoints", "subsets": [{"notReadyAddresses": [{"ip": "10.0.0.1"}]}]});
        assert!(!ready(&old));
    }
}
