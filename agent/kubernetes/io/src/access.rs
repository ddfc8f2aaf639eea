//! Whether a target leads into its cluster at all, and into the one that it led into before; asked for a plan.
//!
//! A cluster that does not answer is neither: silence says nothing of the credentials.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use trimaran_agent_core::platform::PlatformError;
use trimaran_kubernetes_driver::{CLUSTER_NAMESPACE, ClusterId, Inventory, ObjectKey, other_cluster};
use trimaran_model::action::Commit;
use trimaran_model::reason::ReasonCode;

use crate::credentials::Credentials;
use crate::place::Place;
use crate::request::{JSON, Method, RequestError, encoded};
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
        let message = match &self.route.credentials {
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

    /// Which cluster this is, as far as this agent may know.
    pub(crate) async fn identify(&self) -> Result<ClusterId, RequestError> {
        let (cluster, namespace) =
            tokio::join!(self.uid_of_namespace(CLUSTER_NAMESPACE), self.uid_of_namespace(&self.namespace));
        Ok(ClusterId { cluster: cluster?, namespace: namespace? })
    }

    async fn uid_of_namespace(&self, name: &str) -> Result<Option<String>, RequestError> {
        let path = format!("/api/v1/namespaces/{}", encoded(name));
        match self.request(Method::GET, &path, JSON, None).await {
            Ok(namespace) => Ok(Some(uid_of(&namespace).to_owned()).filter(|uid| !uid.is_empty())),
            Err(error) if matches!(error.code(), Some(403 | 404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether this is the cluster in which the installation is.
    ///
    /// # Errors
    /// It is another one, or does not say.
    pub(crate) async fn check_identity(&self, committed: Option<&Commit>) -> Result<(), PlatformError> {
        let Some(Ok(inventory)) = committed.map(|commit| Inventory::from_bytes(&commit.body)) else {
            return Ok(());
        };
        let found = self.identify().await.map_err(|error| PlatformError {
            code: ReasonCode::ApiUnavailable,
            message: format!("target {}: {error}; check it and the way to it", self.target),
        })?;
        let place = match &self.route.credentials {
            Credentials::File(path) => {
                format!("target {}, field `kubernetes.kubeconfig`, `{}`", self.target, path.display())
            }
            Credentials::Pod => format!("target {}, without a field `kubernetes.kubeconfig`", self.target),
        };
        match other_cluster(&inventory.cluster, &found, &place) {
            Some(why) => Err(PlatformError { code: why.code, message: why.message }),
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use trimaran_model::id::{AssignmentId, TargetName};

    use super::*;
    use crate::fake::Fake;

    fn place(server: &Fake) -> Place {
        let way = server.route("tokyo", "t", &Arc::default());
        Place::new(TargetName::new("tokyo").expect("a name"), "shop".to_owned(), way)
    }

    fn namespace(uid: &str) -> Option<(u16, Value)> {
        Some((200, json!({"kind": "Namespace", "metadata": {"uid": uid}})))
    }

    fn committed(cluster: Option<&str>, namespace: Option<&str>) -> Commit {
        let known = |text: Option<&str>| text.map(str::to_owned);
        let id = ClusterId { cluster: known(cluster), namespace: known(namespace) };
        Commit { assignment: AssignmentId(1), n: 1, body: Inventory::default().within(id).to_bytes() }
    }

    #[tokio::test]
    async fn a_cluster_is_known_by_what_may_be_read() {
        let server = Fake::start(|request| match request {
            "GET /api/v1/namespaces/shop" => namespace("n-1"),
            _ => Some((403, json!({"message": "no"}))),
        });
        let server = server.await;
        let place = place(&server);
        let found = place.identify().await.expect("it answers");
        assert_eq!(found, ClusterId { cluster: None, namespace: Some("n-1".to_owned()) });
        place.check_identity(None).await.expect("nothing is known of it");
        place.check_identity(Some(&committed(Some("c-1"), Some("n-1")))).await.expect("it is the same");
        let other = place.check_identity(Some(&committed(None, Some("n-0")))).await.expect_err("another one");
        assert_eq!(other.code, ReasonCode::PermissionDenied);
        for word in ["target tokyo", "kubernetes.kubeconfig", "n-0", "n-1"] {
            assert!(other.message.contains(word), "{word}: {}", other.message);
        }
    }

    #[tokio::test]
    async fn a_namespace_that_was_made_anew_is_in_the_same_cluster() {
        let server = Fake::start(|request| match request {
            "GET /api/v1/namespaces/kube-system" => namespace("c-1"),
            _ => namespace("n-2"),
        });
        let server = server.await;
        let place = place(&server);
        place.check_identity(Some(&committed(Some("c-1"), Some("n-1")))).await.expect("it is the same");
        let other = place.check_identity(Some(&committed(Some("c-0"), Some("n-2")))).await;
        assert!(other.expect_err("another one").message.contains("c-0"));
    }

    #[tokio::test]
    async fn a_server_that_does_not_say_who_it_is_is_not_trusted_to_be_the_one() {
        let server = Fake::start(|_| Some((503, json!({"message": "busy"})))).await;
        let place = place(&server);
        let silent = place.check_identity(Some(&committed(Some("c-1"), None))).await.expect_err("no answer");
        assert_eq!(silent.code, ReasonCode::ApiUnavailable);
    }
}
