//! Changes of objects: applied by fields, guarded by uid and version.

use serde_json::{Value, json};
use trimaran_agent_core::Permit;
use trimaran_kubernetes_driver::{
    Expect, FieldOwner, MANAGER, ObjectKey, OnConflict, Refusal, Reply, is_replaced, is_same_content,
};
use trimaran_process::clock::boot_time;

use crate::discovery::Served;
use crate::ownership::{owns_replicas, patch, taken_over, without};
use crate::place::Place;
use crate::request::{APPLY, JSON, JSON_PATCH, MERGE, Method, RequestError};
use crate::versions::{uid_of, version_of};

/// Who owns the number of replicas between us and a scaler that has not set it yet.
const HANDOVER: &str = "trimaran-handover";
/// Fields of others are left out at most so often: each answer names all of them.
const CONFLICTS_MAX: usize = 4;

/// Why a change has no reply of its own.
pub(crate) enum NoChange {
    /// The permit ended before it was sent.
    Unmade,
    Refused(Refusal),
}

impl From<RequestError> for NoChange {
    fn from(error: RequestError) -> Self {
        Self::Refused(error.refusal())
    }
}

/// What is applied.
pub(crate) struct Wanted<'a> {
    pub(crate) key: &'a ObjectKey,
    pub(crate) document: Value,
    pub(crate) expect: Expect,
    pub(crate) on_conflict: OnConflict,
    /// What is there is of others yet.
    pub(crate) keep: bool,
}

impl Place {
    /// A change is sent only while its permit allows it.
    pub(crate) async fn change(
        &self,
        permit: &Permit,
        method: Method,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> Result<Value, NoChange> {
        if !permit.allows(boot_time()) {
            return Err(NoChange::Unmade);
        }
        Ok(self.request(method, path, kind, Some(body)).await?)
    }

    pub(crate) async fn apply(&self, wanted: Wanted<'_>, permit: &Permit) -> Result<Reply, NoChange> {
        let served = self.must_serve(wanted.key).await?;
        match wanted.expect {
            Expect::Absent => self.create(&served, wanted, permit).await,
            Expect::Exists { ref uid, ref resource_version } => {
                let before = self.before(&served, wanted.key, uid, resource_version).await?;
                if wanted.keep {
                    self.keep(wanted.key, &before, permit).await?;
                }
                self.update(&served, wanted, before, permit).await
            }
        }
    }

    /// Creates an object, and does nothing when there is one of its name.
    ///
    /// It is applied and not posted: of what is posted, an API server counts its own defaults as set by whoever posted it,
    /// and someone else who sets such a field would take it from the release.
    async fn create(&self, served: &Served, wanted: Wanted<'_>, permit: &Permit) -> Result<Reply, NoChange> {
        let (path, body) = creation(served, wanted.key, &wanted.document, "");
        let after = self.change(permit, Method::PATCH, &path, APPLY, &body).await?;
        Ok(Reply::Applied { object: self.live(wanted.key, &after).await?, changed: true })
    }

    /// The object that a change expects.
    pub(crate) async fn before(
        &self,
        served: &Served,
        key: &ObjectKey,
        uid: &str,
        version: &str,
    ) -> Result<Value, NoChange> {
        let before = self.request(Method::GET, &served.path(&key.namespace, &key.name), JSON, None).await?;
        if uid_of(&before) != uid || version_of(&before) != version {
            return Err(NoChange::Refused(Refusal::Moved));
        }
        Ok(before)
    }

    async fn update(
        &self,
        served: &Served,
        wanted: Wanted<'_>,
        before: Value,
        permit: &Permit,
    ) -> Result<Reply, NoChange> {
        let path = served.path(&wanted.key.namespace, &wanted.key.name);
        let mut live = before.clone();
        if let Some(managed_fields) = taken_over(&live) {
            let patch = patch(version_of(&live), managed_fields);
            live = self.change(permit, Method::PATCH, &path, JSON_PATCH, &patch).await?;
        }
        let leaves_replicas = wanted.document.pointer("/spec/replicas").is_none();
        if leaves_replicas && owns_replicas(&live) {
            let handed = handover(&wanted.document, &live);
            let query = format!("?fieldManager={HANDOVER}&force=true");
            live = self.change(permit, Method::PATCH, &format!("{path}{query}"), APPLY, &handed).await?;
        }
        let mut document = wanted.document;
        let mut force = wanted.on_conflict == OnConflict::Take;
        for _ in 0..CONFLICTS_MAX {
            let body = expecting(&document, uid_of(&live), version_of(&live));
            let query = format!("?fieldManager={MANAGER}&fieldValidation=Strict&force={force}");
            let applied = self.change(permit, Method::PATCH, &format!("{path}{query}"), APPLY, &body).await;
            let (fields, message) = match applied {
                Ok(after) => {
                    let changed = !is_same_content(&before, &after);
                    return Ok(Reply::Applied { object: self.live(wanted.key, &after).await?, changed });
                }
                Err(NoChange::Refused(Refusal::FieldConflict { fields, message })) => (fields, message),
                Err(other) => return Err(other),
            };
            let foreign: Vec<FieldOwner> =
                fields.into_iter().filter(|field| !is_replaced(&field.manager)).collect();
            match (foreign.is_empty(), wanted.on_conflict) {
                (true, _) => force = true,
                (false, OnConflict::Leave) => document = without(&document, &foreign),
                (false, OnConflict::Refuse | OnConflict::Take) => {
                    return Err(NoChange::Refused(Refusal::FieldConflict { fields: foreign, message }));
                }
            }
        }
        Err(NoChange::Refused(Refusal::Moved))
    }

    /// Merges some fields into an object that exists, of this uid and version. They become those of `manager`.
    pub(crate) async fn edit(
        &self,
        key: &ObjectKey,
        [uid, version]: [&str; 2],
        merge: &Value,
        manager: &str,
        permit: &Permit,
    ) -> Result<Reply, NoChange> {
        let served = self.must_serve(key).await?;
        let before = self.before(&served, key, uid, version).await?;
        let path = format!("{}?fieldManager={manager}", served.path(&key.namespace, &key.name));
        let body = expecting(merge, uid, version);
        let after = self.change(permit, Method::PATCH, &path, MERGE, &body).await?;
        let changed = !is_same_content(&before, &after);
        Ok(Reply::Applied { object: self.live(key, &after).await?, changed })
    }

    pub(crate) async fn delete(
        &self,
        key: &ObjectKey,
        uid: &str,
        version: Option<&str>,
        permit: &Permit,
    ) -> Result<Reply, NoChange> {
        let Some(served) = self.served(key).await? else { return Ok(Reply::Deleted) };
        let path = served.path(&key.namespace, &key.name);
        // A workload is gone when its pods are; anything else has nothing below it to wait for.
        let is_workload = matches!(key.group(), "apps" | "batch");
        let propagation = if is_workload { "Foreground" } else { "Background" };
        let mut options = json!({"propagationPolicy": propagation, "preconditions": {"uid": uid}});
        if let Some(version) = version {
            options["preconditions"]["resourceVersion"] = version.into();
        }
        match self.change(permit, Method::DELETE, &path, JSON, &options).await {
            Ok(_) => Ok(Reply::Deleted),
            Err(NoChange::Refused(Refusal::Moved)) => {
                match self.request(Method::GET, &path, JSON, None).await {
                    Err(error) if error.code() == Some(404) => Ok(Reply::Deleted),
                    Err(error) => Err(error.into()),
                    Ok(_) => Err(NoChange::Refused(Refusal::Moved)),
                }
            }
            Err(other) => Err(other),
        }
    }

    pub(crate) async fn must_serve(&self, key: &ObjectKey) -> Result<Served, NoChange> {
        let not_served = || {
            let message = format!("the cluster does not serve {} of {}", key.kind, key.api_version);
            NoChange::Refused(Refusal::NotServed { message })
        };
        self.served(key).await?.ok_or_else(not_served)
    }
}

/// Path and body that apply a document only where there is no object of its name: none has this version, which is that
/// of an empty store, and for one that is not there no version is compared.
pub(crate) fn creation(served: &Served, key: &ObjectKey, document: &Value, more: &str) -> (String, Value) {
    let query = format!("?fieldManager={MANAGER}&fieldValidation=Strict&force=true{more}");
    let mut document = document.clone();
    document["metadata"]["resourceVersion"] = "1".into();
    (format!("{}{query}", served.path(&key.namespace, &key.name)), document)
}

fn expecting(document: &Value, uid: &str, version: &str) -> Value {
    let mut document = document.clone();
    document["metadata"]["uid"] = uid.into();
    document["metadata"]["resourceVersion"] = version.into();
    document
}

/// The live number of replicas, as an object of its own.
fn handover(document: &Value, live: &Value) -> Value {
    let mut handed = json!({
        "apiVersion": document["apiVersion"], "kind": document["kind"],
        "metadata": {"name": document["metadata"]["name"]},
        "spec": {"replicas": live["spec"]["replicas"]},
    });
    if let Some(namespace) = document["metadata"].get("namespace") {
        handed["metadata"]["namespace"] = namespace.clone();
    }
    expecting(&handed, uid_of(live), version_of(live))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_created_is_applied_where_nothing_is_and_nowhere_else() {
        let document =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}});
        let key = ObjectKey::of(&document).expect("a key");
        let served = Served {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            plural: "services".to_owned(),
            namespaced: true,
        };
        let (path, body) = creation(&served, &key, &document, "&dryRun=All");
        let query = "fieldManager=trimaran&fieldValidation=Strict&force=true&dryRun=All";
        assert_eq!(path, format!("/api/v1/namespaces/shop/services/web?{query}"));
        assert_eq!(body["metadata"], json!({"name": "web", "namespace": "shop", "resourceVersion": "1"}));
    }
}
