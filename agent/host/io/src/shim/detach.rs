//! From a child of the runner to a process on its own: before anything of the service exists.
//!
//! The shim process has one thread, so it may fork and continue in the child.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::Mode;
use trimaran_model::limits::SHIM_SPEC_BYTES_MAX;

use super::control::Started;
use super::signals;
use super::spec::ShimSpec;
use super::supervisor;

/// Exit codes of INTERFACE 3.
const INTERNAL: u8 = 1;
const USAGE: u8 = 2;

/// Entry of `trimaran-agent shim --dir DIR`; `args` are what follows `shim`.
///
/// The runner passes a memory file with the specification as stdin, a pipe for the outcome as stdout, and the
/// locked file of the directory as stderr.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let [flag, dir] = args.as_slice() else { return usage() };
    if flag != "--dir" {
        return usage();
    }
    close_inherited();
    let dir = PathBuf::from(dir);
    let Some(spec) = read_spec(&dir) else { return usage() };
    // SAFETY: this process has one thread, so the child may do whatever its parent might.
    match unsafe { libc::fork() } {
        0 => serve(&dir, &spec),
        -1 => {
            report_start(&Started::Failed(format!("can't fork: {}", std::io::Error::last_os_error())));
            ExitCode::from(INTERNAL)
        }
        // The runner waits for this process; the shim itself is reparented from here on.
        _ => ExitCode::SUCCESS,
    }
}

fn usage() -> ExitCode {
    eprintln!("`shim` holds one service of a host. It is started by a runner and not by hand.");
    ExitCode::from(USAGE)
}

/// Files that the runner's own parent left open would live as long as the service.
fn close_inherited() {
    // SAFETY: nothing of this process has been opened yet beside the three standard files.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
}

fn read_spec(dir: &Path) -> Option<ShimSpec> {
    let mut file = File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.rewind().ok()?;
    let mut bytes = Vec::new();
    file.take(SHIM_SPEC_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).ok()?;
    ShimSpec::decode(dir, &bytes)
}

/// Writes the outcome for the runner. One that is gone does not need it.
fn report_start(started: &Started) {
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(started.line().as_bytes()).and_then(|()| stdout.flush());
}

fn serve(dir: &Path, spec: &ShimSpec) -> ExitCode {
    let (lock, null) = match prepare(dir) {
        Ok(prepared) => prepared,
        Err(error) => {
            report_start(&Started::Failed(format!("can't prepare the shim: {error}")));
            return ExitCode::from(INTERNAL);
        }
    };
    let supervisor = match supervisor::Supervisor::start(spec) {
        Ok(supervisor) => supervisor,
        Err(failed) => {
            // First the lock: who learns of it may try again at once.
            drop(lock);
            report_start(&failed);
            return ExitCode::from(INTERNAL);
        }
    };
    report_start(&Started::Yes);
    // The end of the pipe must not wait for the service.
    if rustix::stdio::dup2_stdout(&null).is_err() {
        return ExitCode::from(INTERNAL);
    }
    supervisor.run(lock);
    ExitCode::SUCCESS
}

/// A session of its own, inside of `dir`, with standard files that lead nowhere. Returns the lock and a
/// file that leads nowhere.
fn prepare(dir: &Path) -> std::io::Result<(OwnedFd, File)> {
    signals::reset()?;
    rustix::process::setsid()?;
    std::env::set_current_dir(dir)?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let lock = std::io::stderr().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // All that the service leaves behind becomes a child of this process.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok((lock, null))
}
