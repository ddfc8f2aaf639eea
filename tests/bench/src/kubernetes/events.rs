//! What `trimaran watch` printed of a run, line by line, and when each was received.

use std::io::{BufRead as _, BufReader};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use trimaran_e2e::lab::Lab;
use trimaran_test_support::wait::until;

type Seen = Arc<Mutex<Vec<(Instant, Value)>>>;

pub(super) struct Events {
    watch: Child,
    reader: Option<JoinHandle<()>>,
    seen: Seen,
}

impl Events {
    pub(super) fn of(lab: &Lab, run: &str) -> Self {
        Self::follow(lab.start_cli(&["watch", run, "--since-revision", "0", "-o", "jsonl"]))
    }

    /// Those of all runs from now on.
    pub(super) fn of_all(lab: &Lab) -> Self {
        let revision = lab.json(&["cluster", "status"])["revision"].to_string();
        Self::follow(lab.start_cli(&["watch", "--since-revision", &revision, "-o", "jsonl"]))
    }

    fn follow(mut watch: Child) -> Self {
        let output = watch.stdout.take().expect("it is piped");
        let seen = Seen::default();
        let into = seen.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let at = Instant::now();
                let event = serde_json::from_str(&line).unwrap_or(Value::Null);
                into.lock().unwrap_or_else(PoisonError::into_inner).push((at, event));
            }
        });
        Self { watch, reader: Some(reader), seen }
    }

    /// Waits for the stage's event with this status.
    pub(super) fn stage(&self, status: &str, limit: Duration) -> (Instant, Value) {
        until(&format!("the stage is {status}"), limit, || {
            let seen = self.seen.lock().expect("the reader does not panic");
            seen.iter().find(|(_, event)| is_stage(event, status)).cloned()
        })
    }

    /// Waits until so many stages have succeeded; when the last of them did.
    pub(super) fn succeeded(&self, count: usize, limit: Duration) -> Instant {
        until(&format!("{count} stages succeeded"), limit, || {
            let seen = self.seen.lock().expect("the reader does not panic");
            seen.iter().filter(|(_, event)| is_stage(event, "succeeded")).nth(count - 1).map(|(at, _)| *at)
        })
    }
}

fn is_stage(event: &Value, status: &str) -> bool {
    event["event"] == "stage" && event["status"] == status
}

impl Drop for Events {
    fn drop(&mut self) {
        // It ends with its run.
        let _ = self.watch.kill();
        let _ = self.watch.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
