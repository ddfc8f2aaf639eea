//! Waiting for conditions with a bound; nothing here sleeps for a fixed time and hopes.

use std::time::{Duration, Instant};

/// Asks `condition` until it says something or the time is over.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
