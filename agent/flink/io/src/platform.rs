//! Targets of kind `flink`, as an agent drives them.

use std::path::PathBuf;
use std::sync::Arc;

use trimaran_agent_core::Permit;
use trimaran_agent_core::platform::{
    Answer, Connect, JudgmentSink, PartSink, Platform, PlatformError, Question, SnapshotSink, Standing,
};
use trimaran_flink_core::call::{Call, Reply};
use trimaran_flink_core::machine::Flink;
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::{Target, TargetPlatform};
use trimaran_process::clock::boot_time;

use crate::access::Access;
use crate::directory::Savepoints;
use crate::s3::S3Settings;
use crate::target::{FlinkTarget, JarSource};
use crate::{logs, observe, plan};

/// Makes the platforms of all Flink targets.
pub struct FlinkPlatforms<J> {
    jars: Arc<J>,
    /// Files with the secrets that targets name.
    secrets: Option<PathBuf>,
    /// The store of targets whose savepoints are in a bucket.
    s3: S3Settings,
}

impl<J: JarSource> FlinkPlatforms<J> {
    pub fn new(jars: J, secrets: Option<PathBuf>, s3: S3Settings) -> Self {
        Self { jars: Arc::new(jars), secrets, s3 }
    }
}

impl<J: JarSource> Connect<Flink> for FlinkPlatforms<J> {
    type Platform = FlinkTarget<J>;

    fn connect(&self, target: &Target) -> Option<Result<FlinkTarget<J>, PlatformError>> {
        let TargetPlatform::Flink { urls, savepoints, access } = &target.platform else { return None };
        let access = Access::new(access.clone(), self.secrets.clone());
        let savepoints = Savepoints::new(savepoints.clone(), self.s3.clone());
        Some(Ok(FlinkTarget::new(urls, access, savepoints, self.jars.clone())))
    }
}

impl<J: JarSource> Platform<Flink> for FlinkTarget<J> {
    async fn call(&self, call: Call, permit: Permit) -> Answer<Reply> {
        self.perform(call, || permit.allows(boot_time())).await
    }

    async fn watch(&self, (): (), _: impl SnapshotSink<()>) {
        std::future::pending().await
    }

    async fn observe(&self, standing: Standing, sink: impl JudgmentSink) {
        let ledger = standing.committed.as_ref().map(|commit| commit.body.as_slice());
        observe::observe(self, ledger, sink).await;
    }

    async fn query(&self, question: Question, answer: impl PartSink) -> Result<(), PlatformError> {
        let what = match question {
            Question::Logs { previous: true, .. } => "output of the job before: name its run",
            Question::Logs { instances, query, .. } => {
                return logs::answer(self, &instances, query, &answer).await;
            }
            Question::Plan { order, .. } => return plan::answer(self, &order, &answer).await,
            Question::SealingKey => "a key to seal secrets with",
            Question::Running { .. } => "releases that are asked for: only hosts have",
        };
        let message = format!("targets of Flink have not {what}");
        Err(PlatformError { code: ReasonCode::UnsupportedWorkload, message })
    }
}
