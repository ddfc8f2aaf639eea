//! The runner's side of a start.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;

use super::control::Started;
use super::group;
use super::handle::{self, Attached, Inspected, Shim};
use super::lock;
use super::process;
use super::spec::{BadSpec, ShimSpec};
use super::state::State;
use crate::executable;

/// From the start of the shim to its word on the service. An exec on a dead network disk may take for ever.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The shim's word is one short line.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Why a service does not run. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the service can't be described: {0}")]
    Spec(#[from] BadSpec),
    #[error("a service runs in `{dir}` already")]
    AlreadyRunning { dir: PathBuf },
    /// What is missing, or else the system's words: no such file, permission denied, exec format error.
    #[error("can't run `{program}`: {}", .why.as_ref().unwrap_or(&.source.to_string()))]
    Exec { program: PathBuf, why: Option<String>, source: io::Error },
    #[error("the shim could not start the service: {detail}")]
    Shim { detail: String },
    #[error("can't {operation} `{path}`: {source}")]
    Io { operation: &'static str, path: PathBuf, source: io::Error },
}

/// The binary of this process as it was started, whatever has been put in its place since: a shim always speaks the
/// language of the runner that starts it (proc_pid_exe(5)).
pub const OWN_BINARY: &str = "/proc/self/exe";
/// The name of a shim's binary in lists of processes.
const SHOWN_NAME: &str = "trimaran-agent";

/// Starts a service under a shim of its own and returns when its program runs.
///
/// # Errors
/// [`StartError::AlreadyRunning`] when the directory has a service; [`super::attach`] says more.
pub async fn start(binary: &Path, spec: &ShimSpec) -> Result<Shim, StartError> {
    let (binary, owned) = (binary.to_owned(), spec.clone());
    let launched = crate::blocking::spawn(move || launch(&binary, &owned)).await;
    launched.map_err(|error| StartError::Shim { detail: error.to_string() })??;
    let failed = |source| StartError::Io { operation: "attach to", path: spec.dir.clone(), source };
    match handle::attach(&spec.dir).await.map_err(failed)? {
        Attached::Running(shim) => Ok(shim),
        // It was quick.
        Attached::Ended(_) => Shim::ended(&spec.dir).map_err(failed),
        Attached::Nothing => Err(StartError::Shim { detail: "it left no state".to_owned() }),
    }
}

fn launch(binary: &Path, spec: &ShimSpec) -> Result<(), StartError> {
    let bytes = spec.encode()?;
    let io = |operation, path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| StartError::Io { operation, path, source }
    };
    let dir = std::path::absolute(&spec.dir).map_err(io("find", &spec.dir))?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(io("create", &dir))?;
    let lock = lock::open(&dir).map_err(io("open the lock in", &dir))?;
    if !lock::acquire_within_timeout(&lock).map_err(io("lock", &dir))? {
        return Err(StartError::AlreadyRunning { dir });
    }
    if let Some(state) = State::read(&dir).map_err(io("read the state in", &dir))?
        && matches!(handle::judge(&dir, state).map_err(io("inspect", &dir))?, Inspected::Orphan(..))
    {
        return Err(StartError::AlreadyRunning { dir });
    }
    State::remove(&dir).map_err(io("remove the old state in", &dir))?;
    let specification = memory_file(&bytes).map_err(io("make a memory file for", &dir))?;
    // It exists as long as the service: nothing that the runner's own environment holds belongs into it.
    let switch = std::env::var_os(group::SWITCH).map(|value| (group::SWITCH, value));
    let mut child = Command::new(binary)
        .arg0(SHOWN_NAME)
        .env_clear()
        .envs(switch)
        .arg("shim")
        .arg("--dir")
        .arg(&dir)
        .stdin(Stdio::from(specification))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(lock))
        .spawn()
        .map_err(io("run the shim", binary))?;
    let answer = child.stdout.take().map(read_answer).unwrap_or_default();
    // The first process ends as soon as it has forked.
    child.wait().map_err(io("wait for the shim", binary))?;
    match Started::parse(&answer) {
        Some(Started::Yes) => Ok(()),
        Some(Started::NotExecuted(errno)) => {
            let source = io::Error::from_raw_os_error(errno);
            let program = spec.program();
            let why = executable::explain(&program, &spec.cwd, &source);
            Err(StartError::Exec { program, why, source })
        }
        Some(Started::Failed(detail)) => Err(StartError::Shim { detail }),
        None => Err(StartError::Shim { detail: format!("it did not say how the start went: `{answer}`") }),
    }
}

fn memory_file(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("trimaran-shim", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Reads until the shim has closed the pipe or the limit has passed.
fn read_answer(mut pipe: std::process::ChildStdout) -> String {
    let deadline = Instant::now() + START_TIMEOUT;
    let mut answer = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(&pipe, PollFlags::IN)];
        let readable = rustix::event::poll(&mut fds, Some(&process::timespec(left)));
        let mut buffer = [0; 512];
        match readable {
            Ok(0) if left.is_zero() => break,
            Ok(0) | Err(Errno::INTR) => continue,
            Ok(_) => match pipe.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
            },
            Err(_) => break,
        }
        if answer.len() as u64 > ANSWER_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}
