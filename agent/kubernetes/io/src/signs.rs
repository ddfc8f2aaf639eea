//! The signs that an API server gives, whoever asked it: while there are some it is neither hanging nor cut off.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use trimaran_model::time::{Millis, Timestamp};

/// A server that gave no sign for so long is not seen any more.
pub(crate) const SILENCE: Millis = Millis::seconds(15);
/// How long nothing may be received before a sign is asked for.
const QUIET: Millis = Millis::seconds(10);

/// Signs of one API server, on the boot-time clock.
pub(crate) struct Signs {
    /// When the last one came; 0 before the first.
    last: AtomicU64,
    /// Counts how often all watches have to begin anew.
    restarts: watch::Sender<u64>,
}

impl Default for Signs {
    fn default() -> Self {
        Self { last: AtomicU64::new(0), restarts: watch::Sender::new(0) }
    }
}

impl Signs {
    /// Someone begins to listen, who is not deaf before there was the time to receive something.
    pub(crate) fn begin(&self, now: Timestamp) {
        self.last.fetch_max(now.0, Ordering::AcqRel);
    }

    /// A sign came.
    pub(crate) fn receive(&self, now: Timestamp) {
        let before = Timestamp(self.last.fetch_max(now.0, Ordering::AcqRel));
        if before.0 != 0 && now >= before + SILENCE {
            // Connections that hung may hang for minutes more, and what they showed is old.
            self.restarts.send_modify(|count| *count += 1);
        }
    }

    /// Since when there is none; `None` while there are some.
    pub(crate) fn silent_since(&self, now: Timestamp) -> Option<Timestamp> {
        let last = Timestamp(self.last.load(Ordering::Acquire));
        (now >= last + SILENCE).then_some(last)
    }

    /// When a sign is to be asked for that was asked for last at `asked`.
    pub(crate) fn due(&self, asked: Timestamp) -> Timestamp {
        asked.max(Timestamp(self.last.load(Ordering::Acquire))) + QUIET
    }

    /// Changes when watches have to begin anew.
    pub(crate) fn restarts(&self) -> watch::Receiver<u64> {
        self.restarts.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_of_a_server_that_answers() {
        let signs = Signs::default();
        signs.begin(Timestamp(1000));
        let asked = Timestamp(1000);
        assert_eq!(signs.due(asked), Timestamp(11_000));
        for second in 2..100 {
            signs.receive(Timestamp(second * 1000));
            assert!(signs.due(asked) > Timestamp((second + 9) * 1000), "it gave a sign a moment ago");
        }
        assert_eq!(signs.due(asked), Timestamp(109_000));
        assert_eq!(signs.due(Timestamp(109_500)), Timestamp(119_500), "and again when it stays quiet");
    }

    #[test]
    fn silence_is_noticed_and_its_end_makes_watches_begin_anew() {
        let signs = Signs::default();
        let restarts = signs.restarts();
        signs.begin(Timestamp(1000));
        signs.receive(Timestamp(2000));
        assert_eq!(signs.silent_since(Timestamp(16_999)), None);
        assert_eq!(signs.silent_since(Timestamp(17_000)), Some(Timestamp(2000)));
        assert!(signs.due(Timestamp(0)) < Timestamp(17_000), "it is asked before it counts as silent");
        assert_eq!(*restarts.borrow(), 0);
        signs.receive(Timestamp(20_000));
        signs.receive(Timestamp(20_001));
        assert_eq!((signs.silent_since(Timestamp(20_001)), *restarts.borrow()), (None, 1));
    }

    #[test]
    fn the_first_sign_of_all_makes_nothing_begin_anew() {
        let signs = Signs::default();
        let restarts = signs.restarts();
        signs.receive(Timestamp(100_000));
        assert_eq!(*restarts.borrow(), 0);
    }
}
