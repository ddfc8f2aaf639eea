//! Which versions of configuration nothing uses any more.

use std::collections::BTreeSet;

use serde_json::Value;
use trimaran_kubernetes_core::config::collect;
use trimaran_kubernetes_driver::{ObjectKey, Refusal};
use trimaran_model::id::Digest;

use crate::place::Place;
use crate::releases::{Releases, documents};

/// Live objects that may name a version; what else does is in a release that is kept.
const USERS: [(&str, &str); 11] = [
    ("v1", "Pod"),
    ("v1", "ReplicationController"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "ControllerRevision"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "CronJob"),
    ("batch/v1", "Job"),
    ("networking.k8s.io/v1", "Ingress"),
];

impl Place {
    /// Those of the versions that neither a kept release nor a live object names. Where one of them can't be read,
    /// nothing is known.
    pub(crate) async fn unused(
        &self,
        versions: Vec<ObjectKey>,
        retained: &BTreeSet<Digest>,
        releases: &impl Releases,
    ) -> Result<BTreeSet<ObjectKey>, Refusal> {
        let mut kept = Vec::new();
        for digest in retained {
            let unknown = |message| Refusal::Unavailable { message };
            kept.push(documents(releases, *digest).await.map_err(unknown)?);
        }
        let mut existing: Vec<Value> = Vec::new();
        for key in &versions {
            let Some(served) = self.served(key).await.map_err(|error| error.refusal())? else { continue };
            existing.extend(self.get(&served, key).await.map_err(|error| error.refusal())?);
        }
        let mut live = Vec::new();
        let namespaces: BTreeSet<&str> = versions.iter().map(|key| key.namespace.as_str()).collect();
        for namespace in namespaces {
            for (version, kind) in USERS {
                let listed = self.list_in(namespace, version, kind).await;
                live.extend(listed.map_err(|error| error.refusal())?);
            }
        }
        let removable = collect(&existing, &live, &kept, &[]);
        let is_removable = |key: &ObjectKey| {
            removable.iter().any(|it| {
                it.kind.as_str() == key.kind
                    && it.name == key.name
                    && it.namespace.as_deref().unwrap_or_default() == key.namespace
            })
        };
        Ok(versions.into_iter().filter(is_removable).collect())
    }
}
