//! A runner whose program is an attacker's (`trimaran-hostile-runner`), with the certificate of a host of a lab.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::lab::{Lab, binaries};

/// An attack on the lab's agent; it ends when its time is over.
pub struct Attack(Child);

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub messages: u64,
    pub sessions: u64,
}

impl Attack {
    /// Begins, with the identity of a host whose own runner does not run.
    pub fn start(lab: &Lab, host: &str, time: Duration) -> Self {
        let mut attacker = Command::new(binaries().join("trimaran-hostile-runner"));
        attacker.arg(lab.part("lab").address).arg(lab.part(host).data_dir).arg(time.as_secs().to_string());
        Self(attacker.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the attacker starts"))
    }

    pub fn is_over(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_some()
    }

    /// Waits for its end.
    pub fn end(self) -> Sent {
        let output = self.0.wait_with_output().expect("a child");
        let text = String::from_utf8_lossy(&output.stdout);
        let numbers = text.trim().split_once(' ');
        let numbers =
            numbers.and_then(|(messages, sessions)| Some((messages.parse().ok()?, sessions.parse().ok()?)));
        let (messages, sessions) = numbers.expect("two numbers");
        Sent { messages, sessions }
    }
}
