//! Wall time of the cluster: when to follow the system's clock, and when to distrust it.
//!
//! The state's wall time is `now + offset`, and `now` grows by the boot-time clock alone, so it continues
//! automatically when the system's clock is moved. A difference found at the start of the process is a gap: taken
//! whole when it leads forward by at most 30 days, because then the machine was simply off. A difference that
//! arises while the process runs is a jump: it alarms and is followed by at most one second a minute.
//! With several voters the median of their clocks decides instead ([`WallGuard::follow`]): one clock that is wrong
//! changes nothing, and what most of them say is taken whole.

use trimaran_model::time::{Millis, Timestamp, WallTime};

/// Differences up to this are drift and reading delay.
const TOLERANCE_MS: i64 = 1000;
const GAP_MAX_MS: i64 = 30 * 86_400_000;
const STEP_MS: i64 = 1000;
const STEP_INTERVAL: Millis = Millis::minutes(1);

/// Follows one clock.
#[derive(Debug, Clone, Copy)]
pub struct WallGuard {
    started: bool,
    last_step: Option<Timestamp>,
    alarmed: bool,
}

/// What to propose.
#[derive(Debug, PartialEq, Eq)]
pub enum WallChange {
    /// Set the offset so that the state's wall time moves by so many milliseconds.
    Move { by_ms: i64, jump: bool },
    /// The clocks agree again.
    Clear,
}

impl Default for WallGuard {
    /// Counts as alarmed at first, because an earlier incarnation of the process may have left the alarm.
    fn default() -> Self {
        Self { started: false, last_step: None, alarmed: true }
    }
}

impl WallGuard {
    /// Follows the median of the voters' clocks.
    pub fn follow(&mut self, median: WallTime, state: WallTime) -> Option<WallChange> {
        (self.started, self.last_step) = (true, None);
        let difference = median.0.saturating_sub(state.0);
        if difference.abs() <= TOLERANCE_MS {
            return std::mem::take(&mut self.alarmed).then_some(WallChange::Clear);
        }
        self.alarmed = false;
        Some(WallChange::Move { by_ms: difference, jump: false })
    }

    /// Checks both clocks; `boot` paces the steps.
    pub fn compare(&mut self, boot: Timestamp, system: WallTime, state: WallTime) -> Option<WallChange> {
        let first = !std::mem::replace(&mut self.started, true);
        let difference = system.0.saturating_sub(state.0);
        // Also a short one: times that are shown would lag behind everyone's clock by it until the next start.
        if first && (1..=GAP_MAX_MS).contains(&difference) {
            self.alarmed = false;
            return Some(WallChange::Move { by_ms: difference, jump: false });
        }
        if difference.abs() <= TOLERANCE_MS {
            self.last_step = None;
            return std::mem::take(&mut self.alarmed).then_some(WallChange::Clear);
        }
        let due = self.last_step.is_none_or(|last| boot - last >= STEP_INTERVAL);
        if !due {
            return None;
        }
        self.last_step = Some(boot);
        self.alarmed = true;
        Some(WallChange::Move { by_ms: difference.clamp(-STEP_MS, STEP_MS), jump: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_gap_across_a_restart_is_taken_whole_when_it_leads_forward() {
        let compare =
            |difference: i64| WallGuard::default().compare(Timestamp(0), WallTime(difference), WallTime(0));
        assert_eq!(compare(26 * HOUR), Some(WallChange::Move { by_ms: 26 * HOUR, jump: false }));
        assert_eq!(compare(31 * 24 * HOUR), Some(WallChange::Move { by_ms: 1000, jump: true }));
        assert_eq!(compare(-2 * HOUR), Some(WallChange::Move { by_ms: -1000, jump: true }));
        assert_eq!(compare(900), Some(WallChange::Move { by_ms: 900, jump: false }));
        assert_eq!(compare(-900), Some(WallChange::Clear), "an alarm of an earlier incarnation is cleared");
    }

    #[test]
    fn a_jump_while_it_runs_is_followed_by_a_second_a_minute() {
        let mut guard = WallGuard::default();
        assert_eq!(guard.compare(Timestamp(0), WallTime(0), WallTime(0)), Some(WallChange::Clear));
        let jump = Some(WallChange::Move { by_ms: 1000, jump: true });
        assert_eq!(guard.compare(Timestamp(1000), WallTime(2 * HOUR), WallTime(1000)), jump);
        assert_eq!(guard.compare(Timestamp(2000), WallTime(2 * HOUR), WallTime(2000)), None);
        assert_eq!(guard.compare(Timestamp(61_000), WallTime(2 * HOUR), WallTime(61_000)), jump);
        assert_eq!(
            guard.compare(Timestamp(62_000), WallTime(62_500), WallTime(62_000)),
            Some(WallChange::Clear)
        );
        assert_eq!(guard.compare(Timestamp(63_000), WallTime(63_000), WallTime(63_000)), None);
    }
}
