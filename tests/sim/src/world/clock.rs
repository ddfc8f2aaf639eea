//! A machine's boot-time clock: it begins anywhere and runs a little too fast or too slow.

use trimaran_model::time::Timestamp;

use crate::random::Random;

/// Begin of a boot clock, at most.
const OFFSET_MAX: u64 = 10_000_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// True time of the boot, and what the clock showed then.
    begin: u64,
    offset: u64,
    /// Millionths that it is too fast, plus a million.
    rate_ppm: u64,
}

impl Clock {
    /// The clock of a machine that boots now; `drift_ppm` is the largest error of its rate, below a million.
    pub(crate) fn boot(now: u64, drift_ppm: u64, random: &mut Random) -> Self {
        let rate_ppm = 1_000_000 - drift_ppm + random.below(2 * drift_ppm + 1);
        Self { begin: now, offset: random.below(OFFSET_MAX), rate_ppm }
    }

    /// What it shows at a true time.
    pub(crate) fn at(&self, now: u64) -> Timestamp {
        Timestamp(self.offset + (now - self.begin) * self.rate_ppm / 1_000_000)
    }

    /// The first true time at which it shows `at` or more.
    pub(crate) fn true_time(&self, at: Timestamp) -> u64 {
        self.begin + (at.0.saturating_sub(self.offset) * 1_000_000).div_ceil(self.rate_ppm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_agree() {
        let mut random = Random::new(3);
        for _ in 0..100 {
            let clock = Clock::boot(5000, 900_000, &mut random);
            let now = 5000 + random.below(100_000);
            let back = clock.true_time(clock.at(now));
            assert!(back <= now && clock.at(back) == clock.at(now), "{clock:?} at {now}");
        }
    }
}
