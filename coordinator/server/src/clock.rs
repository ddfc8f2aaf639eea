//! The clocks of this machine. The state never reads them: what they say travels in entries.

use std::time::{SystemTime, UNIX_EPOCH};

use trimaran_model::time::{Timestamp, Wall};

/// Milliseconds since the machine booted, counting sleep; not moved by a change of the wall clock.
pub(crate) fn boot_time() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000;
    Timestamp(seconds * 1000 + millis)
}

/// What this machine believes the date to be. Only [`crate::wall`] listens to it.
pub(crate) fn system_wall() -> Wall {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Wall(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
