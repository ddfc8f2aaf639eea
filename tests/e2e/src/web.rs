//! The service `web` as its team has it: builds of good and bad versions, a server of artifacts, and a pipeline
//! file in the lab's folder.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::artifacts::{ArtifactServer, pack, sha256};
use crate::lab::{Lab, binaries};
use trimaran_test_support::wait::until;

/// What tests change of the pipeline file.
#[derive(Debug, Clone)]
pub struct Shape {
    pub pipeline: String,
    pub min_healthy: &'static str,
    pub deadline: &'static str,
    /// `approve` of prod.
    pub approve: bool,
    /// Bake of prod.
    pub bake: &'static str,
    pub staging_sizes: &'static str,
    pub prod_sizes: &'static str,
    pub staging_unavailable: &'static str,
    pub prod_unavailable: &'static str,
    pub max_failures: u32,
    pub max_lost: &'static str,
    pub scope: &'static str,
    /// Without it prod is the only environment.
    pub staging: bool,
    /// How often the service is probed.
    pub interval: &'static str,
    pub stop_signal: &'static str,
    /// Further fields of `host`, each a line: how it is drained, its hooks.
    pub lifecycle: Vec<String>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            pipeline: "web".to_owned(),
            min_healthy: "1s",
            deadline: "8s",
            approve: false,
            bake: "0s",
            staging_sizes: "[1, 100%]",
            prod_sizes: "[1, 50%, 100%]",
            staging_unavailable: "1",
            prod_unavailable: "1",
            max_failures: 0,
            max_lost: "5%",
            scope: "environment",
            staging: true,
            interval: "200ms",
            stop_signal: "TERM",
            lifecycle: Vec::new(),
        }
    }
}

impl Shape {
    /// Prod alone, judged within half a second.
    pub fn prod_alone() -> Self {
        Self { staging: false, interval: "100ms", min_healthy: "300ms", deadline: "5s", ..Self::default() }
    }
}

/// One service with its builds. Several may live in one lab, each on its own port.
pub struct Web {
    pub shape: Shape,
    pub artifacts: ArtifactServer,
    pub port: u16,
    builds: PathBuf,
    file: String,
}

impl Web {
    /// Packs the versions, starts the server of artifacts and writes the pipeline file.
    pub fn new(lab: &Lab, shape: Shape, versions: &[(&str, &str)]) -> Self {
        let builds = lab.folder.path().join(format!("builds-{}", shape.pipeline));
        std::fs::create_dir_all(&builds).expect("a folder");
        let artifacts = ArtifactServer::start(&builds).expect("a server");
        let port = free_port(lab);
        let file = format!("{}.yaml", shape.pipeline);
        let web = Self { shape, artifacts, port, builds, file };
        for (version, behaviour) in versions {
            web.pack(version, behaviour);
        }
        std::fs::write(lab.folder.path().join(&web.file), web.text(lab)).expect("a file");
        web
    }

    /// Builds one version; see `trimaran_fixtures::behaviour` for the words.
    pub fn pack(&self, version: &str, behaviour: &str) -> PathBuf {
        pack(&self.builds, version, behaviour, &binaries().join("demo-service")).expect("an archive")
    }

    /// The archive of a version.
    pub fn build(&self, version: &str) -> PathBuf {
        self.builds.join(format!("web-{version}.tar.zst"))
    }

    /// Starts the server of artifacts again where it was.
    pub fn serve_again(&mut self) {
        self.artifacts.start_again(&self.builds).expect("its port is free");
    }

    /// The name of the pipeline file, in the lab's folder.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// `NAME=VERSION@sha256:HEX`.
    pub fn artifact(&self, version: &str) -> String {
        format!("bundle={version}@sha256:{}", sha256(&self.build(version)).expect("a build"))
    }

    /// Starts a run and returns its name.
    pub fn deploy(&self, lab: &Lab, version: &str) -> String {
        self.deploy_by(lab, version, &[])
    }

    /// As [`Web::deploy`], with further arguments.
    pub fn deploy_by(&self, lab: &Lab, version: &str, more: &[&str]) -> String {
        let artifact = self.artifact(version);
        let arguments = ["deploy", "-f", &self.file, "--artifact", &artifact, "--detach"];
        let shown = lab.json(&[&arguments, more].concat());
        shown["run"].as_str().expect("a run has a name").to_owned()
    }

    /// Starts a run and waits until it has this status.
    pub fn deploy_until(&self, lab: &Lab, version: &str, status: &str) -> Value {
        let run = self.deploy(lab, version);
        lab.wait_status(&run, status, Duration::from_secs(90))
    }

    /// Chooses an option as soon as prod asks for it.
    pub fn approve(&self, lab: &Lab, run: &str, option: &str) {
        until("prod asks for a judgment", Duration::from_secs(60), || {
            let shown = lab.show(run);
            let waits =
                stages(&shown).any(|stage| stage["name"] == "prod/approve" && stage["status"] == "waiting");
            waits.then_some(())
        });
        lab.ok(&["approve", run, "--option", option, "--comment", "checked by the lab"]);
    }

    fn text(&self, lab: &Lab) -> String {
        let Shape { pipeline, interval, min_healthy, deadline, stop_signal, .. } = &self.shape;
        let (url, port, starts) = (self.artifacts.url(), self.port, lab.folder.path().display());
        let lifecycle: String = self.shape.lifecycle.iter().map(|line| format!("    {line}\n")).collect();
        let staging = if self.shape.staging { self.staging() } else { String::new() };
        let prod = self.prod();
        format!(
            "\
trimaran: v1
pipeline: {pipeline}
owner: team-web
artifacts:
  bundle: {{ file: \"{url}/web-{{version}}.tar.zst\" }}
workload:
  host:
    unpack: bundle
    process:
      command: [bin/web, \"--port\", \"{port}\"]
      environment: {{ START_LOG_DIR: \"{starts}\" }}
      stop: {{ signal: {stop_signal}, grace: 5s }}
    health: {{ http: \":{port}/healthz\", interval: {interval}, min_healthy: {min_healthy}, deadline: {deadline} }}
{lifecycle}environments:
{staging}{prod}"
        )
    }

    fn staging(&self) -> String {
        let Shape { staging_sizes, staging_unavailable, max_failures, max_lost, scope, .. } = &self.shape;
        format!(
            "  - name: staging
    targets: [lab-staging]
    strategy: {{ batches: {{ sizes: {staging_sizes}, max_unavailable: {staging_unavailable}, max_failures: {max_failures}, max_lost: {max_lost} }} }}
    rollback: {{ on: [health], scope: {scope}, bake: 0s }}
"
        )
    }

    fn prod(&self) -> String {
        let Shape { prod_sizes, prod_unavailable, max_failures, max_lost, scope, bake, .. } = &self.shape;
        let after = if self.shape.staging { "    after: [staging]\n" } else { "" };
        let approve = match self.shape.approve {
            true => "    approve: { options: [promote, roll_back], timeout: 1h }\n",
            false => "",
        };
        format!(
            "  - name: prod
{after}{approve}    targets: [lab-prod]
    strategy: {{ batches: {{ sizes: {prod_sizes}, max_unavailable: {prod_unavailable}, max_failures: {max_failures}, max_lost: {max_lost} }} }}
    rollback: {{ on: [health], scope: {scope}, bake: {bake} }}
"
        )
    }
}

/// A start of the service, as the service itself counted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub host: String,
    pub version: String,
    pub run: String,
    pub attempt: String,
    pub pid: u32,
}

/// All starts so far, in order.
pub fn starts(lab: &Lab) -> Vec<Start> {
    let text = std::fs::read_to_string(lab.folder.path().join("starts.log")).unwrap_or_default();
    let one = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [host, version, run, attempt, pid] = words.as_slice() else {
            panic!("a line of five words: {line}");
        };
        Start {
            host: (*host).to_owned(),
            version: (*version).to_owned(),
            run: (*run).to_owned(),
            attempt: (*attempt).to_owned(),
            pid: pid.parse().expect("a process id"),
        }
    };
    text.lines().map(one).collect()
}

/// What the services of all hosts did, in order: `up` or `down`, the host, and the service's port.
pub fn handovers(lab: &Lab) -> Vec<(String, String, u16)> {
    let text = std::fs::read_to_string(lab.folder.path().join("turns.log")).unwrap_or_default();
    let one = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, host, port] = words.as_slice() else { panic!("a line of three words: {line}") };
        ((*what).to_owned(), (*host).to_owned(), port.parse().expect("a port"))
    };
    text.lines().map(one).collect()
}

/// Whether a failure of what the run deployed would still roll it back.
pub fn bakes(lab: &Lab, run: &str) -> bool {
    let status = lab.json(&["status"]);
    let installations = status["installations"].as_array().expect("a list").iter();
    let mut of_run = installations.filter(|it| it["run"] == run);
    of_run.any(|it| !it["bakes_until"].is_null())
}

/// The stages of a run's document.
pub fn stages(run: &Value) -> impl Iterator<Item = &Value> {
    run["stages"].as_array().into_iter().flatten()
}

/// Whether a host of the stage is between its old and its new process.
pub fn stage_in_flight(stage: &Value) -> bool {
    stage["instances"].as_array().into_iter().flatten().any(|instance| instance["status"] == "updating")
}

/// A port that is free on every host address of the lab now.
fn free_port(lab: &Lab) -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let free = |port: u16| (1..=lab.hosts()).all(|n| TcpListener::bind(lab.host(n, port)).is_ok());
    let own = u16::try_from(std::process::id() % 20_000).expect("below 20,000");
    let from = 20_000 + own + 100 * NEXT.fetch_add(1, Ordering::SeqCst);
    (from..65_000).find(|port| free(*port)).expect("a free port")
}
