//! A machine beside those that `trimaran dev` starts: one that was enrolled by hand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use trimaran_test_support::wait::until;

use crate::lab::{Lab, binaries, is_alive, signal};
use crate::web::starts;

/// Its runner and what runs on it end with it.
pub struct Machine<'a> {
    lab: &'a Lab,
    pub name: String,
    pub data_dir: PathBuf,
    argv: Vec<String>,
    pid: u32,
}

impl<'a> Machine<'a> {
    /// Starts a runner that enrolls itself by the token in a file. `number` is the last part of its address; machines of
    /// one number are copies of each other in all but their directories.
    pub fn start(lab: &'a Lab, name: &str, number: u8, token: &Path) -> Self {
        let data_dir = lab.folder.path().join(format!("machines/{}-{name}", machines_made()));
        std::fs::create_dir_all(&data_dir).expect("a folder");
        let word = |text: &str| text.to_owned();
        let argv = vec![
            binaries().join("trimaran-agent").display().to_string(),
            word("run"),
            word("--role"),
            word("runner"),
            word("--name"),
            word(name),
            word("--data-dir"),
            data_dir.display().to_string(),
            word("--endpoint"),
            lab.part("lab").address,
            word("--address"),
            lab.host(number, 0).ip().to_string(),
            word("--token-file"),
            token.display().to_string(),
        ];
        let pid = lab.start_process(&argv, &data_dir, &[]);
        Self { lab, name: word(name), data_dir, argv, pid }
    }

    /// Starts its runner again.
    pub fn start_again(&mut self) {
        self.pid = self.lab.start_process(&self.argv, &self.data_dir, &[]);
    }

    /// As [`Machine::start_again`], enrolled anew by another token.
    pub fn enroll_again(&mut self, token: &Path) {
        std::fs::remove_dir_all(self.data_dir.join("identity")).expect("it was enrolled");
        *self.argv.last_mut().expect("the token") = token.display().to_string();
        self.start_again();
    }

    /// Ends its runner alone.
    pub fn kill_runner(&self) {
        signal(self.pid, "KILL");
        until("the runner is gone", Duration::from_secs(5), || (!self.runner_runs()).then_some(()));
    }

    pub fn runner_runs(&self) -> bool {
        is_alive(self.pid)
    }

    /// The service that it started last, when it still runs.
    pub fn service(&self) -> Option<u32> {
        let pid = starts(self.lab).iter().rev().find(|it| it.host == self.name)?.pid;
        is_alive(pid).then_some(pid)
    }

    /// What its runner wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data_dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if self.runner_runs() {
            signal(self.pid, "KILL");
        }
        // While it holds the directory nothing else may end what runs there.
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.runner_runs() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mut stop = Command::new(&self.argv[0]);
        stop.args(["host", "stop-all", "--data-dir"]).arg(&self.data_dir);
        // Nothing ran there yet, or what ran is ended.
        let _ = stop.output();
    }
}

/// Numbers the directories.
fn machines_made() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::SeqCst)
}
