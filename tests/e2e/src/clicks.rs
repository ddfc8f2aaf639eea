//! The job `clicks` as its team has it: variants of the demo job, a server that hands out their jars, a target that is a
//! real cluster, and a pipeline file in the lab's folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use trimaran_test_env::flink::{FlinkCluster, Records, jars};
use trimaran_test_support::wait::until;

use crate::artifacts::{ArtifactServer, sha256};
use crate::lab::Lab;

/// Its pipeline, environment and target.
pub const PIPELINE: &str = "clicks";
pub const STAGE: &str = "prod/streams";
/// The longest that a run on a loaded machine takes.
const RUN_MAX: Duration = Duration::from_secs(120);

/// What tests change of the pipeline file.
#[derive(Debug, Clone)]
pub struct Shape {
    /// `health.window`.
    pub window: &'static str,
    /// `rollback.bake` of the environment.
    pub bake: &'static str,
    /// A further argument of the job.
    pub argument: Option<String>,
    /// The job's own `rollback`.
    pub rollback: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self { window: "4s", bake: "0s", argument: None, rollback: "{}" }
    }
}

pub struct Clicks {
    pub artifacts: ArtifactServer,
    /// The file to which the job writes each record.
    pub sink: PathBuf,
}

impl Clicks {
    /// Applies the target and writes the pipeline file.
    pub fn new(lab: &Lab, cluster: &FlinkCluster, shape: &Shape) -> Self {
        let artifacts = ArtifactServer::start(&jars()).expect("a server");
        let sink = cluster.file("records");
        let file = |name: &str| lab.folder.path().join(name);
        std::fs::write(file("streams.yaml"), target(cluster)).expect("a file");
        lab.ok(&["apply", "streams.yaml"]);
        let it = Self { artifacts, sink };
        it.reshape(lab, shape);
        it
    }

    /// Writes the pipeline file anew.
    pub fn reshape(&self, lab: &Lab, shape: &Shape) {
        let pipeline = pipeline(&self.artifacts.url(), &self.sink, shape);
        std::fs::write(lab.folder.path().join("clicks.yaml"), pipeline).expect("a file");
    }

    /// `NAME=VERSION@sha256:HEX` of a variant of the demo job.
    pub fn artifact(&self, version: &str) -> String {
        let jar = jars().join(format!("{version}.jar"));
        format!("job={version}@sha256:{}", sha256(&jar).expect("a variant of the demo job"))
    }

    /// Starts a run and returns its name.
    pub fn deploy(&self, lab: &Lab, version: &str) -> String {
        let artifact = self.artifact(version);
        let shown = lab.json(&["deploy", "-f", "clicks.yaml", "--artifact", &artifact, "--detach"]);
        shown["run"].as_str().expect("a run has a name").to_owned()
    }

    /// Starts a run and waits until it is done; it must be this then.
    pub fn deploy_until(&self, lab: &Lab, version: &str, status: &str) -> Value {
        let run = self.deploy(lab, version);
        let shown = lab.wait_finished(&run, RUN_MAX);
        assert_eq!(shown["status"], status, "{version}: {shown:#}");
        shown
    }

    pub fn records(&self) -> Records {
        Records::read(&self.sink)
    }

    /// Waits until the sink got more records than it had, and so many seconds' worth of them.
    pub fn wait_for_records(&self, more: u64) {
        let lines = || std::fs::read_to_string(&self.sink).map_or(0, |text| text.lines().count() as u64);
        let before = lines();
        until("the job writes records", Duration::from_secs(30), || (lines() >= before + more).then_some(()));
    }
}

/// What `status` says of the installation.
pub fn installation(lab: &Lab) -> Value {
    let status = lab.json(&["status"]);
    let list = status["installations"].as_array().cloned().unwrap_or_default();
    list.into_iter().find(|it| it["pipeline"] == PIPELINE).expect("it was deployed")
}

/// The newest entry of its history.
pub fn newest(lab: &Lab) -> Value {
    lab.json(&["history", PIPELINE])["entries"][0].clone()
}

fn target(cluster: &FlinkCluster) -> String {
    let (url, savepoints) = (cluster.url(), cluster.savepoints());
    format!(
        "\
trimaran: v1
target: streams
agent: lab
class: staging
flink: {{ urls: [\"{url}\"], savepoints: \"{savepoints}\" }}
"
    )
}

fn pipeline(url: &str, sink: &Path, shape: &Shape) -> String {
    let Shape { window, bake, argument, rollback } = shape;
    let sink = sink.display();
    let argument = argument.as_ref().map(|argument| format!(", \"{argument}\"")).unwrap_or_default();
    format!(
        "\
trimaran: v1
pipeline: clicks
owner: team-streams
artifacts:
  job: {{ file: \"{url}/{{version}}.jar\" }}
workload:
  flink:
    jar: job
    entry_class: trimaran.demo.Counter
    args: [\"--out={sink}\", \"--rate=200\", \"--checkpoint-ms=500\"{argument}]
    health: {{ start_timeout: 1m, window: {window}, max_restarts: 2, min_checkpoints: 2 }}
    rollback: {rollback}
environments:
  - name: prod
    targets: [streams]
    rollback: {{ on: [health], scope: environment, bake: {bake} }}
"
    )
}
