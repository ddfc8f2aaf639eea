//! The wall clocks of the voters as the leader knows them, and their median.

use std::collections::BTreeMap;

use trimaran_model::time::{Millis, Timestamp, WallTime};

/// A clock that was not reported for so long does not count.
const FRESH: Millis = Millis::seconds(5);
/// A report may show so much less than the last one did without being late: clocks have different rates.
const LATE: Millis = Millis(500);

/// What each member's clock showed, and the boot time here when it said so.
#[derive(Debug, Default)]
pub(crate) struct VotersClock(BTreeMap<u64, (WallTime, Timestamp)>);

impl VotersClock {
    /// A report says what a clock showed when it was sent, and comes late after a cut or a pause. So one that shows less than the last
    /// one did, by no more than such a delay, is not counted while the last one is fresh.
    pub(crate) fn set(&mut self, member: u64, wall: WallTime, boot: Timestamp) {
        if let Some((known, at)) = self.0.get(&member)
            && boot - *at <= FRESH
        {
            let less = (*known + (boot - *at)).0.saturating_sub(wall.0);
            let delay = u64::try_from(less).unwrap_or(0);
            if delay > LATE.0 && delay <= FRESH.0 {
                return;
            }
        }
        self.0.insert(member, (wall, boot));
    }

    /// The median of the voters' clocks now, of this member's own one as `wall`. `None` while too few are known.
    ///
    /// Of an even number the middle two may contradict each other. Where both are on one side of `state` the nearer one counts: one
    /// wrong clock of two can't move it beyond the right one. Where they are on both sides one of them is wrong. The state's time falls
    /// behind when all members stand still, and nothing makes it run ahead, so the later clock counts if it is the nearer
    /// one, and the state's time stays otherwise.
    pub(crate) fn median(
        &self,
        (id, wall): (u64, WallTime),
        voters: &[u64],
        boot: Timestamp,
        state: WallTime,
    ) -> Option<WallTime> {
        let of = |voter: &u64| match *voter == id {
            true => Some(wall),
            false => {
                let (wall, at) = self.0.get(voter)?;
                (boot - *at <= FRESH).then(|| *wall + (boot - *at))
            }
        };
        let mut clocks: Vec<WallTime> = voters.iter().filter_map(of).collect();
        if clocks.len() * 2 <= voters.len() {
            return None;
        }
        clocks.sort_unstable();
        let (lower, upper) = (clocks[(clocks.len() - 1) / 2], clocks[clocks.len() / 2]);
        let apart = lower < state && state < upper;
        let later_is_nearer = upper.0.abs_diff(state.0) < lower.0.abs_diff(state.0);
        if apart && later_is_nearer {
            return Some(upper);
        }
        Some(state.clamp(lower, upper))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_clock_of_three_changes_nothing() {
        let mut clocks = VotersClock::default();
        let (now, far, state) = (Timestamp(9000), WallTime(315_360_000_000), WallTime(150));
        let median =
            |clocks: &VotersClock, wall, now| clocks.median((1, wall), &[1, 2, 3], now, state).map(|it| it.0);
        assert_eq!(median(&clocks, WallTime(50), now), None);
        clocks.set(2, WallTime(100), Timestamp(8900));
        clocks.set(3, WallTime(190), now);
        assert_eq!(median(&clocks, far, now), Some(200), "it has gone on since");
        assert_eq!(median(&clocks, WallTime(50), now), Some(190));
        clocks.set(3, far, now);
        assert_eq!(median(&clocks, WallTime(210), now), Some(210));
        assert_eq!(median(&clocks, WallTime(210), Timestamp(60_000)), None, "they are old");
    }

    #[test]
    fn two_voters_move_the_time_only_where_both_go() {
        let (mut clocks, now, far) = (VotersClock::default(), Timestamp(9000), WallTime(315_360_000_000));
        let median = |clocks: &VotersClock, wall, state| {
            clocks.median((1, WallTime(wall)), &[1, 2], now, WallTime(state)).map(|it| it.0)
        };
        assert_eq!(median(&clocks, 500, 500), None, "the other one is not known");
        clocks.set(2, far, now);
        assert_eq!(median(&clocks, 500, 500), Some(500));
        assert_eq!(median(&clocks, 700, 500), Some(700), "both are ahead: as far as the nearer one");
        clocks.set(2, WallTime(100), now);
        assert_eq!(median(&clocks, 300, 500), Some(300), "both are behind");
        assert_eq!(median(&clocks, 1000, 500), Some(500), "the earlier one is the nearer");
    }

    #[test]
    fn after_a_stop_of_everything_the_clock_that_is_a_little_ahead_is_right_and_not_the_one_that_is_far_behind()
     {
        let (mut clocks, now) = (VotersClock::default(), Timestamp(9000));
        let (hour, wall, state) = (3_600_000, WallTime(36_000_000), WallTime(36_000_000 - 10_000));
        clocks.set(2, WallTime(wall.0 - hour), now);
        assert_eq!(clocks.median((1, wall), &[1, 2, 3], now, state), Some(wall));
        // As the other one sees it.
        let mut clocks = VotersClock::default();
        clocks.set(1, wall, now);
        assert_eq!(clocks.median((2, WallTime(wall.0 - hour)), &[1, 2, 3], now, state), Some(wall));
        clocks.set(1, WallTime(wall.0 + 87_600 * hour), now);
        let ahead = clocks.median((2, WallTime(wall.0 - 20_000)), &[1, 2, 3], now, state);
        assert_eq!(ahead, Some(state), "ten years are no stop");
    }

    #[test]
    fn a_late_report_is_not_counted_and_a_clock_that_was_set_back_is() {
        let mut clocks = VotersClock::default();
        let shows = |clocks: &VotersClock, boot: u64| {
            let own = (1, WallTime(i64::try_from(boot).expect("small")));
            clocks.median(own, &[1, 2], Timestamp(boot), WallTime(i64::MAX)).map(|it| it.0)
        };
        let far = |boot: u64| i64::try_from(boot).expect("small") + 1_000_000;
        clocks.set(2, WallTime(far(10_000)), Timestamp(10_000));
        clocks.set(2, WallTime(far(10_500)), Timestamp(14_000));
        assert_eq!(shows(&clocks, 14_000), Some(far(14_000)), "it was three and a half seconds on its way");
        clocks.set(2, WallTime(far(14_600) - 300), Timestamp(14_600));
        assert_eq!(shows(&clocks, 14_600), Some(far(14_600) - 300), "a clock that is a little slower");
        clocks.set(2, WallTime(far(15_000) - 3_600_000), Timestamp(15_000));
        assert_eq!(shows(&clocks, 15_000), Some(15_000), "no report is an hour late");
        clocks.set(2, WallTime(far(16_000)), Timestamp(16_000));
        clocks.set(2, WallTime(far(21_500) - 3000), Timestamp(21_500));
        assert_eq!(shows(&clocks, 21_500), Some(far(21_500) - 3000), "the last one was long ago");
    }
}
