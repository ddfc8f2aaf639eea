//! From the objects of a release, as they were planned, to what is applied on one target.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use trimaran_kubernetes_core::object::Object;
use trimaran_model::id::Digest;
use trimaran_model::pipeline;
use trimaran_model::release::{Artifact, ArtifactLocation, KubernetesRelease};

use crate::order::{InvalidRelease, OnConflict, Release};

/// Lists of containers in a pod's specification.
const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

/// The release of a target: objects without a namespace go to the target's, and containers that are named get their
/// images. `is_cluster_scoped` decides about kinds that are not Kubernetes' own.
///
/// # Errors
/// When the documents are no release.
pub fn release_of(
    digest: Digest,
    release: &KubernetesRelease,
    documents: Vec<Value>,
    namespace: &str,
    is_cluster_scoped: &dyn Fn(&Value) -> bool,
) -> Result<Release, InvalidRelease> {
    let prepared = documents.into_iter().map(|mut document| {
        let object = Object::new(&document);
        if !object.is_cluster_scoped() && !is_cluster_scoped(&document) {
            place(&mut document, namespace);
        }
        set_images(&mut document, &release.images);
        document
    });
    let on_conflict = match release.on_conflict {
        pipeline::OnConflict::Refuse => OnConflict::Refuse,
        pipeline::OnConflict::Take => OnConflict::Take,
        pipeline::OnConflict::Leave => OnConflict::Leave,
    };
    Release::new(digest, prepared.collect(), release.stability, on_conflict)
}

fn place(document: &mut Value, namespace: &str) {
    let Some(metadata) = document.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let is_named = metadata.get("namespace").and_then(Value::as_str).is_some_and(|it| !it.is_empty());
    if !is_named {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
}

/// Wherever a pod is described, also in kinds of others.
fn set_images(value: &mut Value, images: &BTreeMap<String, Artifact>) {
    match value {
        Value::Object(map) => {
            for list in CONTAINERS {
                let containers = map.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
                containers.filter_map(Value::as_object_mut).for_each(|it| set_image(it, images));
            }
            map.values_mut().for_each(|value| set_images(value, images));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| set_images(item, images)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn set_image(container: &mut Map<String, Value>, images: &BTreeMap<String, Artifact>) {
    let name = container.get("name").and_then(Value::as_str);
    if let Some(artifact) = name.and_then(|name| images.get(name)) {
        container.insert("image".to_owned(), pinned(artifact).into());
    }
}

/// `registry.corp/shop/web@sha256:HEX`: a tag may be moved, a digest can't.
fn pinned(artifact: &Artifact) -> String {
    let (ArtifactLocation::Url(name) | ArtifactLocation::Path(name)) = &artifact.location;
    format!("{name}@sha256:{}", artifact.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use trimaran_model::release::Content;
    use trimaran_model::time::Millis;

    fn release(images: &[(&str, &str)]) -> KubernetesRelease {
        let artifact = |name: &str| Artifact {
            name: "app".parse().expect("a name"),
            version: "v2".to_owned(),
            sha256: Digest([0xab; 32]),
            location: ArtifactLocation::Url(name.to_owned()),
        };
        KubernetesRelease {
            objects: Content { digest: Digest([9; 32]), bytes: 2 },
            manifests: None,
            images: images.iter().map(|(name, image)| ((*name).to_owned(), artifact(image))).collect(),
            stability: Millis::seconds(20),
            on_conflict: pipeline::OnConflict::Leave,
        }
    }

    #[test]
    fn objects_get_namespace_and_images_of_their_target() {
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {
                "initContainers": [{"name": "web", "image": "a"}],
                "containers": [{"name": "web"}, {"name": "log", "image": "b"}],
            }}},
        });
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}});
        let global = json!({"apiVersion": "example.com/v1", "kind": "Global", "metadata": {"name": "g"}});
        let elsewhere =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "other"}});
        let documents = vec![deployment, role, global, elsewhere];
        let release = release(&[("web", "registry.corp/web")]);
        let is_global = |document: &Value| document["kind"] == "Global";
        let release =
            release_of(Digest([1; 32]), &release, documents, "shop", &is_global).expect("a release");
        let named =
            |kind: &str| release.manifests.iter().find(|it| it.key.kind == kind).expect("it is there");
        let namespace = |kind: &str| named(kind).document["metadata"].get("namespace").cloned();
        assert_eq!(namespace("Deployment"), Some(json!("shop")));
        assert_eq!((namespace("ClusterRole"), namespace("Global")), (None, None));
        assert_eq!(namespace("Service"), Some(json!("other")));
        let pod = &named("Deployment").document["spec"]["template"]["spec"];
        let pinned = format!("registry.corp/web@sha256:{}", "ab".repeat(32));
        assert_eq!(pod["containers"][0]["image"], json!(pinned));
        assert_eq!(pod["initContainers"][0]["image"], json!(pinned));
        assert_eq!(pod["containers"][1]["image"], json!("b"));
        assert_eq!(release.on_conflict, OnConflict::Leave);
    }
}
