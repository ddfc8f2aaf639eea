//! What a cluster serves: the path of each kind.

use std::collections::BTreeMap;

use kube::Client;
use kube::core::ApiResource;
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use trimaran_kubernetes_driver::ObjectKey;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_process::clock::boot_time;

use crate::request::{JSON, Method, RequestError, encoded, send};

/// After this time a version is asked for again.
const KNOWN_FOR: Millis = Millis::minutes(10);
/// A kind that is missed is looked for again, but not more often than so.
const ABSENT_FOR: Millis = Millis(500);

/// A kind that is served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Served {
    /// `apps/v1`; `v1` for the core group.
    pub(crate) api_version: String,
    pub(crate) kind: String,
    /// `deployments`.
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
}

impl Served {
    /// The path of all objects, in one namespace unless that is empty.
    pub(crate) fn list_path(&self, namespace: &str) -> String {
        let prefix = if self.api_version.contains('/') { "/apis" } else { "/api" };
        let namespace = match namespace {
            namespace if self.namespaced && !namespace.is_empty() => {
                format!("/namespaces/{}", encoded(namespace))
            }
            _ => String::new(),
        };
        format!("{prefix}/{}{namespace}/{}", self.api_version, self.plural)
    }

    pub(crate) fn path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.list_path(namespace), encoded(name))
    }

    pub(crate) fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    pub(crate) fn resource(&self) -> ApiResource {
        let version = self.api_version.rsplit('/').next().unwrap_or_default();
        ApiResource {
            group: self.group().to_owned(),
            version: version.to_owned(),
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

/// What was learned of each version.
#[derive(Default)]
pub(crate) struct Discovery {
    known: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    at: Timestamp,
    kinds: BTreeMap<String, Served>,
}

impl Discovery {
    /// The kind of a key; `None` when the cluster does not serve it.
    pub(crate) async fn find(
        &self,
        client: &Client,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Served>, RequestError> {
        let now = boot_time();
        let known = self.lock().get(api_version).cloned();
        if let Some(known) = known {
            let found = known.kinds.get(kind).cloned();
            let fresh = if found.is_some() { KNOWN_FOR } else { ABSENT_FOR };
            if now < known.at + fresh {
                return Ok(found);
            }
        }
        let prefix = if api_version.contains('/') { "/apis" } else { "/api" };
        let path = format!("{prefix}/{api_version}");
        let kinds = match send(client, Method::GET, &path, JSON, Vec::new()).await {
            Ok(list) => kinds(api_version, &list),
            Err(error) if error.code() == Some(404) => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let found = kinds.get(kind).cloned();
        self.lock().insert(api_version.to_owned(), Known { at: now, kinds });
        Ok(found)
    }

    pub(crate) async fn of(&self, client: &Client, key: &ObjectKey) -> Result<Option<Served>, RequestError> {
        self.find(client, &key.api_version, &key.kind).await
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock()
    }
}

/// The kinds of an `APIResourceList`, without those below others such as `deployments/scale`.
fn kinds(api_version: &str, list: &Value) -> BTreeMap<String, Served> {
    let resources = list["resources"].as_array().into_iter().flatten();
    let served = resources.filter_map(|resource| {
        let plural = resource["name"].as_str().filter(|name| !name.contains('/'))?.to_owned();
        let kind = resource["kind"].as_str()?.to_owned();
        let namespaced = resource["namespaced"] == true;
        Some((kind.clone(), Served { api_version: api_version.to_owned(), kind, plural, namespaced }))
    });
    served.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_have_their_paths() {
        let list = json!({"resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true},
        ]});
        let kinds = kinds("apps/v1", &list);
        assert_eq!(kinds.keys().collect::<Vec<_>>(), ["Deployment"]);
        let deployment = &kinds["Deployment"];
        assert_eq!(deployment.path("shop", "web"), "/apis/apps/v1/namespaces/shop/deployments/web");
        assert_eq!(deployment.list_path(""), "/apis/apps/v1/deployments");
        let node = Served { namespaced: false, ..Served::clone(deployment) };
        assert_eq!(node.path("shop", "a/b"), "/apis/apps/v1/deployments/a%2Fb");
    }
}
