//! Whether a target leads into its cluster at all, and into the one that it led into before; asked for a plan.
//!
//! A cluster that does not answer is neither: silence says nothing of the credentials.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use trimaran_agent_core::platform::PlatformError;
use trimaran_kubernetes_driver::{Inventory, ObjectKey};
use trimaran_model::action::Commit;
use trimaran_model::reason::ReasonCode;

use crate::credentials::Credentials;
use crate::place::Place;
use crate::request::{JSON, Method, RequestError};
use crate::versions::uid_of;

/// Objects that are read side by side.
const READS_AT_ONCE: usize = 8;
/// A connection from before may hang for minutes where packets are dropped.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// For all who are known to the cluster, with or without further rights.
const FOR_ALL_KNOWN: &str = "/api";

impl Place {
    /// # Errors
    /// No credentials, credentials that are not accepted, another server than the one of the kubeconfig, or no answer.
    pub(crate) async fn check_access(&self) -> Result<(), PlatformError> {
        let asked = self.request(Method::GET, FOR_ALL_KNOWN, JSON, None);
        let late = |_| Err(RequestError::Silent(format!("not within {} s", ANSWER_MAX.as_secs())));
        let why = match tokio::time::timeout(ANSWER_MAX, asked).await.unwrap_or_else(late) {
            Err(RequestError::Status { code: 401, .. }) => {
                "the API server does not accept this agent's credentials any more: they are of another cluster, \
                 expired or withdrawn"
                    .to_owned()
            }
            Err(error @ (RequestError::Credentials(_) | RequestError::Untrusted(_))) => error.to_string(),
            Err(error @ RequestError::Silent(_)) => {
                let message = format!("target {}: {error}; check it and the way to it", self.target);
                return Err(PlatformError { code: ReasonCode::ApiUnavailable, message });
            }
            // What else is wrong is said of the object that needs it.
            Ok(_) | Err(RequestError::Status { .. }) => return Ok(()),
        };
        let target = &self.target;
        let message = match &self.way.credentials {
            Credentials::File(path) => format!(
                "target {target}, field `kubernetes.kubeconfig`: {why}; write a kubeconfig that is good for this \
                 cluster to `{}` on the agent's machine",
                path.display()
            ),
            Credentials::Pod => format!(
                "target {target}, without a field `kubernetes.kubeconfig`: {why}; name a kubeconfig, or give the \
                 agent's pod a service account of this cluster"
            ),
        };
        Err(PlatformError { code: ReasonCode::PermissionDenied, message })
    }

    /// Whether anything of what the installation has is here; of Jobs alone nothing need be.
    ///
    /// # Errors
    /// None of its objects is, by their uids.
    pub(crate) async fn check_cluster(&self, committed: Option<&Commit>) -> Result<(), PlatformError> {
        let Some(Ok(inventory)) = committed.map(|commit| Inventory::from_bytes(&commit.body)) else {
            return Ok(());
        };
        let (mut known, mut reads) = (Vec::new(), Vec::new());
        for receipt in inventory.receipts() {
            let Some(uid) = &receipt.uid else { continue };
            // The cluster may delete one when it is done (`ttlSecondsAfterFinished`).
            if receipt.key.group() == "batch" && receipt.key.kind == "Job" {
                continue;
            }
            known.push(&receipt.key);
            reads.push(self.is_here(&receipt.key, uid).boxed());
        }
        let mut found = stream::iter(reads).buffered(READS_AT_ONCE);
        while let Some(is_here) = found.next().await {
            // What can't be read says nothing.
            if is_here.unwrap_or(true) {
                return Ok(());
            }
        }
        let Some(first) = known.first() else { return Ok(()) };
        let message = format!(
            "target {}, fields `kubernetes.kubeconfig` and `kubernetes.namespace`: none of the {} objects of this \
             installation is in namespace {} any more, {first} for one: it is another cluster, or they were deleted; \
             correct the target, or deploy to make them again",
            self.target,
            known.len(),
            self.namespace,
        );
        Err(PlatformError { code: ReasonCode::Missing, message })
    }

    async fn is_here(&self, key: &ObjectKey, uid: &str) -> Result<bool, RequestError> {
        let Some(served) = self.served(key).await? else { return Ok(false) };
        Ok(self.get(&served, key).await?.is_some_and(|object| uid_of(&object) == uid))
    }
}
