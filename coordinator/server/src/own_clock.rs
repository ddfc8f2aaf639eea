//! Whether this member's wall clock shows what the cluster's does. With several voters that is the median of their clocks, so one
//! that is wrong changes nothing, and nothing but this says so.
//!
//! Not here: the clock of a cluster with one voter, whose jumps are an alarm of the state (`clock_jump`).

use parking_lot::Mutex;
use trimaran_model::id::CoordinatorName;
use trimaran_model::limits::{CLOCK_ERROR_MAX, CLOCK_SETTLES};
use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::time::{Timestamp, WallTime};
use trimaran_process::clock;
use trimaran_wire::document::{AlarmDocument, rfc3339};
use trimaran_wire::v1::peer::MemberAlarm;

use crate::node::Node;

/// Compares both clocks each time that it is asked to.
pub(crate) struct OwnClock {
    name: CoordinatorName,
    wrong: Mutex<Option<Wrong>>,
}

/// A clock that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wrong {
    /// Milliseconds that it is ahead.
    by_ms: i64,
    /// The cluster's wall time and the boot time at which it began to differ.
    since: (WallTime, Timestamp),
    /// The log of this process says so.
    logged: bool,
}

impl Wrong {
    /// What is known after a comparison. A difference has to last: after a stop of everything the cluster's time follows a moment
    /// after the clocks.
    fn next(before: Option<Self>, own: WallTime, cluster: WallTime, boot: Timestamp) -> Option<Self> {
        let by_ms = own.0.saturating_sub(cluster.0);
        let differs = by_ms.unsigned_abs() > CLOCK_ERROR_MAX.0;
        let (since, logged) = before.map_or(((cluster, boot), false), |it| (it.since, it.logged));
        differs.then_some(Self { by_ms, since, logged })
    }

    fn is_settled(self, boot: Timestamp) -> bool {
        boot - self.since.1 >= CLOCK_SETTLES
    }
}

impl OwnClock {
    pub(crate) fn new(name: CoordinatorName) -> Self {
        Self { name, wrong: Mutex::new(None) }
    }

    /// Compares now. Without a quorum the cluster's time is not known to be right, and what was known stays.
    pub(crate) fn observe(&self, node: &Node) {
        let (boot, own) = (clock::boot_time(), clock::system_wall());
        let status = node.member_status().borrow().clone();
        let mut wrong = self.wrong.lock();
        if status.voters.len() < 2 {
            *wrong = None;
        } else if status.keeps_leases(boot) {
            *wrong = Wrong::next(*wrong, own, status.wall_at(boot), boot);
            if let Some(it) = wrong.as_mut()
                && it.is_settled(boot)
                && !std::mem::replace(&mut it.logged, true)
            {
                tracing::warn!("{}", self.message(it.by_ms));
            }
        }
    }

    /// What is to be said of it.
    pub(crate) fn alarm(&self, node: &Node) -> Option<MemberAlarm> {
        self.observe(node);
        let wrong = (*self.wrong.lock()).filter(|it| it.is_settled(clock::boot_time()))?;
        Some(MemberAlarm { message: self.message(wrong.by_ms), since_ms: wrong.since.0.0 })
    }

    fn message(&self, by_ms: i64) -> String {
        let (seconds, side) = (by_ms.unsigned_abs() / 1000, if by_ms > 0 { "ahead of" } else { "behind" });
        let name = &self.name;
        format!(
            "the wall clock of the coordinator `{name}` is {seconds} s {side} the cluster's, which goes by the other clocks; check its synchronisation"
        )
    }
}

/// The alarm of a coordinator whose clock is wrong.
pub(crate) fn alarm(alarm: MemberAlarm) -> AlarmDocument {
    AlarmDocument {
        code: ReasonCode::ClockWrong.as_str().to_owned(),
        message: alarm.message,
        since: rfc3339(WallTime(alarm.since_ms)),
        clears: CLEARS_WAIT.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_when_it_differs_for_long_and_since_it_began_to() {
        let at = |before, own, boot| Wrong::next(before, WallTime(own), WallTime(1_000_000), Timestamp(boot));
        assert_eq!(at(None, 1_004_000, 0), None, "drift, and the time that a comparison takes");
        let first = at(None, 3_600_000, 100).expect("it differs");
        assert!(!first.is_settled(Timestamp(5000)));
        let later = at(Some(first), 3_601_000, 5200).expect("it still does");
        assert_eq!((later.since, later.by_ms), (first.since, 2_601_000));
        assert!(later.is_settled(Timestamp(5200)));
        assert_eq!(at(Some(later), 1_000_400, 9000), None);
        assert_eq!(at(None, -3_600_000, 0).map(|it| it.by_ms), Some(-4_600_000));
    }
}
