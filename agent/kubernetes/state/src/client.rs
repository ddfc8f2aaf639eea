//! The API server itself: Secrets and Leases of one namespace.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp as Wall;
use k8s_openapi::ByteString;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Config, ResourceExt as _};
use serde_json::{Value, json};
use trimaran_model::text::with_sources;

use crate::api::{ApiError, Changes, Data, LeaseRecord, Leases, Secrets, Stored, Version};
use crate::election::LEASE_SECONDS;
use crate::hold::within;
use trimaran_kubernetes_core::state_name::StateName;

/// The owner of the fields, as `kubectl` shows it.
const MANAGER: &str = "trimaran-agent";
const SECRET_TYPE: &str = "trimaran.dev/agent-state";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A request for the Lease: several fit into the time for which it is held.
const LEASE_TIMEOUT: Duration = Duration::from_secs(4);
/// A segment is 640 KiB.
const SECRET_TIMEOUT: Duration = Duration::from_secs(10);
/// Set in every pod that has a service account (Kubernetes documentation, "Accessing the Kubernetes API from a Pod").
const POD_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";

/// How the API server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// The service account of the pod that this process runs in.
    Pod,
    /// The kubeconfig of `KUBECONFIG`, else of the user.
    User,
    /// A kubeconfig with its current context.
    File(PathBuf),
}

impl Access {
    /// The file that was named; without one the pod's account, or outside of a pod the user's kubeconfig.
    pub fn of(file: Option<PathBuf>) -> Self {
        match file {
            Some(file) => Self::File(file),
            None if std::env::var_os(POD_VARIABLE).is_some() => Self::Pod,
            None => Self::User,
        }
    }

    async fn config(&self) -> Result<Config, String> {
        let text = |error: &dyn std::error::Error| with_sources(error);
        let mut config = match self {
            Self::Pod => Config::incluster()
                .map_err(|error| format!("the pod's service account can't be used: {}", text(&error)))?,
            Self::User => Config::from_kubeconfig(&KubeConfigOptions::default()).await.map_err(|error| {
                format!("this is no pod, and the kubeconfig can't be used: {}", text(&error))
            })?,
            Self::File(path) => {
                let wrong = |error: &dyn std::error::Error| {
                    format!("the kubeconfig `{}` can't be used: {}", path.display(), text(error))
                };
                let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
                let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
                config.map_err(|error| wrong(&error))?
            }
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Each request has a limit of its own, and whoever asks decides when it is tried again.
        config.read_timeout = None;
        config.write_timeout = None;
        config.default_retry = false;
        Ok(config)
    }
}

/// A way to the API server; clones share it.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    access: Access,
    namespace: String,
    /// Made with the first request, and again when its credentials are not accepted any more.
    connected: tokio::sync::Mutex<Option<kube::Client>>,
}

impl Client {
    /// Nothing is connected yet.
    pub fn new(access: Access, state: &StateName) -> Self {
        let namespace = state.namespace().to_owned();
        Self(Arc::new(Inner { access, namespace, connected: tokio::sync::Mutex::default() }))
    }

    async fn connected(&self) -> Result<kube::Client, ApiError> {
        let mut connected = self.0.connected.lock().await;
        if let Some(client) = &*connected {
            return Ok(client.clone());
        }
        let config = self.0.access.config().await.map_err(ApiError::Refused)?;
        let client =
            kube::Client::try_from(config).map_err(|error| ApiError::Refused(with_sources(&error)))?;
        *connected = Some(client.clone());
        Ok(client)
    }

    async fn secrets(&self) -> Result<Api<Secret>, ApiError> {
        Ok(Api::namespaced(self.connected().await?, &self.0.namespace))
    }

    async fn leases(&self) -> Result<Api<Lease>, ApiError> {
        Ok(Api::namespaced(self.connected().await?, &self.0.namespace))
    }

    /// What an error of a request means. `absent` is what a missing object means.
    async fn meaning(&self, error: kube::Error, absent: fn(String) -> ApiError) -> ApiError {
        let kube::Error::Api(status) = &error else {
            return match error {
                kube::Error::Auth(_) => ApiError::Refused(with_sources(&error)),
                _ => ApiError::Unclear(with_sources(&error)),
            };
        };
        if status.code == 401 {
            // Its kubeconfig may have been replaced.
            *self.0.connected.lock().await = None;
        }
        of_status(status, absent)
    }

    async fn patch_lease(&self, name: &str, version: &Version, spec: Value) -> Result<Version, ApiError> {
        let patch = json!({"metadata": {"resourceVersion": version.0}, "spec": spec});
        let patched = async {
            let leases = self.leases().await?;
            let patched = leases.patch(name, &parameters(), &Patch::Merge(&patch)).await;
            match patched {
                Ok(lease) => Ok(version_of(&lease)),
                Err(error) => Err(self.meaning(error, |_| ApiError::Conflict).await),
            }
        };
        within(LEASE_TIMEOUT, patched).await
    }
}

fn of_status(status: &Status, absent: fn(String) -> ApiError) -> ApiError {
    let message = match status.message.as_str() {
        "" => format!("status {}", status.code),
        message => message.to_owned(),
    };
    match status.code {
        404 => absent(message),
        409 => ApiError::Conflict,
        408 | 429 | 500.. => ApiError::Unclear(message),
        _ => ApiError::Refused(message),
    }
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

fn creation() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

fn version_of<K: kube::Resource>(object: &K) -> Version {
    Version(object.resource_version().unwrap_or_default())
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// A merge patch whose text no error shows.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Hidden(Value);

impl Debug for Hidden {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Hidden")
    }
}

impl Secrets for Client {
    async fn read(&self, name: &str) -> Result<Option<Stored>, ApiError> {
        let read = async {
            match self.secrets().await?.get_opt(name).await {
                Ok(found) => Ok(found.map(|secret| {
                    let version = version_of(&secret);
                    let data = secret.data.unwrap_or_default();
                    Stored { version, data: data.into_iter().map(|(key, value)| (key, value.0)).collect() }
                })),
                Err(error) => Err(self.meaning(error, ApiError::Refused).await),
            }
        };
        within(SECRET_TIMEOUT, read).await
    }

    async fn create(&self, name: &str, data: &Data) -> Result<Version, ApiError> {
        let data = data.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect();
        let secret = Secret {
            metadata: named(name),
            type_: Some(SECRET_TYPE.to_owned()),
            data: Some(data),
            ..Secret::default()
        };
        let created = async {
            match self.secrets().await?.create(&creation(), &secret).await {
                Ok(secret) => Ok(version_of(&secret)),
                Err(error) => Err(self.meaning(error, ApiError::Refused).await),
            }
        };
        within(SECRET_TIMEOUT, created).await
    }

    async fn change(&self, name: &str, version: &Version, changes: &Changes) -> Result<Version, ApiError> {
        // A merge patch removes what is null (RFC 7396), and is refused where the version is another one.
        let data: serde_json::Map<String, Value> = changes
            .iter()
            .map(|(key, value)| (key.clone(), json!(value.as_ref().map(|bytes| ByteString(bytes.clone())))))
            .collect();
        let patch = Hidden(json!({"metadata": {"resourceVersion": version.0}, "data": data}));
        let changed = async {
            let secrets = self.secrets().await?;
            match secrets.patch(name, &parameters(), &Patch::Merge(&patch)).await {
                Ok(secret) => Ok(version_of(&secret)),
                Err(error) => Err(self.meaning(error, |_| ApiError::Conflict).await),
            }
        };
        within(SECRET_TIMEOUT, changed).await
    }

    async fn delete(&self, name: &str, version: &Version) -> Result<(), ApiError> {
        let preconditions = Preconditions { resource_version: Some(version.0.clone()), uid: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deleted = async {
            match self.secrets().await?.delete(name, &parameters).await {
                Ok(_) => Ok(()),
                Err(error) => Err(self.meaning(error, |_| ApiError::Conflict).await),
            }
        };
        within(SECRET_TIMEOUT, deleted).await
    }
}

impl Leases for Client {
    async fn read_lease(&self, name: &str) -> Result<Option<LeaseRecord>, ApiError> {
        let read = async {
            match self.leases().await?.get_opt(name).await {
                Ok(found) => Ok(found.map(|lease| {
                    let version = version_of(&lease);
                    let spec = lease.spec.unwrap_or_default();
                    LeaseRecord {
                        version,
                        holder: spec.holder_identity.unwrap_or_default(),
                        seconds: spec.lease_duration_seconds.map_or(0, |it| u64::try_from(it).unwrap_or(0)),
                        transitions: spec.lease_transitions.map_or(0, |it| u32::try_from(it).unwrap_or(0)),
                    }
                })),
                Err(error) => Err(self.meaning(error, ApiError::Refused).await),
            }
        };
        within(LEASE_TIMEOUT, read).await
    }

    async fn create_lease(&self, name: &str, holder: &str) -> Result<Version, ApiError> {
        let now = MicroTime(Wall::now());
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: i32::try_from(LEASE_SECONDS).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        };
        let lease = Lease { metadata: named(name), spec: Some(spec) };
        let created = async {
            match self.leases().await?.create(&creation(), &lease).await {
                Ok(lease) => Ok(version_of(&lease)),
                Err(error) => Err(self.meaning(error, ApiError::Refused).await),
            }
        };
        within(LEASE_TIMEOUT, created).await
    }

    async fn renew_lease(
        &self,
        name: &str,
        version: &Version,
        holder: &str,
        transitions: Option<u32>,
    ) -> Result<Version, ApiError> {
        let now = json!(MicroTime(Wall::now()));
        let mut spec = json!({
            "holderIdentity": holder, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now,
        });
        if let Some(transitions) = transitions {
            spec["acquireTime"] = now;
            spec["leaseTransitions"] = transitions.into();
        }
        self.patch_lease(name, version, spec).await
    }

    async fn release_lease(&self, name: &str, version: &Version) -> Result<(), ApiError> {
        let spec = json!({"holderIdentity": null, "leaseDurationSeconds": 1});
        self.patch_lease(name, version, spec).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Status {
        Status { code, message: format!("said with {code}"), ..Status::default() }
    }

    #[test]
    fn what_was_not_done_differs_from_what_is_not_known() {
        let of = |code| of_status(&status(code), |_| ApiError::Conflict);
        assert_eq!((of(404), of(409)), (ApiError::Conflict, ApiError::Conflict));
        for code in [408, 429, 500, 503, 504] {
            assert_eq!(of(code), ApiError::Unclear(format!("said with {code}")));
        }
        for code in [400, 401, 403, 413, 422] {
            assert_eq!(of(code), ApiError::Refused(format!("said with {code}")));
        }
        // Of an object that is to be made it is the namespace that is missing.
        assert_eq!(of_status(&status(404), ApiError::Refused), ApiError::Refused("said with 404".to_owned()));
    }

    #[test]
    fn a_patch_of_a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Patch::Merge(&Hidden(json!("hunter2")))), "Merge(Hidden)");
    }
}
