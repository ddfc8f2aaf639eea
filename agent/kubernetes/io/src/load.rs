//! From the bytes of a release to what is applied on this target.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use trimaran_kubernetes_core::object::Object;
use trimaran_kubernetes_driver::{Loaded, ObjectKey, release_of};
use trimaran_model::id::Digest;
use trimaran_model::release::KubernetesRelease;

use crate::place::Place;
use crate::request::RequestError;

impl Place {
    /// The release of this target, of the documents that were planned.
    pub(crate) async fn load(&self, digest: Digest, release: &KubernetesRelease, content: &[u8]) -> Loaded {
        let mut documents: Vec<Value> = match serde_json::from_slice(content) {
            Ok(documents) => documents,
            Err(error) => {
                return Loaded::Invalid {
                    message: format!("the objects of the release are no JSON: {error}"),
                };
            }
        };
        let global = match self.global_kinds(&documents).await {
            Ok(global) => global,
            Err(error) => return Loaded::Unavailable { message: error.to_string() },
        };
        if let Err(loaded) = self.open_all(&mut documents).await {
            return loaded;
        }
        let is_global = |document: &Value| {
            ObjectKey::of(document).is_some_and(|key| global.contains(&(key.api_version, key.kind)))
        };
        match release_of(digest, release, documents, &self.namespace, &is_global) {
            Ok(release) => Loaded::Release(Arc::new(release)),
            Err(invalid) => Loaded::Invalid { message: invalid.to_string() },
        }
    }

    /// Kinds without namespaces beside Kubernetes' own, by version and kind.
    async fn global_kinds(&self, documents: &[Value]) -> Result<BTreeSet<(String, String)>, RequestError> {
        let mut global = defined_global(documents);
        let mut asked = BTreeSet::new();
        for key in documents.iter().filter_map(ObjectKey::of) {
            // Kubernetes' own groups have no dot, or end with `k8s.io`; their kinds are known.
            let is_custom = key.group().contains('.') && !key.group().ends_with(".k8s.io");
            let kind = (key.api_version.clone(), key.kind.clone());
            if !is_custom || global.contains(&kind) || !asked.insert(kind.clone()) {
                continue;
            }
            if self.served(&key).await?.is_some_and(|served| !served.namespaced) {
                global.insert(kind);
            }
        }
        Ok(global)
    }
}

/// The kinds without namespaces that definitions among the documents define.
fn defined_global(documents: &[Value]) -> BTreeSet<(String, String)> {
    let mut global = BTreeSet::new();
    for document in documents.iter().filter(|it| Object::new(it).kind() == "CustomResourceDefinition") {
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
        let (Some(group), Some(kind)) = (text("/spec/group"), text("/spec/names/kind")) else { continue };
        if text("/spec/scope") != Some("Cluster") {
            continue;
        }
        for version in document.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten() {
            let version = version["name"].as_str().unwrap_or_default();
            global.insert((format!("{group}/{version}"), kind.to_owned()));
        }
    }
    global
}
