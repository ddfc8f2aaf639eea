//! `trimaran-agent host apply` and `host rollback` are killed with SIGKILL at each persist and call, then run again.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::lab::{Lab, words_of};

/// Applies v1, then v2 with a kill at failpoint `n`, then v2 again. False when v2 ended before the kill.
fn play(v2: &str, exit: i32, survivor: &str, n: u32) -> bool {
    let lab = Lab::new();
    let first = lab.spec("v1", "good");
    lab.apply(&first, 0);
    let second = lab.spec("v2", v2);
    let output = lab.run_until(&["apply", &second.display().to_string()], n);
    if let Some(code) = output.status.code() {
        assert_eq!(code, exit, "{:?}", words_of(&output));
        lab.check(survivor, "without a kill");
        return false;
    }
    let context = format!("kill {n} ({})", words_of(&output).1.lines().last().unwrap_or_default());
    lab.apply(&second, exit);
    lab.check(survivor, &context);
    if v2 == "good" {
        let starts = lab.starts();
        assert_eq!((starts["v1"], starts["v2"]), (1, 1), "{context}: each was started once");
    }
    true
}

/// Each kill has a lab of its own, and most of its time is spent waiting.
const SIDE_BY_SIDE: u32 = 6;

/// Rolls v2 back to v1 with a kill at failpoint `n`, then checks what the next command makes of it. False when
/// the rollback ended before the kill.
fn play_rollback(n: u32) -> bool {
    let lab = Lab::new();
    lab.apply(&lab.spec("v1", "good"), 0);
    lab.apply(&lab.spec("v2", "good"), 0);
    std::fs::remove_dir_all(lab.data().join("cache")).expect("a cache");
    let output = lab.run_until(&["rollback", "web"], n);
    if let Some(code) = output.status.code() {
        assert_eq!(code, 0, "{:?}", words_of(&output));
        lab.check("v1", "without a kill");
        return false;
    }
    let context = format!("kill {n} ({})", words_of(&output).1.lines().last().unwrap_or_default());
    // The same command once more goes back where it was sent; one that has arrived has nothing before it.
    let again = lab.run(&["rollback", "web"]);
    assert!(matches!(again.status.code(), Some(0 | 6)), "{context}: {:?}", words_of(&again));
    lab.check("v1", &context);
    assert_eq!(lab.starts()["v1"], 2, "{context}: it was started once more, and no more often");
    true
}

/// Kills at every failpoint until one run has fewer.
pub(crate) fn kill_everywhere(play: impl Fn(u32) -> bool + Sync) {
    let kills = AtomicU32::new(0);
    let work = |worker: u32| {
        for n in (worker..500).step_by(SIDE_BY_SIDE as usize) {
            if !play(n) {
                return;
            }
            kills.fetch_max(n, Ordering::Relaxed);
        }
        panic!("a run with 500 persists and calls");
    };
    std::thread::scope(|scope| {
        for worker in 1..=SIDE_BY_SIDE {
            let work = &work;
            scope.spawn(move || work(worker));
        }
    });
    let kills = kills.into_inner();
    assert!(kills > 20, "only {kills} failpoints were reached; is this a build without debug assertions?");
}

#[test]
fn a_good_release_arrives_whenever_it_is_killed() {
    kill_everywhere(|n| play("good", 0, "v2", n));
}

#[test]
fn a_bad_release_goes_back_whenever_it_is_killed() {
    kill_everywhere(|n| play("exit", 12, "v1", n));
}

#[test]
fn a_rollback_arrives_whenever_it_is_killed() {
    kill_everywhere(play_rollback);
}
