//! A data directory with a service in several versions, and the commands of one host against it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

/// Addresses 127.0.21.* that labs of this run take one after the other.
static ADDRESSES: AtomicU8 = AtomicU8::new(20);

pub(crate) struct Lab {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: String,
    pub(crate) port: u16,
}

/// The agent's binary of this build.
pub(crate) fn agent() -> PathBuf {
    let service = PathBuf::from(env!("CARGO_BIN_EXE_trimaran-test-service"));
    let agent = service.with_file_name("trimaran-agent");
    assert!(agent.is_file(), "{} is missing: cargo build -p trimaran-agent", agent.display());
    agent
}

impl Lab {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("trimaran-host").tempdir().expect("a directory");
        let address = format!("127.0.21.{}", ADDRESSES.fetch_add(1, Ordering::Relaxed));
        let free = std::net::TcpListener::bind((address.as_str(), 0)).expect("a free port");
        let port = free.local_addr().expect("an address").port();
        Self { folder, address, port }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn start_log(&self) -> PathBuf {
        self.folder.path().join("starts")
    }

    /// Packs a version and returns path and digest of its archive.
    pub(crate) fn pack(&self, version: &str) -> (PathBuf, String) {
        let path = self.folder.path().join(format!("web-{version}.tar"));
        let mut archive = tar::Builder::new(std::fs::File::create(&path).expect("an archive"));
        let service = env!("CARGO_BIN_EXE_trimaran-test-service");
        archive.append_path_with_name(service, "bin/web").expect("the service is packed");
        let mut header = tar::Header::new_gnu();
        header.set_size(version.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, "VERSION", version.as_bytes()).expect("a file is packed");
        archive.into_inner().expect("the archive is written").sync_all().expect("a file is synced");
        let digest = Sha256::digest(std::fs::read(&path).expect("the archive can be read"));
        (path, digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Writes the SPEC of a version.
    pub(crate) fn spec(&self, version: &str, behaviour: &str) -> PathBuf {
        self.spec_with(version, behaviour, "")
    }

    /// As [`Lab::spec`], with more lines below `host`.
    pub(crate) fn spec_with(&self, version: &str, behaviour: &str, more: &str) -> PathBuf {
        let (archive, digest) = self.pack(version);
        let path = self.folder.path().join(format!("web-{version}.yaml"));
        let text = format!(
            "trimaran: v1\nservice: web\nversion: {version}\n\
             artifact: {{ path: {archive}, sha256: {digest} }}\n\
             host:\n  \
               process:\n    command: [bin/web, \"{address}:{port}\", {log}, {version}, {behaviour}]\n    \
                 stop: {{ grace: 500ms }}\n  \
               health: {{ http: \":{port}/healthz\", interval: 50ms, timeout: 500ms, min_healthy: 200ms, deadline: 5s }}\n",
            archive = archive.display(),
            address = self.address,
            port = self.port,
            log = self.start_log().display(),
        );
        let more: String = more.lines().map(|line| format!("  {}\n", line.trim())).collect();
        std::fs::write(&path, text + &more).expect("a file");
        path
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(agent());
        command.arg("host").args(words).arg("--data-dir").arg(self.data());
        if words[0] != "stop-all" {
            command.args(["--address", &self.address, "--name", "host-1"]);
        }
        command
    }

    /// A command that may take its time.
    pub(crate) fn spawn(&self, words: &[&str]) -> std::process::Child {
        let mut command = self.command(words);
        command.stdin(std::process::Stdio::null());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().expect("the agent runs")
    }

    /// A command in an environment with more variables.
    pub(crate) fn run_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Output {
        self.command(words).envs(variables.iter().copied()).output().expect("the agent runs")
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the agent runs")
    }

    /// A line of a page, as a reader gives it to a shell in the folder of the files.
    pub(crate) fn shell(&self, line: &str) -> Output {
        let path = agent().parent().map(|folder| folder.display().to_string()).unwrap_or_default();
        let path = format!("{path}:{}", std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.folder.path()).env("PATH", path);
        shell.output().expect("sh runs")
    }

    /// A command that dies at its failpoint number `n`.
    pub(crate) fn run_until(&self, words: &[&str], n: u32) -> Output {
        self.command(words).env("TRIMARAN_FAILPOINT", n.to_string()).output().expect("the agent runs")
    }

    /// `host apply`; checks its exit code.
    pub(crate) fn apply(&self, spec: &Path, exit: i32) -> String {
        let output = self.run(&["apply", &spec.display().to_string()]);
        let (out, err) = words_of(&output);
        assert_eq!(output.status.code(), Some(exit), "{out}{err}");
        out
    }

    /// Starts of each version, as the service counted them.
    pub(crate) fn starts(&self) -> BTreeMap<String, usize> {
        let mut starts = BTreeMap::new();
        for (version, _) in self.noted() {
            *starts.entry(version).or_default() += 1;
        }
        starts
    }

    /// Versions of processes that noted their start and live.
    pub(crate) fn alive(&self) -> Vec<String> {
        self.noted().into_iter().filter(|(_, pid)| is_alive(*pid)).map(|(version, _)| version).collect()
    }

    /// The process of the service that runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.noted().into_iter().map(|(_, pid)| pid).rfind(|pid| is_alive(*pid))
    }

    fn noted(&self) -> Vec<(String, u32)> {
        let text = std::fs::read_to_string(self.start_log()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(version, pid)| (version.to_owned(), pid.parse().expect("a pid"))).collect()
    }

    /// The version that `current` names, read from the release itself.
    pub(crate) fn current(&self) -> String {
        std::fs::read_to_string(self.installation().join("current/VERSION"))
            .expect("`current` names a release")
    }

    pub(crate) fn installation(&self) -> PathBuf {
        self.data().join("services/web@local")
    }

    /// Names of leftovers of work that was interrupted.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for dir in [self.installation(), self.installation().join("releases"), self.data().join("cache")] {
            for entry in std::fs::read_dir(dir).expect("the directory is there").flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.contains("tmp") || name.starts_with(".part") {
                    found.push(name);
                }
            }
        }
        found
    }

    /// What must be true when nothing is in progress: exactly this version runs, and everything says so.
    pub(crate) fn check(&self, version: &str, context: &str) {
        assert_eq!(self.alive(), [version], "{context}: exactly one runs");
        assert_eq!(self.current(), version, "{context}: and it is current");
        assert_eq!(self.leftovers(), Vec::<String>::new(), "{context}: nothing temporary is left");
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Services outlive the test otherwise. A directory that was never made has none.
        let _ = self.run(&["stop-all"]);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let left = self.processes();
        self.kill_all();
        assert!(left.is_empty() || std::thread::panicking(), "the test leaves processes behind: {left:?}");
    }
}

impl Lab {
    /// Everything that names this lab's folder in its arguments: shims, services, commands.
    fn processes(&self) -> Vec<(u32, String)> {
        let folder = self.folder.path().to_str().expect("a name of ours");
        let numbers = std::fs::read_dir("/proc").expect("/proc").flatten();
        let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let named = numbers.filter_map(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            (command.contains(folder) && pid != std::process::id() && is_alive(pid)).then_some((pid, command))
        });
        named.collect()
    }

    /// Ends all of them by SIGKILL.
    pub(crate) fn kill_all(&self) {
        for (pid, _) in self.processes() {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
    }
}

pub(crate) fn words_of(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Whether a process runs; one that only waits to be reaped does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Runs a test that waits.
pub(crate) fn run(test: impl Future<Output = ()>) {
    // What it waits for works on while it inspects a process.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

/// Polls until `observe` finds something.
pub(crate) fn until<T>(what: &str, mut observe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = observe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
