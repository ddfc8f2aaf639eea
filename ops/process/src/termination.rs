//! The signals by which people and service managers end a process.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, which end nothing by themselves once this is made.
#[derive(Debug)]
pub struct Termination {
    interrupt: Signal,
    terminate: Signal,
}

impl Termination {
    /// # Panics
    /// Outside of a runtime of tokio.
    #[expect(clippy::new_without_default, reason = "it changes what the process does with signals")]
    pub fn new() -> Self {
        let of = |kind| signal(kind).expect("a signal handler can be set");
        Self { interrupt: of(SignalKind::interrupt()), terminate: of(SignalKind::terminate()) }
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for SIGINT or SIGTERM, once.
///
/// # Panics
/// Outside of a runtime of tokio.
pub async fn terminated() {
    Termination::new().next().await;
}
