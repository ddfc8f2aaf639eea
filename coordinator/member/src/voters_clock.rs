//! The wall clocks of the voters as the leader knows them, and their median.

use std::collections::BTreeMap;

use trimaran_model::time::{Millis, Timestamp, WallTime};

/// A clock that was not reported for so long does not count.
const FRESH: Millis = Millis::seconds(5);

/// What each member's clock showed, and the boot time here when it said so.
#[derive(Debug, Default)]
pub(crate) struct VotersClock(BTreeMap<u64, (WallTime, Timestamp)>);

impl VotersClock {
    pub(crate) fn set(&mut self, member: u64, wall: WallTime, boot: Timestamp) {
        self.0.insert(member, (wall, boot));
    }

    /// The median of the voters' clocks now, of this member's own one as `wall`. Of an even number it is what is nearest to
    /// `state` between the middle two: one wrong clock of two moves nothing. `None` while too few are known.
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
        assert_eq!(median(&clocks, 700, 500), Some(500));
    }
}
