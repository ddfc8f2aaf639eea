//! Where a test lets the process die as if by SIGKILL, before and after each persist and call, or stand still.
//!
//! Read only in builds with debug assertions; a release build has none of it.

/// `TRIMARAN_FAILPOINT=N` ends the process at its N-th failpoint.
#[cfg(debug_assertions)]
pub fn hit(place: &str) {
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

/// Nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn hit(_place: &str) {}

/// `TRIMARAN_FAILPOINT_STOP=PLACE` stops the process where it is (SIGSTOP) the first time that it comes to this place, until
/// someone lets it go on.
#[cfg(debug_assertions)]
pub fn stop(place: &str) {
    use std::sync::atomic::{AtomicBool, Ordering};

    static IS_OVER: AtomicBool = AtomicBool::new(false);
    if std::env::var("TRIMARAN_FAILPOINT_STOP").is_ok_and(|wanted| wanted == place)
        && !IS_OVER.swap(true, Ordering::Relaxed)
    {
        eprintln!("stopped {place}");
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    }
}

/// Nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn stop(_place: &str) {}

/// As [`hit`], but where `skipped` the place is none.
pub fn hit_unless(skipped: bool, place: &str) {
    if !skipped {
        hit(place);
    }
}

/// Waits as long as DIR has a file `failpoint.hang`, as a disk that does not answer would.
#[cfg(debug_assertions)]
pub fn hang(dir: &std::path::Path) {
    let file = dir.join("failpoint.hang");
    while file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Nothing in a release build.
#[cfg(not(debug_assertions))]
pub fn hang(_dir: &std::path::Path) {}
