//! A process that a test starts itself, with a log and a data directory of its own; it ends with the test.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use trimaran_test_support::wait::until;

use crate::lab::signal;

pub struct Process {
    pub child: Child,
    pub data_dir: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it prints is added to the file `log`.
    pub fn start(mut command: Command, data_dir: PathBuf, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).expect("a log");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a file")).stderr(file);
        Self { child: command.spawn().expect("it starts"), data_dir, log }
    }

    /// Sends a signal by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn wait_log(&self, words: &str, limit: Duration) {
        until(&format!("the log says {words:?}"), limit, || self.log().contains(words).then_some(()));
    }

    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        until("the process ends", limit, || self.child.try_wait().expect("a child"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.log.display(), self.log());
        }
        // SIGKILL ends one that stands still, too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
