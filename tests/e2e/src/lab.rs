//! A lab: `trimaran dev` in a temporary directory, and the CLI against it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::Value;

use trimaran_test_support::wait::until;

/// Lines of each part's log that a failed test shows.
const LOG_LINES: usize = 40;

/// The directory of the binaries that belong to this build.
pub fn binaries() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its binary");
    let folder = own.parent().expect("a binary is in a folder");
    let folder =
        if folder.ends_with("deps") { folder.parent().expect("deps is in a folder") } else { folder };
    folder.to_owned()
}

/// One row of `processes.json`.
#[derive(Debug, Clone)]
pub struct Part {
    pub name: String,
    pub role: String,
    pub pid: Option<u32>,
    pub argv: Vec<String>,
    pub data_dir: PathBuf,
    pub address: String,
}

/// A running dev cluster.
pub struct Lab {
    pub folder: tempfile::TempDir,
    dev: Child,
    /// Parts that were started by hand; ended by dev like the others, reaped here.
    by_hand: Mutex<Vec<Child>>,
    /// Agents beside dev's own; ended here.
    agents: Mutex<Vec<u32>>,
    hosts: u8,
    coordinators: u8,
    subnet: String,
    environment: Vec<(String, String)>,
}

impl Lab {
    /// Starts a cluster and waits until it says that it is ready. `subnet` must differ between labs that run
    /// at the same time.
    pub fn start(hosts: u8, subnet: &str) -> Self {
        Self::start_with(1, hosts, subnet)
    }

    /// As [`Lab::start`], with so many coordinators.
    pub fn start_with(coordinators: u8, hosts: u8, subnet: &str) -> Self {
        Self::start_in((coordinators, hosts), subnet, Vec::new())
    }

    fn start_in(parts: (u8, u8), subnet: &str, environment: Vec<(String, String)>) -> Self {
        let folder =
            tempfile::Builder::new().prefix("trimaran-lab").tempdir().expect("a temporary directory");
        let dev = start_dev(folder.path(), parts, subnet, &environment);
        let subnet = subnet.to_owned();
        let (coordinators, hosts) = parts;
        let (by_hand, agents) = Default::default();
        Self { folder, dev, by_hand, agents, hosts, coordinators, subnet, environment }
    }

    /// Starts a cluster on addresses that no other lab of this process uses.
    pub fn fresh(hosts: u8) -> Self {
        Self::fresh_with(1, hosts)
    }

    /// As [`Lab::fresh`], with so many coordinators.
    pub fn fresh_with(coordinators: u8, hosts: u8) -> Self {
        Self::fresh_in(coordinators, hosts, &[])
    }

    /// As [`Lab::fresh_with`], with these variables in the environment of everything that it starts itself.
    pub fn fresh_in(coordinators: u8, hosts: u8, environment: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(40);
        let subnet = format!("127.0.{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self::start_in((coordinators, hosts), &subnet, environment.iter().map(owned).collect())
    }

    /// Ends everything and starts it again on the same data.
    pub fn restart(&mut self) {
        self.restart_with(Vec::new());
    }

    /// As [`Lab::restart`], with these variables in the environment of everything, the CLI too.
    pub fn restart_with(&mut self, environment: Vec<(String, String)>) {
        self.end();
        self.environment = environment;
        let parts = (self.coordinators, self.hosts);
        self.dev = start_dev(self.folder.path(), parts, &self.subnet, &self.environment);
    }

    /// Ends `trimaran dev` itself with SIGKILL, which leaves its parts running.
    pub fn kill_dev(&mut self) {
        self.dev.kill().expect("dev runs");
        self.dev.wait().expect("a child");
    }

    /// The data directory of the whole cluster.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// How many hosts it has.
    pub fn hosts(&self) -> u8 {
        self.hosts
    }

    /// The address of host N on `port`.
    pub fn host(&self, number: u8, port: u16) -> SocketAddr {
        format!("{}.{number}:{port}", self.subnet).parse().expect("an address")
    }

    pub fn parts(&self) -> Vec<Part> {
        let text = std::fs::read_to_string(self.data().join("processes.json")).expect("processes.json");
        let rows: Vec<Value> = serde_json::from_str(&text).expect("processes.json is JSON");
        rows.iter().map(part).collect()
    }

    pub fn part(&self, name: &str) -> Part {
        self.parts().into_iter().find(|part| part.name == name).expect("a part of this name")
    }

    /// Ends a part with SIGKILL.
    pub fn kill(&self, name: &str) {
        // One that was just started is noticed a moment later.
        let pid = until("the part runs", Duration::from_secs(5), || {
            self.part(name).pid.filter(|pid| is_alive(*pid))
        });
        signal(pid, "KILL");
        until("the killed process is gone", Duration::from_secs(5), || (!is_alive(pid)).then_some(()));
    }

    /// Starts a part by hand with the argv of `processes.json`.
    pub fn start_part(&self, name: &str) {
        self.start_part_with(name, &[]);
    }

    /// As [`Lab::start_part`], with further arguments.
    pub fn start_part_with(&self, name: &str, more: &[&str]) {
        self.start_part_in(name, more, &[]);
    }

    /// As [`Lab::start_part_with`], with these variables in its environment; the process id.
    pub fn start_part_in(&self, name: &str, more: &[&str], environment: &[(String, String)]) -> u32 {
        let part = self.part(name);
        let more = more.iter().map(|word| (*word).to_owned());
        let argv: Vec<String> = part.argv.iter().cloned().chain(more).collect();
        self.start_process(&argv, &part.data_dir, environment)
    }

    /// Starts a process of its own whose log goes to its directory.
    pub fn start_argv(&self, argv: &[String], data_dir: &Path) {
        self.start_process(argv, data_dir, &[]);
    }

    /// Enrols a further agent and starts it; for targets of clusters, which need no runners.
    pub fn add_agent(&self, name: &str) {
        let token = self.json(&["agent", "enroll", name])["token"].as_str().expect("a token").to_owned();
        let data_dir = self.folder.path().join(name);
        std::fs::create_dir(&data_dir).expect("a folder");
        let file = self.folder.path().join(format!("{name}.token"));
        std::fs::write(&file, token).expect("a file");
        let own = self.part("lab").argv;
        let endpoint = own.iter().skip_while(|word| *word != "--endpoint").take(2);
        let words = ["run", "--role", "agent", "--name", name, "--data-dir"].map(str::to_owned);
        let argv: Vec<String> = [own[0].clone()]
            .into_iter()
            .chain(words)
            .chain([data_dir.display().to_string(), "--token-file".to_owned(), file.display().to_string()])
            .chain(endpoint.cloned())
            .collect();
        let pid = self.start_process(&argv, &data_dir, &[]);
        self.agents.lock().expect("no thread panics with the lock").push(pid);
        until("the further agent is connected", Duration::from_secs(20), || {
            let list = self.json(&["agent", "list"]);
            let agents = list["agents"].as_array().cloned().unwrap_or_default();
            agents.iter().any(|it| it["name"] == name && it["state"] == "connected").then_some(())
        });
    }

    /// Starts a coordinator that dev does not know, as a new member at this address; its process id.
    pub fn join_coordinator(&self, name: &str, address: &str, endpoint: &str) -> u32 {
        let token = self.ok(&["--endpoint", endpoint, "cluster", "token", name]);
        let data_dir = self.data().join(name);
        let program = self.part("c1").argv[0].clone();
        let words = |verb: &str| {
            let data_dir = data_dir.display().to_string();
            [&program, verb, "--name", name, "--data-dir", &data_dir, "--listen", address].map(str::to_owned)
        };
        let mut join = Command::new(&program);
        join.args(&words("join")[1..]).args(["--endpoint", endpoint, "--token-file", "-"]);
        let mut join =
            join.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the coordinator joins");
        let mut input = join.stdin.take().expect("it is piped");
        input.write_all(token.as_bytes()).expect("it reads the token");
        drop(input);
        let joined = join.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&joined.stderr);
        assert!(joined.status.success(), "{name} could not join: {said}");
        self.start_process(&words("run"), &data_dir, &[])
    }

    pub(crate) fn start_process(
        &self,
        argv: &[String],
        data_dir: &Path,
        environment: &[(String, String)],
    ) -> u32 {
        let log = File::options().create(true).append(true).open(data_dir.join("log")).expect("a log");
        let child = Command::new(&argv[0])
            .args(&argv[1..])
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("the part starts");
        let pid = child.id();
        self.by_hand.lock().expect("no thread panics with the lock").push(child);
        pid
    }

    /// Runs the CLI and returns everything that came of it.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = command(self.folder.path());
        command.envs(self.environment.iter().cloned()).args(arguments);
        command.output().expect("the CLI runs")
    }

    /// Starts a CLI that goes on, with its output piped.
    pub fn start_cli(&self, arguments: &[&str]) -> Child {
        let mut command = command(self.folder.path());
        command.envs(self.environment.iter().cloned()).args(arguments).stdout(Stdio::piped());
        command.spawn().expect("the CLI runs")
    }

    /// Runs the CLI; it must succeed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "trimaran {arguments:?} ended with {}: {stderr}", output.status);
        String::from_utf8(output.stdout).expect("the CLI prints UTF-8")
    }

    /// Runs the CLI with `-o json`; it must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[arguments, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
    }

    /// The run's document.
    pub fn show(&self, run: &str) -> Value {
        self.json(&["run", "show", run])
    }

    /// Waits until the run has this status.
    pub fn wait_status(&self, run: &str, status: &str, limit: Duration) -> Value {
        self.wait_run(run, status, limit, |shown| (shown["status"] == status).then(|| shown.clone()))
    }

    /// Waits until the run is done, however it ended.
    pub fn wait_finished(&self, run: &str, limit: Duration) -> Value {
        self.wait_run(run, "finished", limit, |shown| {
            (!shown["finished_at"].is_null()).then(|| shown.clone())
        })
    }

    /// Waits until `found` says something of the run's document; without, the document as it is then is shown.
    pub fn wait_run<T>(
        &self,
        run: &str,
        what: &str,
        limit: Duration,
        found: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let deadline = std::time::Instant::now() + limit;
        loop {
            let shown = self.show(run);
            if let Some(found) = found(&shown) {
                return found;
            }
            assert!(std::time::Instant::now() < deadline, "{run}: not within {limit:?}: {what}: {shown:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The last lines of each part's log: they are lost with the lab.
    fn show_logs(&self) {
        for entry in std::fs::read_dir(self.data()).into_iter().flatten().flatten() {
            let Ok(log) = std::fs::read_to_string(entry.path().join("log")) else { continue };
            let lines: Vec<_> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            eprintln!("log of {}, at its end:\n{last}", entry.file_name().display());
        }
    }

    fn end(&mut self) {
        if matches!(self.dev.try_wait(), Ok(None)) {
            signal(self.dev.id(), "TERM");
        }
        until("dev ends", Duration::from_secs(30), || self.dev.try_wait().expect("a child").map(|_| ()));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        for agent in self.agents.lock().expect("no thread panics with the lock").drain(..) {
            signal(agent, "TERM");
        }
        if matches!(self.dev.try_wait(), Ok(None)) {
            signal(self.dev.id(), "TERM");
            // Bounded by dev itself; a test that failed must not hang here.
            let _ = self.dev.wait();
        }
        for child in self.by_hand.lock().expect("no thread panics with the lock").iter_mut() {
            // What dev does not know it has not ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn part(row: &Value) -> Part {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    Part {
        name: text("name"),
        role: text("role"),
        pid: row["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()),
        argv: row["argv"]
            .as_array()
            .map(|argv| argv.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect())
            .unwrap_or_default(),
        data_dir: PathBuf::from(text("data_dir")),
        address: text("address"),
    }
}

/// The CLI with the lab's own configuration and context.
fn command(folder: &Path) -> Command {
    let mut command = Command::new(binaries().join("trimaran"));
    command
        .env("TRIMARAN_CONFIG", folder.join("config.toml"))
        .env("TRIMARAN_CONTEXT", "dev")
        .current_dir(folder)
        .stdin(Stdio::null());
    command
}

fn start_dev(
    folder: &Path,
    (coordinators, hosts): (u8, u8),
    subnet: &str,
    environment: &[(String, String)],
) -> Child {
    let mut dev = command(folder)
        .envs(environment.iter().cloned())
        .args(["dev", "--coordinators", &coordinators.to_string()])
        .args(["--hosts", &hosts.to_string(), "--subnet", subnet, "--data-dir"])
        .arg(folder.join("data"))
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join("dev.log")).expect("a log"))
        .spawn()
        .expect("`trimaran dev` starts");
    let stdout = dev.stdout.take().expect("a pipe");
    let ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == "ready");
    let log = std::fs::read_to_string(folder.join("dev.log")).unwrap_or_default();
    assert!(ready, "`trimaran dev` did not get ready:\n{log}");
    dev
}

/// Sends a signal by name to one process.
pub fn signal(pid: u32, name: &str) {
    let status =
        Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("kill runs");
    assert!(status.success() || !is_alive(pid), "signal {name} to {pid}");
}

/// Whether a process runs; one that only waits to be reaped does not.
pub fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// The memory that a process has for itself: what it allocated and touched.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("RssAnon")).expect("a line");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
    kib * 1024
}
