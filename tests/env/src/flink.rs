//! A Flink cluster of real processes on loopback, which ends with the test. The scripts of `tests/env/flink` make it.
//!
//! `TRIMARAN_TEST_FLINK_URL` uses a cluster that runs already, `TRIMARAN_TEST_FLINK_SAVEPOINTS` names its savepoints.
//! `TRIMARAN_TEST_FLINK_VERSION` plays tests that are for any version on this one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::ports::Ports;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/flink");

fn cache() -> PathBuf {
    let set = std::env::var_os("TRIMARAN_CACHE").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("a home")).join(".cache/trimaran");
    set.unwrap_or_else(home).join("flink")
}

/// Where the jars of the demo job's variants are, each as `VARIANT.jar`. A cluster that was started has made them.
pub fn jars() -> PathBuf {
    cache().join("jobs")
}

/// The version of tests that are played on one.
pub fn version() -> String {
    chosen_version().unwrap_or_else(|| "2.3.0".to_owned())
}

/// The version that was asked for.
pub fn chosen_version() -> Option<String> {
    std::env::var("TRIMARAN_TEST_FLINK_VERSION").ok()
}

/// A cluster without high availability for all tests of this process that are at work at one time: the first of them starts
/// it, the last one ends it. For tests that harm neither its processes nor its uploads, with names of their own for their
/// jobs and a directory of their own for savepoints.
pub fn shared(version: &str) -> Arc<FlinkCluster> {
    static SHARED: Mutex<BTreeMap<String, Weak<FlinkCluster>>> = Mutex::new(BTreeMap::new());
    // Who comes while it starts waits for it. One that could not be started is tried again.
    let mut known = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = known.get(version).and_then(Weak::upgrade) {
        return cluster;
    }
    let cluster = Arc::new(FlinkCluster::start(version, false));
    known.insert(version.to_owned(), Arc::downgrade(&cluster));
    cluster
}

/// One JobManager and two TaskManagers.
pub struct FlinkCluster {
    url: String,
    savepoints: String,
    directory: tempfile::TempDir,
    /// How its scripts are called; `None` for a cluster of someone else.
    scripts: Option<Vec<(&'static str, String)>>,
    /// No other cluster has them until all processes of this one have ended.
    _ports: Option<Ports>,
}

impl FlinkCluster {
    /// Starts one; with high availability jobs survive the JobManager.
    pub fn start(version: &str, high_availability: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("trimaran-flink").tempdir().expect("a directory");
        run("setup.sh", &[], &[]);
        if let Ok(url) = std::env::var("TRIMARAN_TEST_FLINK_URL") {
            let savepoints = std::env::var("TRIMARAN_TEST_FLINK_SAVEPOINTS");
            let savepoints = savepoints.expect("where the savepoints of that cluster are");
            return Self { url, savepoints, directory, scripts: None, _ports: None };
        }
        let ports = Ports::reserve();
        let run_dir = directory.path().join("flink");
        let settings = vec![
            ("FLINK_VERSION", version.to_owned()),
            ("FLINK_REST_PORT", ports.first().to_string()),
            ("FLINK_RUN_DIR", run_dir.display().to_string()),
            ("FLINK_HA", u8::from(high_availability).to_string()),
        ];
        let url = format!("http://127.0.0.1:{}", ports.first());
        let savepoints = format!("file://{}/savepoints", run_dir.display());
        // From here on its end ends what was started of it.
        let it = Self { url, savepoints, directory, scripts: Some(settings), _ports: Some(ports) };
        run("start.sh", &["all"], it.own());
        it
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The directory of savepoints, as a `file://` URL.
    pub fn savepoints(&self) -> &str {
        &self.savepoints
    }

    /// A file beside the cluster, which ends with it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the JobManager keeps uploaded jars.
    pub fn uploads(&self) -> PathBuf {
        self.directory.path().join("flink/upload/flink-web-upload")
    }

    /// Ends the JobManager with SIGKILL and starts it again.
    pub fn restart_jobmanager(&self) {
        self.kill_jobmanager();
        self.start_jobmanager();
    }

    pub fn kill_jobmanager(&self) {
        run("stop.sh", &["jobmanager", "--kill"], self.own());
    }

    pub fn start_jobmanager(&self) {
        run("start.sh", &["jobmanager"], self.own());
    }

    pub fn kill_taskmanager(&self, number: u8) {
        run("stop.sh", &["taskmanager", &number.to_string(), "--kill"], self.own());
    }

    pub fn start_taskmanager(&self, number: u8) {
        run("start.sh", &["taskmanager", &number.to_string()], self.own());
    }

    /// Stops the JobManager's process where it is (SIGSTOP), or lets it go on.
    pub fn freeze_jobmanager(&self, is_frozen: bool) {
        let file = self.directory.path().join("flink/pid/jobmanager");
        let pid = std::fs::read_to_string(file).expect("the JobManager runs");
        let signal = if is_frozen { "-STOP" } else { "-CONT" };
        let status = Command::new("kill").args([signal, pid.trim()]).status().expect("kill runs");
        assert!(status.success(), "{signal} {pid}");
    }

    /// Runs Flink's own command-line client to its end; what it printed.
    pub fn client(&self, arguments: &[&str]) -> String {
        let version = self.own().iter().find(|(name, _)| *name == "FLINK_VERSION").expect("it is set");
        let program = cache().join(format!("flink-{}/bin/flink", version.1));
        let (command, rest) = arguments.split_first().expect("a command of the client");
        let address = self.url.trim_start_matches("http://");
        let output = Command::new(program)
            .args([*command, "-m", address])
            .args(rest)
            .env("FLINK_CONF_DIR", self.directory.path().join("flink/conf"))
            .env("FLINK_LOG_DIR", self.directory.path())
            .output()
            .expect("the client runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "flink {arguments:?}: {printed}{errors}");
        printed
    }

    fn own(&self) -> &[(&'static str, String)] {
        self.scripts.as_deref().expect("only a cluster of the test's own is killed")
    }
}

impl Drop for FlinkCluster {
    fn drop(&mut self) {
        if let Some(settings) = &self.scripts {
            run("stop.sh", &["all", "--kill"], settings);
        }
    }
}

/// Runs a script to its end; what it printed.
fn run(name: &str, arguments: &[&str], settings: &[(&str, String)]) -> String {
    let mut command = Command::new(Path::new(SCRIPTS).join(name));
    let command = command.args(arguments).envs(settings.iter().cloned());
    let output = command.output().expect("the script runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("a script prints text")
}

/// What the demo job wrote to its file: how often each record is there. The source numbers them from 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records(pub BTreeMap<u64, u32>);

impl Records {
    /// Reads the file of `--out`; a line that is being written is passed over.
    pub fn read(sink: &Path) -> Self {
        let text = std::fs::read_to_string(sink).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut counts = BTreeMap::new();
        for line in whole.lines() {
            let number = line.split(' ').next().and_then(|it| it.parse().ok()).expect("a number comes first");
            *counts.entry(number).or_default() += 1;
        }
        Self(counts)
    }

    /// Numbers below the largest one that are not there.
    pub fn missing(&self) -> Vec<u64> {
        let Some(last) = self.0.keys().last() else { return Vec::new() };
        (0..*last).filter(|number| !self.0.contains_key(number)).collect()
    }

    /// Lines beyond the first one of each record.
    pub fn repeated(&self) -> u64 {
        self.0.values().map(|count| u64::from(count - 1)).sum()
    }
}

/// Watches the sink of a job from outside: for how long nothing was written.
pub struct SinkWatch {
    stop: std::sync::mpsc::Sender<()>,
    thread: std::thread::JoinHandle<Duration>,
}

impl SinkWatch {
    /// How often the file is looked at, which is how exact the answer is.
    pub const INTERVAL: Duration = Duration::from_millis(5);

    /// Begins with what is there now.
    pub fn start(sink: &Path) -> Self {
        let (stop, stopped) = std::sync::mpsc::channel();
        let sink = sink.to_owned();
        let size = move || std::fs::metadata(&sink).map_or(0, |metadata| metadata.len());
        let thread = std::thread::spawn(move || {
            let (mut last, mut since, mut longest) = (size(), Instant::now(), Duration::ZERO);
            while stopped
                .recv_timeout(Self::INTERVAL)
                .is_err_and(|it| it == std::sync::mpsc::RecvTimeoutError::Timeout)
            {
                let now = size();
                longest = longest.max(since.elapsed());
                if now != last {
                    (last, since) = (now, Instant::now());
                }
            }
            longest
        });
        Self { stop, thread }
    }

    /// The longest time without a record.
    pub fn longest_gap(self) -> Duration {
        drop(self.stop);
        self.thread.join().expect("the watch does not panic")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_repeated_records_are_counted() {
        let folder = tempfile::tempdir().expect("a directory");
        let sink = folder.path().join("records");
        std::fs::write(&sink, "0 0 1 v1 0\n1 1 1 v1 0\n1 1 2 v2 0\n4 4 1 v2 0\n5 0 2 v").expect("a file");
        let records = Records::read(&sink);
        assert_eq!((records.missing(), records.repeated()), (vec![2, 3], 1));
        assert_eq!(Records::read(&folder.path().join("none")), Records::default());
    }
}
