//! Where a test lets the process die as if by SIGKILL: before and after each persist and call.
//!
//! Read only in builds with debug assertions; a release build has none of it.

/// `TRIMARAN_FAILPOINT=N` ends the process at its N-th failpoint.
#[cfg(debug_assertions)]
pub(crate) fn hit(place: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static LIMIT: OnceLock<Option<u64>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);
    let limit = LIMIT.get_or_init(|| std::env::var("TRIMARAN_FAILPOINT").ok()?.parse().ok());
    let Some(limit) = limit else { return };
    if HITS.fetch_add(1, Ordering::Relaxed) + 1 == *limit {
        eprintln!("failpoint {limit}: {place}");
        // The process ends here without unwinding, flushing or dropping anything.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn hit(_place: &str) {}

pub(crate) fn hit_unless(skipped: bool, place: &str) {
    if !skipped {
        hit(place);
    }
}

/// Waits as long as DIR has a file `failpoint.hang`, as a disk that does not answer would.
#[cfg(debug_assertions)]
pub(crate) fn hang(dir: &std::path::Path) {
    let file = dir.join("failpoint.hang");
    while file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn hang(_dir: &std::path::Path) {}
