//! Cluster time: what the state had when this process began to measure, and what it measured since.
//!
//! It is continuous over restarts and independent of every wall clock: a machine that was off adds nothing. An entry
//! of another leader begins the measure anew: what a new leader adds is what it measured since the last entry, however
//! long it follows already and however far behind it was when it began.

use trimaran_model::time::Timestamp;

/// One process's measure of cluster time.
#[derive(Debug, Clone, Copy)]
pub struct ClusterTime {
    /// The state's time when the measure began.
    state: Timestamp,
    /// Boot time at the same moment.
    boot: Timestamp,
}

impl ClusterTime {
    /// `state` is the time of the loaded state, `boot` the boot time now.
    pub fn new(state: Timestamp, boot: Timestamp) -> Self {
        Self { state, boot }
    }

    /// Cluster time at a moment; `state` is the time of the state as of then.
    pub fn at(&self, boot: Timestamp, state: Timestamp) -> Timestamp {
        let state_begin = if mutant!(TimeFromZero) { Timestamp(0) } else { self.state };
        (state_begin + (boot - self.boot)).max(state)
    }

    /// The state's time is `state` since an entry that was applied at `boot`. A leader, whose own entries say what it
    /// measured, only catches up; a follower goes by the entry.
    pub fn rebase(&mut self, boot: Timestamp, state: Timestamp, leads: bool) {
        let ahead = self.state + (boot - self.boot) >= state;
        let follows = !leads || !ahead;
        if follows && !mutant!(TimeFromStart) {
            *self = Self::new(state, boot);
        }
    }

    /// The boot time at which cluster time gets to `at`, without help from entries of other leaders.
    pub fn boot_at(&self, at: Timestamp) -> Timestamp {
        self.boot + (at - self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_continues_where_the_state_was_and_never_goes_back() {
        let time = ClusterTime::new(Timestamp(5000), Timestamp(100));
        assert_eq!(time.at(Timestamp(100), Timestamp(5000)), Timestamp(5000));
        assert_eq!(time.at(Timestamp(350), Timestamp(5000)), Timestamp(5250));
        assert_eq!(time.at(Timestamp(350), Timestamp(9000)), Timestamp(9000), "another leader was ahead");
        assert_eq!(time.boot_at(Timestamp(5250)), Timestamp(350));
        assert_eq!(time.boot_at(Timestamp(10)), Timestamp(100), "what is past is due since the start");
    }

    #[test]
    fn a_member_that_was_far_behind_measures_from_the_last_entry_on() {
        let mut time = ClusterTime::new(Timestamp(0), Timestamp(100));
        time.rebase(Timestamp(200), Timestamp(36_000_000), false);
        assert_eq!(time.at(Timestamp(260), Timestamp(36_000_000)), Timestamp(36_000_060));
        time.rebase(Timestamp(300), Timestamp(36_000_050), false);
        assert_eq!(
            time.at(Timestamp(310), Timestamp(36_000_050)),
            Timestamp(36_000_060),
            "a leader was slower"
        );
        time.rebase(Timestamp(400), Timestamp(36_000_100), true);
        assert_eq!(
            time.at(Timestamp(400), Timestamp(36_000_100)),
            Timestamp(36_000_150),
            "its own entry is older"
        );
        time.rebase(Timestamp(400), Timestamp(36_000_999), true);
        assert_eq!(time.at(Timestamp(401), Timestamp(36_000_999)), Timestamp(36_001_000));
    }
}
