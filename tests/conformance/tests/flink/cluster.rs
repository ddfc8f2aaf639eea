//! The platform on a cluster of real processes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;
use trimaran_agent_core::platform::Answer;
use trimaran_conformance::driver::flink::rules_of;
use trimaran_conformance::flink::lab::Cluster;
use trimaran_flink::{Access, FlinkTarget, Jar, JarSource, S3Settings, Savepoints};
use trimaran_flink_core::call::{Call, Reply};
use trimaran_flink_core::id::FlinkId;
use trimaran_model::action::Failure;
use trimaran_model::id::Digest;
use trimaran_model::release::{Artifact, ArtifactLocation, Content, Release};
use trimaran_model::time::{Millis, Timestamp};
use trimaran_test_env::flink::{FlinkCluster, jars};

/// A variant of the demo job.
pub(crate) fn jar(name: &str) -> Artifact {
    let path = jars().join(format!("{name}.jar"));
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Artifact {
        name: "job".parse().expect("a name"),
        version: name.to_owned(),
        sha256: Digest(Sha256::digest(bytes).into()),
        location: ArtifactLocation::Path(path.display().to_string()),
    }
}

/// Jars lie where the set-up made them.
struct LocalJars;

impl JarSource for LocalJars {
    async fn jar(&self, jar: &Artifact) -> Result<Jar, Failure> {
        let ArtifactLocation::Path(path) = &jar.location else { unreachable!("jars of tests are files") };
        Ok(Jar { file: PathBuf::from(path), fetched_from: None })
    }

    async fn files(&self, _: Digest, whole: Content) -> Result<Vec<u8>, Failure> {
        let texts = VERSIONS.map(rules_of).into_iter();
        let mut found = texts.filter(|text| Digest(Sha256::digest(text).into()) == whole.digest);
        Ok(found.next().expect("a file of a version").into_bytes())
    }

    async fn release(&self, _: Digest) -> Option<Arc<Release>> {
        None
    }
}

/// Those that ship a file; the others ship none.
pub(crate) const VERSIONS: [&str; 2] = ["v1", "v2"];

pub(crate) struct RealCluster {
    runtime: Runtime,
    target: FlinkTarget<LocalJars>,
    began: Instant,
    cluster: FlinkCluster,
    behind_stop: Option<BehindStop>,
}

/// What happens behind the next stop that the JobManager has accepted.
type BehindStop = Box<dyn FnOnce(&FlinkCluster)>;

impl RealCluster {
    pub(crate) fn start(version: &str, high_availability: bool) -> Self {
        trimaran_transport::install_crypto_provider();
        let cluster = FlinkCluster::start(version, high_availability);
        let s3 = S3Settings::from_variables(|_| None);
        let savepoints = Savepoints::new(cluster.savepoints().to_owned(), s3);
        let urls = [cluster.url().to_owned()];
        let target = FlinkTarget::new(&urls, Access::default(), savepoints, Arc::new(LocalJars));
        Self {
            runtime: Runtime::new().expect("a runtime"),
            target,
            began: Instant::now(),
            cluster,
            behind_stop: None,
        }
    }

    pub(crate) fn savepoints(&self) -> &str {
        self.cluster.savepoints()
    }

    /// A file beside the cluster.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.cluster.file(name)
    }

    /// Jobs that are not terminal.
    pub(crate) fn running(&mut self) -> Vec<FlinkId> {
        let Answer::Reply(Reply::Jobs { jobs, .. }) = self.call(Call::Jobs) else {
            panic!("no list of jobs")
        };
        jobs.into_iter().filter(|job| !job.state.is_terminal()).map(|job| job.id).collect()
    }

    pub(crate) fn processes(&self) -> &FlinkCluster {
        &self.cluster
    }

    /// The JobManager is killed so long after the next stop was accepted, and started again.
    pub(crate) fn kill_behind_stop(&mut self, after: Millis) {
        self.behind_stop(move |cluster| {
            std::thread::sleep(after.to_std());
            cluster.restart_jobmanager();
        });
    }

    pub(crate) fn behind_stop(&mut self, happens: impl FnOnce(&FlinkCluster) + 'static) {
        self.behind_stop = Some(Box::new(happens));
    }
}

impl Cluster for RealCluster {
    fn now(&self) -> Timestamp {
        Timestamp(u64::try_from(self.began.elapsed().as_millis()).expect("a test is short"))
    }

    fn wait_until(&mut self, at: Timestamp) {
        std::thread::sleep((at - self.now()).to_std());
    }

    fn call(&mut self, call: Call) -> Answer<Reply> {
        let is_stop = matches!(call, Call::Stop { .. });
        let answer = self.runtime.block_on(async {
            let limit = Duration::from_secs(300);
            tokio::time::timeout(limit, self.target.perform(call, || true)).await.unwrap_or(Answer::Lost)
        });
        if is_stop && let Some(happens) = self.behind_stop.take() {
            happens(&self.cluster);
        }
        answer
    }

    fn kill_jobmanager(&mut self) {
        self.cluster.restart_jobmanager();
    }
}
