//! Whether the quotas of a namespace have capacity for what a release adds.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use trimaran_kubernetes_core::quota::{Planned, Shortage, shortages};
use trimaran_kubernetes_driver::{Marks, ObjectKey};

use crate::place::Place;
use crate::request::RequestError;

/// An object as it is and as it would be.
pub(crate) struct Counted<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) plural: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Value,
    /// The spec of one of its pods as the API server would take it.
    pub(crate) pod: Option<Value>,
}

/// What is known of the capacity in one namespace.
pub(crate) struct Capacity {
    pub(crate) namespace: String,
    /// Where the quotas can't be read nothing is known.
    pub(crate) shortages: Result<Vec<Shortage>, RequestError>,
}

impl Place {
    /// The capacity in each namespace that objects are in.
    pub(crate) async fn capacity(&self, objects: &[Counted<'_>]) -> Vec<Capacity> {
        let namespaces: BTreeSet<&str> = objects.iter().map(|it| it.key.namespace.as_str()).collect();
        let mut found = Vec::new();
        for namespace in namespaces.into_iter().filter(|it| !it.is_empty()) {
            let shortages = self.capacity_in(namespace, objects).await;
            found.push(Capacity { namespace: namespace.to_owned(), shortages });
        }
        found
    }

    async fn capacity_in(
        &self,
        namespace: &str,
        objects: &[Counted<'_>],
    ) -> Result<Vec<Shortage>, RequestError> {
        let quotas = self.list_in(namespace, "v1", "ResourceQuota").await?;
        if quotas.is_empty() {
            return Ok(Vec::new());
        }
        let limit_ranges = self.list_in(namespace, "v1", "LimitRange").await?;
        let inside = |it: &&Counted<'_>| it.key.namespace == namespace;
        let named: Vec<(String, &Counted<'_>)> =
            objects.iter().filter(inside).map(|it| (it.key.to_string(), it)).collect();
        let mut planned: Vec<Planned<'_>> = named.iter().map(|(name, it)| planned(name, it)).collect();
        let (kept, names) = (json!({}), self.kept_in(namespace, objects));
        planned.extend(names.iter().map(|name| Planned {
            plural: "secrets",
            group: "",
            kind: "Secret",
            name,
            before: None,
            after: &kept,
            pod: None,
        }));
        Ok(shortages(&planned, &quotas, &limit_ranges))
    }

    /// What others made is kept in a Secret of the target's namespace, for each object that is taken over.
    fn kept_in(&self, namespace: &str, objects: &[Counted<'_>]) -> Vec<String> {
        let is_taken_over = |it: &&Counted<'_>| {
            it.before.as_ref().is_some_and(|before| Marks::of(before).installation.is_none())
        };
        let here = objects.iter().filter(|_| namespace == self.namespace);
        here.filter(is_taken_over).map(|it| format!("{} as it was", it.key)).collect()
    }
}

fn planned<'a>(name: &'a str, object: &'a Counted<'_>) -> Planned<'a> {
    Planned {
        plural: &object.plural,
        group: object.key.group(),
        kind: &object.key.kind,
        name,
        before: object.before.as_ref(),
        after: &object.after,
        pod: object.pod.as_ref(),
    }
}
