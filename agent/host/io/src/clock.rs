//! The clock of this crate: it never jumps with the wall clock and counts while the machine sleeps.

use trimaran_model::time::Timestamp;

/// Milliseconds since the kernel booted (`CLOCK_BOOTTIME`, clock_gettime(2)).
pub fn now() -> Timestamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Timestamp(seconds * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000)
}

/// Identity of the kernel's present boot (random(4), `boot_id`).
pub fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
