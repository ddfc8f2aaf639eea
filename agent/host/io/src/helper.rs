//! Commands beside a service: probes by command, hooks, drain. Each runs as its service does, in its release, under a shim
//! of its own that kills all of it when its time is over; so nothing of it is left whatever becomes of the runner.

use std::path::{Path, PathBuf};
use std::time::Duration;

use trimaran_host_core::host::Exit;

use crate::shim::{self, OutputPlace, ShimSpec, StartError};

/// Beyond its time limit a command is ended by its shim within this time, unless the kernel can't end it.
const END_SLACK: Duration = Duration::from_secs(1);
/// Bytes of a command's output that a message has.
const WORDS_BYTES_MAX: usize = 300;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Exit(Exit),
    /// It was killed with all that it had started.
    TimedOut,
}

/// Runs `spec`, whose directory is removed afterwards. Returns how it ended and the end of its output, on one line.
pub(crate) async fn run(
    binary: &Path,
    mut spec: ShimSpec,
    limit: Duration,
) -> Result<(Ended, String), StartError> {
    spec.time_limit = Some(limit);
    spec.output = OutputPlace::Tail;
    let removed = Removed(spec.dir.clone());
    let began = tokio::time::Instant::now();
    let mut shim = shim::start(binary, &spec).await?;
    let exit = tokio::time::timeout(limit + END_SLACK, shim.exited()).await;
    let killed = |exit: &Exit| exit.signal == Some(libc::SIGKILL) && began.elapsed() >= limit;
    let ended = match exit {
        Ok(exit) if !killed(&exit) => Ended::Exit(exit),
        _ => Ended::TimedOut,
    };
    let words = words(&removed.0.join(shim::TAIL));
    Ok((ended, words))
}

/// What happened, with the last words of who it happened to.
pub(crate) fn with_words(what: String, words: &str) -> String {
    if words.is_empty() { what } else { format!("{what}: {words}") }
}

/// The last line that a command wrote.
fn words(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let shown: String = last.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    trimaran_model::text::cut(shown, WORDS_BYTES_MAX)
}

/// A directory that goes with this value. One that can't be removed now is removed when a host is opened.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
