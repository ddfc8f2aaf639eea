//! Which boot of the machine this is: times since boot say nothing beyond it.

/// Identity of the kernel's present boot (random(4), `boot_id`).
pub(crate) fn boot_id() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
