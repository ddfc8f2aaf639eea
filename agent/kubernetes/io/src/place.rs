//! A namespace of a cluster, and what is asked of it in the same way by all who do.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use trimaran_kubernetes_core::custom::RuleSet;
use trimaran_kubernetes_driver::{EndedContainer, LiveObject, ObjectKey, Refusal};
use trimaran_model::id::TargetName;
use trimaran_sealing::OpeningKey;

use crate::discovery::Served;
use crate::events::Events;
use crate::floors::Floors;
use crate::request::{JSON, Method, RequestError, encoded, send};
use crate::route::Route;

/// A namespace of a cluster, and what is known of it.
pub(crate) struct Place {
    pub(crate) target: TargetName,
    pub(crate) namespace: String,
    pub(crate) route: Route,
    pub(crate) floors: Floors,
    pub(crate) rules: RuleSet,
    /// The key of the target, once it was asked for.
    pub(crate) opening: tokio::sync::OnceCell<OpeningKey>,
    /// What containers printed at last, by pod.
    pub(crate) outputs: Mutex<BTreeMap<(String, EndedContainer), String>>,
    events: Mutex<BTreeMap<String, Arc<Events>>>,
}

impl Place {
    pub(crate) fn new(target: TargetName, namespace: String, route: Route) -> Self {
        Self {
            target,
            namespace,
            route,
            floors: Floors::default(),
            rules: RuleSet::builtin(),
            opening: tokio::sync::OnceCell::new(),
            outputs: Mutex::default(),
            events: Mutex::default(),
        }
    }

    pub(crate) fn events(&self, namespace: &str) -> Arc<Events> {
        let mut all = self.events.lock();
        all.entry(namespace.to_owned()).or_default().clone()
    }

    pub(crate) async fn served(&self, key: &ObjectKey) -> Result<Option<Served>, RequestError> {
        let cluster = self.route.cluster().await?;
        cluster.discovery.of(cluster.link.client(), key).await
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> Result<Value, RequestError> {
        let cluster = self.route.cluster().await?;
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        send(cluster.link.client(), method, path, kind, body).await
    }

    /// The object; `None` when there is none.
    pub(crate) async fn get(&self, served: &Served, key: &ObjectKey) -> Result<Option<Value>, RequestError> {
        match self.request(Method::GET, &served.path(&key.namespace, &key.name), JSON, None).await {
            Ok(document) => Ok(Some(document)),
            Err(error) => match error.refusal() {
                Refusal::Moved | Refusal::NoNamespace { .. } => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// The objects of a kind in the target's namespace; none when the kind is not served.
    pub(crate) async fn list(&self, version: &str, kind: &str) -> Result<Vec<Value>, RequestError> {
        self.list_in(&self.namespace, version, kind).await
    }

    /// As [`Place::list`], in another namespace.
    pub(crate) async fn list_in(
        &self,
        namespace: &str,
        version: &str,
        kind: &str,
    ) -> Result<Vec<Value>, RequestError> {
        let cluster = self.route.cluster().await?;
        let Some(served) = cluster.discovery.find(cluster.link.client(), version, kind).await? else {
            return Ok(Vec::new());
        };
        let mut list = self.request(Method::GET, &served.list_path(namespace), JSON, None).await?;
        let Value::Array(mut items) = list["items"].take() else { return Ok(Vec::new()) };
        for item in &mut items {
            item["apiVersion"] = version.into();
            item["kind"] = kind.into();
        }
        Ok(items)
    }

    /// The autoscalers of a namespace.
    pub(crate) async fn autoscalers(&self, namespace: &str) -> Result<Vec<Value>, RequestError> {
        let path = format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers", encoded(namespace));
        match self.request(Method::GET, &path, JSON, None).await {
            Ok(mut list) => match list["items"].take() {
                Value::Array(items) => Ok(items),
                _ => Ok(Vec::new()),
            },
            Err(error) if error.code() == Some(404) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// A live object as decisions need it, remembered as the least that watches have to show.
    pub(crate) async fn live(&self, key: &ObjectKey, document: &Value) -> Result<LiveObject, RequestError> {
        let mut autoscalers = Vec::new();
        if document.pointer("/spec/replicas").is_some() {
            autoscalers = self.autoscalers(&key.namespace).await?;
        }
        self.floors.raise(key, document);
        let broken = || RequestError::Silent(format!("{key} is answered without uid or version"));
        LiveObject::of(document, &autoscalers).ok_or_else(broken)
    }
}
