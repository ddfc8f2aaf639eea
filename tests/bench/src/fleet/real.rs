//! The agent's process with thousands of simulated runners (`trimaran-simulated-runners`), each with a certificate and a
//! session of its own: what an idle one costs, a wave of all of them, and for how long a ping is left unanswered meanwhile.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Semaphore;
use trimaran_client::client::Client;
use trimaran_client::enroll;
use trimaran_e2e::lab::{Lab, binaries};
use trimaran_wire::v1::operator::{ArtifactVersion, DeployRequest, EnrollOrder, OperatorBody, SourceFile};

use crate::report::{Report, time};
use crate::{commits, dispatch, idle};

const TARGET: &str = "many";
/// Runners, and how long a wave of all of them may take.
const SIZES: [(usize, Duration); 2] = [(1_000, Duration::from_secs(2)), (10_000, Duration::from_secs(20))];
const ENROLLING: usize = 16;
/// Memory is read when nothing has happened for so long.
const REST: Duration = Duration::from_secs(10);
const WAIT_MAX: Duration = Duration::from_secs(900);

pub(crate) fn run(report: &mut Report) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    for (runners, bar) in SIZES {
        runtime.block_on(fleet(report, runners, bar));
    }
}

async fn fleet(report: &mut Report, runners: usize, bar: Duration) {
    let lab = Lab::fresh(1);
    let client = commits::client(&lab);
    let many = prepare(&lab, &client, runners).await;
    let agent = lab.part("lab");
    let pid = agent.pid.expect("it runs");
    let probe = lab.folder.path().join("probe");
    let mut prober = Runners::start(&agent.address, &probe, true);
    tokio::time::sleep(REST).await;
    let before = idle::anonymous_kib(pid).expect("it runs");
    let began = Instant::now();
    let _runners = Runners::start(&agent.address, &many, false);
    let connected = began.elapsed();
    tokio::time::sleep(REST).await;
    let grown = idle::anonymous_kib(pid).expect("it runs").saturating_sub(before);
    report.add(
        format!("RssAnon of an agent for each of {runners} idle runners"),
        format!("{:.1} KiB", grown as f64 / runners as f64),
        format!("bar 32 KiB; all of them had a session after {}", time(connected)),
    );
    // The first wave finds nothing on the hosts, the second one what the first brought.
    wave(&client, 1).await;
    tokio::time::sleep(REST).await;
    prober.ask();
    let took = wave(&client, 2).await;
    let (unanswered, late) = prober.ask();
    report.add(
        format!("one wave of {runners} runners with a no-op release"),
        time(took),
        format!("from the deploy to the end of its run; bar {}", time(bar)),
    );
    report.add(
        format!("a ping of another runner left unanswered during the wave of {runners}"),
        time(unanswered),
        format!("at most; bar 50 ms; the reader itself was up to {} late", time(late)),
    );
}

/// A target with so many enrolled hosts, and one host beside it; where the data directories of those of the target are.
async fn prepare(lab: &Lab, client: &Client, runners: usize) -> PathBuf {
    let text = format!(
        "trimaran: v1\ntarget: {TARGET}\nagent: lab\nclass: staging\nhosts: {{ select: {{ group: {TARGET} }} }}\n"
    );
    let file = SourceFile { name: "targets.yaml".to_owned(), text: text.into_bytes() };
    dispatch::request(client, OperatorBody::Apply { files: vec![file] }).await;
    let endpoint = [dispatch::address(lab).to_string()];
    let probe = lab.folder.path().join("probe").join("probe");
    let order = dispatch::runner("probe", "lab", "probe");
    dispatch::enroll(client, &endpoint, order, "runner", &probe).await;
    let order = EnrollOrder::Runners {
        group: TARGET.to_owned(),
        agent: "lab".to_owned(),
        labels: BTreeMap::from([("group".to_owned(), TARGET.to_owned())]),
        uses: u32::try_from(runners).expect("few runners"),
        ttl_ms: 3_600_000,
    };
    let token = dispatch::make_token(client, order).await;
    let many = lab.folder.path().join("many");
    let (permits, mut tasks) = (Arc::new(Semaphore::new(ENROLLING)), tokio::task::JoinSet::new());
    for number in 0..runners {
        let permit = permits.clone().acquire_owned().await.expect("it is not closed");
        let (endpoint, token, folder) = (endpoint.clone(), token.clone(), many.join(number.to_string()));
        tasks.spawn(async move {
            std::fs::create_dir_all(&folder).expect("a folder");
            let name = format!("runner/many-{number}");
            enroll::enroll(&endpoint, &token, &name, &folder).await.expect("enrolled");
            drop(permit);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("no task panics");
    }
    many
}

/// Deploys a version to all hosts at once; the time until its run is over.
async fn wave(client: &Client, version: u8) -> Duration {
    let text = format!(
        "trimaran: v1\npipeline: many\nowner: bench\nartifacts:\n  bundle: {{ path: \"/many-{{version}}\" }}\n\
         workload:\n  host:\n    unpack: bundle\n    process: {{ command: [bin/many] }}\n    health: {{ http: \":80/\" }}\n\
         environments:\n- name: all\n  targets: [{TARGET}]\n  strategy: {{ batches: {{ sizes: [\"100%\"], max_unavailable: 100% }} }}\n"
    );
    let artifact = ArtifactVersion { version: format!("v{version}"), sha256: Some([version; 32]) };
    let request = DeployRequest {
        pipeline: None,
        file: Some(SourceFile { name: "many.yaml".to_owned(), text: text.into_bytes() }),
        artifacts: BTreeMap::from([("bundle".to_owned(), artifact)]),
        manifests: None,
        files: None,
        plan_digest: None,
        overrides: Vec::new(),
        reason: String::new(),
    };
    let began = Instant::now();
    let shown = dispatch::request(client, OperatorBody::Deploy(request)).await;
    let run = shown["run"].as_str().expect("a name").to_owned();
    loop {
        let (_, json) = client
            .request(None, OperatorBody::RunShow { run: run.clone() })
            .await
            .expect("the coordinator answers");
        let shown: Value = serde_json::from_str(&json).expect("JSON");
        match shown["status"].as_str() {
            Some("succeeded") => return began.elapsed(),
            Some("blocked" | "queued" | "running" | "pending" | "waiting") => {}
            other => panic!("{run} ended as {other:?}: {shown:#}"),
        }
        assert!(began.elapsed() < WAIT_MAX, "{run} ends: {}", shown["status"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The program of simulated runners.
struct Runners {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Runners {
    /// Starts it and waits until all have a session.
    fn start(agent: &str, data: &Path, pings: bool) -> Self {
        let mut command = Command::new(binaries().join("trimaran-simulated-runners"));
        command.arg(agent).arg(data).args(pings.then_some("ping"));
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the runners start");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut runners = Self { process, input, output };
        assert_eq!(runners.line(), "ready");
        runners
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it prints");
        line.trim().to_owned()
    }

    /// For how long a ping was left unanswered at most since it was last asked, and how late it read the acknowledgements itself.
    fn ask(&mut self) -> (Duration, Duration) {
        self.input.as_mut().expect("until it is dropped").write_all(b"\n").expect("it reads");
        let line = self.line();
        let numbers = line.split_once(' ');
        let micros = |text: &str| Duration::from_micros(text.parse().expect("a number"));
        numbers.map(|(unanswered, late)| (micros(unanswered), micros(late))).expect("two numbers")
    }
}

impl Drop for Runners {
    fn drop(&mut self) {
        drop(self.input.take());
        // It ends with its input.
        drop(self.process.wait());
    }
}
