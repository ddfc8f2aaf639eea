//! Events of a namespace, asked for only while something is not as it should be.
//!
//! A namespace has more events than all its other objects together, and most of them say nothing, so they are not
//! watched: warnings and what is said about scheduling are listed, at most once a second for all who ask.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Mutex;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_process::clock::boot_time;

use crate::link::Link;
use crate::request::{JSON, Method, RequestError, encoded, send};

/// How often events are listed at most.
const INTERVAL: Millis = Millis::seconds(1);
/// What is judged does not wait for them any longer.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// The events of one namespace.
#[derive(Default)]
pub(crate) struct Events {
    last: Mutex<Option<(Timestamp, Vec<Arc<Value>>)>>,
}

impl Events {
    /// What is known of a moment ago or asked for now. Without the right to list events there are none: they only enrich.
    pub(crate) async fn of(&self, link: &Link, namespace: &str) -> Vec<Arc<Value>> {
        let mut last = self.last.lock().await;
        let now = boot_time();
        if let Some((at, events)) = &*last
            && now < *at + INTERVAL
        {
            return events.clone();
        }
        let events = match tokio::time::timeout(TIMEOUT, list(link, namespace)).await {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => {
                tracing::debug!(namespace, %error, "events can't be listed");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        *last = Some((now, events.clone()));
        events
    }
}

async fn list(link: &Link, namespace: &str) -> Result<Vec<Arc<Value>>, RequestError> {
    let path = format!("/api/v1/namespaces/{}/events?limit=2000", encoded(namespace));
    let mut list = send(link.client(), Method::GET, &path, JSON, Vec::new()).await?;
    let Value::Array(items) = list["items"].take() else { return Ok(Vec::new()) };
    let event = |mut item: Value| {
        item["apiVersion"] = "v1".into();
        item["kind"] = "Event".into();
        Arc::new(item)
    };
    Ok(items.into_iter().map(event).collect())
}
