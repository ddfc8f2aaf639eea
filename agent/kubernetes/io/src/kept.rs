//! What objects of others were before a release took them over, kept beside them in their cluster, and put back from
//! there.
//!
//! Each is a Secret of its own in the namespace of the target: so it outlasts any agent, needs no rights beside those of a
//! target, and the values of a Secret that is taken over never leave the cluster. It goes with its object, or when that is
//! put back.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use trimaran_agent_core::Permit;
use trimaran_kubernetes_driver::{MANAGER, Marks, ObjectKey, Refusal, Reply, is_same_content};

use crate::apply::NoChange;
use crate::discovery::Served;
use crate::ownership::{in_version, patch};
use crate::place::Place;
use crate::request::{APPLY, JSON, JSON_PATCH, Method, RequestError, encoded};
use crate::versions::{uid_of, version_of};

/// The value of the Secret that holds the object.
const FIELD: &str = "object";
/// What an API server takes as the values of one Secret.
const BYTES_MAX: usize = 1 << 20;
/// No object is larger when it is read back.
const OBJECT_BYTES_MAX: u64 = 16 << 20;
/// Parts of an object that are no content of its owner's.
const NOT_PUT_BACK: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];
/// Annotations that a controller keeps for itself.
const OF_CONTROLLERS: &str = "deployment.kubernetes.io/";

impl Place {
    /// Keeps an object as it is.
    pub(crate) async fn keep(
        &self,
        key: &ObjectKey,
        object: &Value,
        permit: &Permit,
    ) -> Result<(), NoChange> {
        let data = packed(object);
        if data.len() > BYTES_MAX {
            let message = "it is too large to be kept as it was, so it can't be taken over".to_owned();
            return Err(NoChange::Refused(Refusal::Invalid { message }));
        }
        let name = name_of(uid_of(object));
        let mut secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "trimaran.dev/kept-object",
            "metadata": {"name": name, "annotations": {"trimaran.dev/kept": key.to_string()}},
            "data": {FIELD: STANDARD.encode(data)},
        });
        // An object of another namespace can't own it.
        if key.namespace.is_empty() || key.namespace == self.namespace {
            secret["metadata"]["ownerReferences"] = json!([{
                "apiVersion": object["apiVersion"], "kind": object["kind"], "name": key.name,
                "uid": uid_of(object),
            }]);
        }
        let path = format!("{}?fieldManager={MANAGER}&force=true", self.kept_path(uid_of(object)));
        self.change(permit, Method::PATCH, &path, APPLY, &secret).await?;
        Ok(())
    }

    /// Makes an object what it was when it was kept. Begun again it does what is left of it.
    pub(crate) async fn put_back(
        &self,
        key: &ObjectKey,
        uid: &str,
        version: &str,
        permit: &Permit,
    ) -> Result<Reply, NoChange> {
        let served = self.must_serve(key).await?;
        let live = self.before(&served, key, uid, version).await?;
        let is_marked = Marks::of(&live).installation.is_some();
        let Some(kept) = self.kept(uid).await? else {
            if is_marked {
                let message = format!("what {key} was before it was taken over is not kept any more");
                return Err(NoChange::Refused(Refusal::Invalid { message }));
            }
            return Ok(Reply::Applied { object: self.live(key, &live).await?, changed: false });
        };
        let is_scaled = self.live(key, &live).await?.scaled_by.is_some();
        let mut after = live.clone();
        if is_marked {
            let mut body = vec![in_version(version_of(&live))];
            body.extend(restoring(&kept, &live, is_scaled));
            after = self.patch_json(&served, key, &Value::Array(body), permit).await?;
        }
        // Who owned which field is written last: the change before it made them Trimaran's. Where others changed the
        // object since, its fields are theirs.
        let is_as_kept = restoring(&kept, &after, is_scaled).is_empty();
        let owners = kept.pointer("/metadata/managedFields").filter(|_| is_as_kept);
        if let Some(owners) = owners {
            let body = patch(version_of(&after), owners.clone());
            after = self.patch_json(&served, key, &body, permit).await?;
        }
        self.forget(uid, permit).await?;
        let changed = !is_same_content(&live, &after);
        Ok(Reply::Applied { object: self.live(key, &after).await?, changed })
    }

    async fn patch_json(
        &self,
        served: &Served,
        key: &ObjectKey,
        body: &Value,
        permit: &Permit,
    ) -> Result<Value, NoChange> {
        let path = format!("{}?fieldManager={MANAGER}", served.path(&key.namespace, &key.name));
        self.change(permit, Method::PATCH, &path, JSON_PATCH, body).await
    }

    fn kept_path(&self, uid: &str) -> String {
        format!("/api/v1/namespaces/{}/secrets/{}", encoded(&self.namespace), encoded(&name_of(uid)))
    }

    async fn kept(&self, uid: &str) -> Result<Option<Value>, NoChange> {
        let secret = match self.request(Method::GET, &self.kept_path(uid), JSON, None).await {
            Ok(secret) => secret,
            Err(error) if error.code() == Some(404) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let object = unpacked(&secret).ok_or_else(|| {
            RequestError::Silent(format!("the Secret {} can't be read any more", name_of(uid)))
        })?;
        Ok(Some(object))
    }

    async fn forget(&self, uid: &str, permit: &Permit) -> Result<(), NoChange> {
        match self.change(permit, Method::DELETE, &self.kept_path(uid), JSON, &json!({})).await {
            Ok(_) | Err(NoChange::Refused(Refusal::Moved)) => Ok(()),
            Err(other) => Err(other),
        }
    }
}

fn name_of(uid: &str) -> String {
    format!("trimaran-kept-{uid}")
}

fn packed(object: &Value) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(object.to_string().as_bytes()).expect("writing to memory does not fail");
    packed.finish().expect("writing to memory does not fail")
}

fn unpacked(secret: &Value) -> Option<Value> {
    let packed = STANDARD.decode(secret.pointer(&format!("/data/{FIELD}"))?.as_str()?).ok()?;
    let mut text = String::new();
    GzDecoder::new(packed.as_slice()).take(OBJECT_BYTES_MAX).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The operations of a JSON patch that make `live` what `kept` was.
fn restoring(kept: &Value, live: &Value, is_scaled: bool) -> Vec<Value> {
    let mut kept = kept.clone();
    if let (true, Some(replicas), Some(now)) =
        (is_scaled, kept.pointer_mut("/spec/replicas"), live.pointer("/spec/replicas"))
    {
        *replicas = now.clone();
    }
    let mut operations = Vec::new();
    let empty = Map::new();
    let (before, now) = (kept.as_object().unwrap_or(&empty), live.as_object().unwrap_or(&empty));
    for name in before.keys().chain(now.keys().filter(|name| !before.contains_key(*name))) {
        if !NOT_PUT_BACK.contains(&name.as_str()) {
            let value = before.get(name).cloned();
            operations.extend(operation(&format!("/{name}"), value, now.get(name)));
        }
    }
    operations.extend(operation(
        "/metadata/labels",
        kept.pointer("/metadata/labels").cloned(),
        live.pointer("/metadata/labels"),
    ));
    operations.extend(operation(
        "/metadata/annotations",
        annotations(&kept, live),
        live.pointer("/metadata/annotations"),
    ));
    operations
}

fn operation(path: &str, before: Option<Value>, now: Option<&Value>) -> Option<Value> {
    match (before, now) {
        (Some(before), Some(now)) if before == *now => None,
        (Some(before), _) => Some(json!({"op": "add", "path": path, "value": before})),
        (None, Some(_)) => Some(json!({"op": "remove", "path": path})),
        (None, None) => None,
    }
}

/// Those of before, with what a controller counts there as it is now.
fn annotations(kept: &Value, live: &Value) -> Option<Value> {
    let of = |object: &Value| {
        object.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default()
    };
    let mut annotations = of(kept);
    annotations.retain(|name, _| !name.starts_with(OF_CONTROLLERS));
    annotations.extend(of(live).into_iter().filter(|(name, _)| name.starts_with(OF_CONTROLLERS)));
    (!annotations.is_empty()).then_some(Value::Object(annotations))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 2},
            "metadata": {"name": "web", "uid": "u", "resourceVersion": "5", "labels": {"team": "a"},
                         "annotations": {"deployment.kubernetes.io/revision": "1", "owner": "a"}},
            "spec": {"replicas": 2, "template": {"image": "old"}},
        })
    }

    fn live() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 4},
            "metadata": {"name": "web", "uid": "u", "resourceVersion": "9",
                         "annotations": {"deployment.kubernetes.io/revision": "2", "trimaran.dev/fence": "3"}},
            "spec": {"replicas": 4, "template": {"image": "new"}}, "extra": 1,
        })
    }

    #[test]
    fn an_object_is_kept_whole() {
        let secret = json!({"data": {FIELD: STANDARD.encode(packed(&kept()))}});
        assert_eq!(unpacked(&secret), Some(kept()));
        assert_eq!(unpacked(&json!({"data": {}})), None);
    }

    #[test]
    fn everything_of_its_owner_is_put_back_and_nothing_else_is_touched() {
        assert_eq!(
            restoring(&kept(), &live(), false),
            [
                json!({"op": "add", "path": "/spec", "value": {"replicas": 2, "template": {"image": "old"}}}),
                json!({"op": "remove", "path": "/extra"}),
                json!({"op": "add", "path": "/metadata/labels", "value": {"team": "a"}}),
                json!({"op": "add", "path": "/metadata/annotations",
                       "value": {"owner": "a", "deployment.kubernetes.io/revision": "2"}}),
            ]
        );
        assert_eq!(restoring(&kept(), &kept(), false), Vec::<Value>::new());
    }

    #[test]
    fn replicas_under_an_autoscaler_stay_as_they_are() {
        let operations = restoring(&kept(), &live(), true);
        assert_eq!(operations[0]["value"], json!({"replicas": 4, "template": {"image": "old"}}));
    }
}
