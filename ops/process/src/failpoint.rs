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
        // The signal is the process's: another thread may take it, and this one would go on until then.
        while is_stop_pending() {
            std::thread::yield_now();
        }
    }
}

/// Whether SIGSTOP was sent to this process and no thread has taken it yet. When one has, all stop before they return from
/// the kernel (proc_pid_status(5), `ShdPnd`).
#[cfg(debug_assertions)]
fn is_stop_pending() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process can read its own state");
    let pending =
        status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).expect("it names pending signals");
    let pending = u64::from_str_radix(pending.trim(), 16).expect("they are a mask");
    pending & 1 << (rustix::process::Signal::STOP.as_raw() - 1) != 0
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

#[cfg(all(test, debug_assertions))]
mod tests {
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, Signal, kill_process};

    const TRIES: usize = 20;
    const LIMIT: Duration = Duration::from_secs(30);

    fn is_stopped(child: &Child) -> bool {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("it was not waited for");
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    }

    /// The harness has a thread of its own, which mostly is the one that takes the signal.
    #[test]
    fn nothing_is_done_behind_the_place_where_a_process_stands_still() {
        // The process that stands still is this very test.
        if let Some(file) = std::env::var_os("TRIMARAN_TEST_BEHIND") {
            super::stop("here");
            std::fs::write(file, "").expect("a file");
            return;
        }
        let folder = tempfile::tempdir().expect("a directory");
        for n in 0..TRIES {
            let file = folder.path().join(n.to_string());
            let own = std::env::current_exe().expect("a program has a path");
            let name = "failpoint::tests::nothing_is_done_behind_the_place_where_a_process_stands_still";
            let mut child = Command::new(own)
                .args(["--exact", name])
                .envs([
                    ("TRIMARAN_TEST_BEHIND", file.as_os_str()),
                    ("TRIMARAN_FAILPOINT_STOP", "here".as_ref()),
                ])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("it starts");
            let began = Instant::now();
            while !is_stopped(&child) && began.elapsed() < LIMIT {
                std::thread::sleep(Duration::from_millis(2));
            }
            let (stopped, done) = (is_stopped(&child), file.exists());
            kill_process(Pid::from_child(&child), Signal::CONT).expect("it goes on");
            let ended = child.wait().expect("a child");
            assert!(stopped && !done, "stopped: {stopped}, done behind the place: {done}");
            assert!(ended.success() && file.exists(), "{ended}");
        }
    }
}
