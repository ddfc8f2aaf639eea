//! `trimaran-agent host apply` is killed with SIGKILL at each persist and call, then run again.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::lab::{Lab, words_of};

/// Applies v1, then v2 with a kill at failpoint `n`, then v2 again. False when v2 ended before the kill.
fn play(v2: &str, exit: i32, survivor: &str, n: u32) -> bool {
    let lab = Lab::new();
    let first = lab.spec("v1", "good");
    lab.apply(&first, 0);
    let second = lab.spec("v2", v2);
    let output = lab.apply_until(&second, n);
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

/// Kills at every failpoint until one run has fewer.
fn kill_everywhere(v2: &str, exit: i32, survivor: &str) {
    let kills = AtomicU32::new(0);
    let work = |worker: u32| {
        for n in (worker..500).step_by(SIDE_BY_SIDE as usize) {
            if !play(v2, exit, survivor, n) {
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
    kill_everywhere("good", 0, "v2");
}

#[test]
fn a_bad_release_goes_back_whenever_it_is_killed() {
    kill_everywhere("exit", 12, "v1");
}
