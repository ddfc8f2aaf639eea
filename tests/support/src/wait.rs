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

/// Milliseconds since midnight of `2026-01-01T10:20:30.456Z`.
pub fn millis_of_day(time: &str) -> Option<u64> {
    let clock = time.split('T').nth(1)?.trim_end_matches('Z');
    let mut parts = clock.split([':', '.']).map(|part| part.parse::<u64>().ok());
    let mut next = || parts.next().flatten();
    Some(next()? * 3_600_000 + next()? * 60_000 + next()? * 1000 + next()?)
}
