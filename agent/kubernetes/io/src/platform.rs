//! Targets of kind `kubernetes`: one namespace of one cluster each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use trimaran_agent_core::Permit;
use trimaran_agent_core::platform::{
    Answer, Connect, JudgmentSink, PartSink, Platform, PlatformError, Question, SnapshotSink, Standing,
};
use trimaran_kubernetes_driver::{Answered, Ask, Assigned, Loaded, Observation, Query};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::Digest;
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{KubernetesRelease, ReleaseWorkload};
use trimaran_model::target::{Target, TargetPlatform};

use crate::clusters::Clusters;
use crate::credentials::Credentials;
use crate::place::Place;
use crate::releases::Releases;
use crate::route::Route;

/// A webhook may take 30 s for an object, and few objects have one that does.
const PLAN_MAX: Duration = Duration::from_secs(120);

/// Makes the platforms of all targets of Kubernetes. Targets of one cluster share what is known of whether it answers, and
/// those that ask it with the same credentials its client and its watches.
pub struct KubernetesPlatforms<R> {
    releases: Arc<R>,
    clusters: Arc<Clusters>,
}

impl<R: Releases> KubernetesPlatforms<R> {
    pub fn new(releases: R) -> Self {
        Self { releases: Arc::new(releases), clusters: Arc::default() }
    }
}

impl<R: Releases> Connect<Assigned> for KubernetesPlatforms<R> {
    type Platform = KubernetesTarget<R>;

    fn connect(&self, target: &Target) -> Option<Result<KubernetesTarget<R>, PlatformError>> {
        let TargetPlatform::Kubernetes { namespace, kubeconfig } = &target.platform else { return None };
        let credentials = match kubeconfig {
            Some(path) => Credentials::File(PathBuf::from(path)),
            None => Credentials::Pod,
        };
        let place = Place::new(
            target.name.clone(),
            namespace.clone(),
            Route::new(credentials, self.clusters.clone()),
        );
        Some(Ok(KubernetesTarget { place, releases: self.releases.clone() }))
    }
}

/// One target.
pub struct KubernetesTarget<R> {
    place: Place,
    releases: Arc<R>,
}

impl<R: Releases> KubernetesTarget<R> {
    async fn load(&self, digest: Digest, release: &KubernetesRelease) -> Loaded {
        match self.releases.content(digest, release).await {
            Ok(content) => self.place.load(digest, release, &content).await,
            Err(message) => Loaded::Unavailable { message },
        }
    }

    /// What the order of a plan names, of the bytes that came with the question where they did.
    async fn load_planned(&self, order: &Assignment, content: Option<Vec<u8>>) -> Loaded {
        let release = order.release.as_ref().map(|release| &release.workload);
        let (Some(digest), Some(ReleaseWorkload::Kubernetes(release))) = (order.action.release(), release)
        else {
            return Loaded::Invalid { message: "the order has no release of objects".to_owned() };
        };
        match content {
            Some(content) => self.place.load(digest, release, &content).await,
            None => self.load(digest, release).await,
        }
    }
}

impl<R: Releases> Platform<Assigned> for KubernetesTarget<R> {
    async fn call(&self, ask: Ask, permit: Permit) -> Answer<Answered> {
        match ask {
            Ask::Load { digest, release } => {
                Answer::Reply(Answered::Loaded(self.load(digest, &release).await))
            }
            Ask::Cluster(call) => {
                self.place.perform(call, &permit, &*self.releases).await.map(Answered::Cluster)
            }
        }
    }

    async fn watch(&self, query: Query, sink: impl SnapshotSink<Observation>) {
        self.place.follow(query, |observation| sink.show("", observation)).await;
    }

    async fn observe(&self, standing: Standing, sink: impl JudgmentSink) {
        self.place.stand(standing, sink).await;
    }

    async fn query(&self, question: Question, answer: impl PartSink) -> Result<(), PlatformError> {
        match question {
            Question::Logs { instances, previous, query } => {
                self.place.logs(&instances, previous, &query, answer).await
            }
            Question::Plan { order, content } => {
                // Without a way into the cluster nothing else that is asked has an answer.
                self.place.check_access().await?;
                let planned = async {
                    self.place.check_identity(order.committed.as_ref()).await?;
                    let loaded = self.load_planned(&order, content).await;
                    self.place.plan(&order, loaded, answer).await
                };
                let late = |_| {
                    let message =
                        format!("the API server gave no whole answer within {} s", PLAN_MAX.as_secs());
                    Err(PlatformError { code: ReasonCode::ApiUnavailable, message })
                };
                tokio::time::timeout(PLAN_MAX, planned).await.unwrap_or_else(late)
            }
            Question::SealingKey => {
                self.place.check_access().await?;
                self.place.sealing_key(answer).await
            }
            Question::Running { .. } => {
                let message = "which release runs is asked of hosts alone".to_owned();
                Err(PlatformError { code: ReasonCode::UnsupportedWorkload, message })
            }
        }
    }
}
