//! How soon after a change what is watched is judged again.
//!
//! The end of a rollout is a handful of changes within milliseconds: a pod that is ready, the numbers of its ReplicaSet, the
//! last old pod, the status of the Deployment. Each is judged at once, since the last of them is what users wait for. Where
//! changes go on and on, as beside hundreds of other rollouts, each installation is judged at an even pace.

use std::time::{Duration, Instant};

/// Between two judgments, when changes go on.
const EACH: Duration = Duration::from_millis(20);
/// Judgments that need not wait for the even pace after a while without changes.
const AT_ONCE: u32 = 10;
/// One write shows as several changes in one moment.
const GATHERING: Duration = Duration::from_millis(2);

pub(crate) struct Pace {
    /// When all judgments before would have been made at the even pace.
    even: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { even: now }
    }

    /// How long to wait with the judgment of a change that came now, at least 2 ms and at most 20 ms behind an even pace.
    pub(crate) fn delay(&mut self, now: Instant) -> Duration {
        self.even = self.even.max(now) + EACH;
        (self.even - now).saturating_sub(EACH * AT_ONCE).max(GATHERING)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changes_of_one_rollout_are_judged_at_once_and_endless_ones_at_an_even_pace() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut now = start;
        for _ in 0..AT_ONCE {
            assert_eq!(pace.delay(now), GATHERING);
            now += GATHERING;
        }
        let judged = std::iter::repeat_with(|| {
            now += pace.delay(now);
            now
        });
        let last = judged.take(500).last().expect("there are some");
        let each = last.duration_since(start) / 500;
        assert!(each > EACH * 9 / 10 && each <= EACH, "{each:?}");
    }

    #[test]
    fn a_while_without_changes_counts_again() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        for _ in 0..100 {
            pace.delay(start);
        }
        assert_eq!(pace.delay(start + EACH * 200), GATHERING);
    }
}
