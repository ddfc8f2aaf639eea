//! The route of one target into its cluster: its credentials, followed to wherever they lead now.

use std::sync::Arc;

use parking_lot::Mutex;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_process::clock::boot_time;

use crate::cluster::Cluster;
use crate::clusters::Clusters;
use crate::credentials::{Credentials, Stamps};
use crate::request::RequestError;
use crate::signs::SILENCE;

/// Credentials that could not be used are tried again when a file changes, and in any case after this time.
const RETRY: Millis = Millis::seconds(1);

pub(crate) struct Route {
    pub(crate) credentials: Credentials,
    clusters: Arc<Clusters>,
    known: tokio::sync::Mutex<Option<(Stamps, Known)>>,
    /// Since when the credentials can't be used.
    lost: Mutex<Option<Timestamp>>,
}

enum Known {
    Cluster(Arc<Cluster>),
    /// Why there is none, and since when that is known.
    Lost(String, Timestamp),
}

impl Route {
    pub(crate) fn new(credentials: Credentials, clusters: Arc<Clusters>) -> Self {
        Self { credentials, clusters, known: tokio::sync::Mutex::default(), lost: Mutex::default() }
    }

    /// The cluster that the credentials lead to now: another one when they were replaced.
    pub(crate) async fn cluster(&self) -> Result<Arc<Cluster>, RequestError> {
        let mut known = self.known.lock().await;
        if let Some((_, known)) = known.as_ref().filter(|(stamps, _)| stamps.are_current()) {
            match known {
                Known::Cluster(cluster) => return Ok(cluster.clone()),
                Known::Lost(message, at) if boot_time() < *at + RETRY => {
                    return Err(RequestError::Credentials(message.clone()));
                }
                Known::Lost(..) => {}
            }
        }
        let own = self.credentials.stamps();
        let found = match self.credentials.read().await {
            Ok(found) => {
                let stamps = found.stamps.clone();
                self.clusters.of(found).map(|cluster| (stamps, cluster))
            }
            Err(message) => Err(message),
        };
        match found {
            Ok((stamps, cluster)) => {
                *self.lost.lock() = None;
                *known = Some((stamps, Known::Cluster(cluster.clone())));
                Ok(cluster)
            }
            Err(message) => {
                self.lost.lock().get_or_insert(boot_time());
                *known = Some((own, Known::Lost(message.clone(), boot_time())));
                Err(RequestError::Credentials(message))
            }
        }
    }

    /// Since when there are no credentials, once that is no moment between two writes of a file any more.
    pub(crate) fn lost_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.lost.lock().filter(|since| now >= *since + SILENCE)
    }
}
