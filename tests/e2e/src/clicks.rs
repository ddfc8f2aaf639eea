//! The job `clicks` as its team has it: variants of the demo job, a server that hands out their jars, a target that is a
//! real cluster, and a pipeline file in the lab's folder.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use trimaran_test_env::flink::{FlinkCluster, Records, jars};
use trimaran_test_support::wait::until;

use crate::artifacts::{ArtifactServer, sha256};
use crate::lab::Lab;

/// Its pipeline.
pub const PIPELINE: &str = "clicks";
/// The longest that a run on a loaded machine takes.
const RUN_MAX: Duration = Duration::from_secs(120);
/// Records that the job reads in a second, and the time between its checkpoints.
const RATE: u64 = 200;
const CHECKPOINT_MS: u64 = 500;
/// Records of one checkpoint interval.
pub const INTERVAL_RECORDS: u64 = RATE * CHECKPOINT_MS / 1000;

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
    /// The job ships [`RULES`] and writes its text behind the version of each record.
    pub has_rules: bool,
}

/// A file beside the pipeline's: see [`Clicks::write_rules`].
pub const RULES: &str = "rules.txt";

impl Default for Shape {
    fn default() -> Self {
        Self { window: "4s", bake: "0s", argument: None, rollback: "{}", has_rules: false }
    }
}

/// Several may be on one cluster: what each has there carries the name of its target, which no other one has.
pub struct Clicks {
    pub artifacts: ArtifactServer,
    /// The file to which the job writes each record.
    pub sink: PathBuf,
    /// Its target, and the name of its jobs.
    pub target: String,
    /// The directory of its savepoints on this machine.
    pub savepoints: PathBuf,
    /// The JobManager's.
    url: String,
}

impl Clicks {
    /// Applies the target and writes the pipeline file.
    pub fn new(lab: &Lab, cluster: &FlinkCluster, shape: &Shape) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        // A cluster of someone else outlives this process.
        let target = format!("streams-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let artifacts = ArtifactServer::start(&jars()).expect("a server");
        let sink = cluster.file(&format!("records-{target}"));
        let savepoints = format!("{}/{target}", cluster.savepoints());
        let on_disk = PathBuf::from(savepoints.trim_start_matches("file://"));
        let url = cluster.url().to_owned();
        let it = Self { artifacts, sink, target, savepoints: on_disk, url };
        std::fs::write(lab.folder.path().join("streams.yaml"), it.target_file(&savepoints)).expect("a file");
        lab.ok(&["apply", "streams.yaml"]);
        it.reshape(lab, shape);
        it
    }

    /// The stage of its only environment.
    pub fn stage(&self) -> String {
        format!("prod/{}", self.target)
    }

    /// Writes the pipeline file anew.
    pub fn reshape(&self, lab: &Lab, shape: &Shape) {
        std::fs::write(lab.folder.path().join("clicks.yaml"), self.pipeline_file(shape)).expect("a file");
    }

    /// Writes the file that a job with rules ships: one word.
    pub fn write_rules(&self, lab: &Lab, word: &str) {
        std::fs::write(lab.folder.path().join(RULES), format!("{word}\n")).expect("a file");
    }

    /// Waits until a job has written a record with this version, or with a version and a word as `v1+WORD`.
    pub fn wait_for_record_of(&self, version: &str) {
        let word = format!(" {version} ");
        until(&format!("a record of {version}"), Duration::from_secs(30), || {
            let text = std::fs::read_to_string(&self.sink).unwrap_or_default();
            let whole = &text[..text.rfind('\n')?];
            whole.lines().next_back()?.contains(&word).then_some(())
        });
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

    /// Ids of its jobs that process records, asked of the JobManager itself.
    pub fn running_jobs(&self) -> Vec<String> {
        let mut jobs = self.jobs().expect("the JobManager answers");
        jobs.retain(|(_, state)| state == "RUNNING");
        jobs.into_iter().map(|(id, _)| id).collect()
    }

    /// Ends its jobs, for a cluster that others go on with.
    pub fn cancel_jobs(&self) {
        // Without a JobManager there are none.
        let jobs = self.jobs().unwrap_or_default();
        // One that crashes over and over holds its slots, too.
        let has_ended = |state: &str| ["FINISHED", "CANCELED", "FAILED"].contains(&state);
        for (job, _) in jobs.into_iter().filter(|(_, state)| !has_ended(state)) {
            let address = format!("{}/jobs/{job}?mode=cancel", self.url);
            // One that has ended meanwhile needs no cancel.
            let _ = Command::new("curl").args(["-sS", "-X", "PATCH", &address]).output();
        }
    }

    /// Ids and states of its jobs; `None` when the JobManager does not answer.
    pub fn jobs(&self) -> Option<Vec<(String, String)>> {
        let address = format!("{}/jobs/overview", self.url);
        let output = Command::new("curl").args(["-fsS", &address]).output().expect("curl runs");
        let jobs: Value = serde_json::from_slice(&output.stdout).ok()?;
        let own = jobs["jobs"].as_array()?.iter().filter(|job| job["name"] == self.target.as_str());
        let text = |job: &Value, field: &str| job[field].as_str().expect("a text").to_owned();
        Some(own.map(|job| (text(job, "jid"), text(job, "state"))).collect())
    }

    fn target_file(&self, savepoints: &str) -> String {
        let Self { target, url, .. } = self;
        format!(
            "\
trimaran: v1
target: {target}
agent: lab
class: staging
flink: {{ urls: [\"{url}\"], savepoints: \"{savepoints}\" }}
"
        )
    }

    fn pipeline_file(&self, shape: &Shape) -> String {
        let Shape { window, bake, argument, rollback, has_rules } = shape;
        let (url, sink, target) = (self.artifacts.url(), self.sink.display(), &self.target);
        let argument = argument.as_ref().map(|argument| format!(", \"{argument}\"")).unwrap_or_default();
        let (reads, files) = match has_rules {
            true => (format!(", \"--cached-file={RULES}\""), format!("{{ {RULES}: {RULES} }}")),
            false => (String::new(), "{}".to_owned()),
        };
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
    args: [\"--out={sink}\", \"--job-name={target}\", \"--rate={RATE}\", \"--checkpoint-ms={CHECKPOINT_MS}\"{argument}{reads}]
    files: {files}
    health: {{ start_timeout: 1m, window: {window}, max_restarts: 2, min_checkpoints: 2 }}
    rollback: {rollback}
environments:
  - name: prod
    targets: [{target}]
    rollback: {{ on: [health], scope: environment, bake: {bake} }}
"
        )
    }
}

/// How many records a run that went back repeats at the sinks, as its job says when it has counted them.
pub fn repeated_reported(run: &Value) -> Option<u64> {
    let message = run["stages"][0]["instances"][0]["message"].as_str()?;
    let (_, behind) = message.split_once(" (")?;
    let (count, _) = behind.split_once(" records are processed again")?;
    count.parse().ok()
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
