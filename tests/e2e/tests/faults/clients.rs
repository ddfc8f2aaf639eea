//! Clients that change and read one target document through each coordinator, for as long as a fault lasts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::Lab;

use crate::history::{Kind, Operation};

/// Between two operations of a client: the machine belongs to the coordinators.
const PACE: Duration = Duration::from_millis(50);

/// What all clients saw.
#[derive(Default)]
pub(crate) struct Clients {
    history: Mutex<Vec<Operation>>,
    stopped: AtomicBool,
}

impl Clients {
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn history(&self) -> Vec<Operation> {
        self.lock().clone()
    }

    /// Writes that were answered and were begun after this moment.
    pub(crate) fn writes_since(&self, moment: Instant) -> usize {
        let counts = |it: &&Operation| it.kind == Kind::Write && it.began >= moment && it.ended.is_some();
        self.lock().iter().filter(counts).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Operation>> {
        self.history.lock().expect("no thread panics with the lock")
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Writes through whichever coordinator answers. The client's number keeps its values apart from those of others.
    pub(crate) fn write(&self, lab: &Lab, client: u64) {
        let file = format!("register-{client}.yaml");
        for number in 1.. {
            std::thread::sleep(PACE);
            if self.is_stopped() {
                return;
            }
            let value = client * 1_000_000 + number;
            let text = format!(
                "trimaran: v1\ntarget: register\nagent: lab\nclass: staging\nhosts: {{ select: {{ value: \"{value}\" }} }}\n"
            );
            std::fs::write(lab.folder.path().join(&file), text).expect("a file");
            let began = Instant::now();
            let output = lab.run(&["apply", &file]);
            let words = String::from_utf8_lossy(&output.stderr);
            let ended = match output.status.code() {
                Some(0) => Some(Instant::now()),
                // Unreachable, no quorum, or an answer that was lost for good.
                Some(9) => None,
                // The leader's disk has no space: it is not done, and would be found where it is read nevertheless.
                Some(_) if words.contains("TR4005") => continue,
                code => panic!("a write ended with {code:?}: {words}"),
            };
            self.lock().push(Operation { kind: Kind::Write, value, began, ended });
        }
    }

    /// Reads from one coordinator alone.
    pub(crate) fn read(&self, lab: &Lab, address: &str) {
        while !self.is_stopped() {
            std::thread::sleep(PACE);
            let began = Instant::now();
            let words = ["--endpoint", address, "target", "show", "register", "-o", "json"];
            let output = lab.run(&words);
            match output.status.code() {
                Some(0) => {
                    let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                    let value =
                        shown["targets"][0]["select"]["value"].as_str().and_then(|it| it.parse().ok());
                    let value = value.unwrap_or_else(|| panic!("a register: {shown:#}"));
                    let ended = Some(Instant::now());
                    self.lock().push(Operation { kind: Kind::Read, value, began, ended });
                }
                // It is dead, or has no quorum.
                Some(9) => {}
                code => {
                    panic!("a read ended with {code:?}: {}", String::from_utf8_lossy(&output.stderr))
                }
            }
        }
    }
}
