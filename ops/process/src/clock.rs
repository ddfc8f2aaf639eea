//! The clocks of this machine.

use std::time::{SystemTime, UNIX_EPOCH};

use trimaran_model::time::{Timestamp, WallTime};

/// Milliseconds since the kernel booted (`CLOCK_BOOTTIME`, clock_gettime(2)). Runs while the process is paused and
/// while the machine sleeps, and is not moved by a change of the wall clock.
pub fn boot_time() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000;
    Timestamp(seconds * 1000 + millis)
}

/// What this machine believes the date to be.
pub fn system_wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    WallTime(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
