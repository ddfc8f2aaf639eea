//! How long a service has been healthy without a break, counting only what was watched.

use trimaran_model::limits;
use trimaran_model::pipeline::HealthCheck;
use trimaran_model::time::{Millis, Timestamp};

/// The probes of one process since it is watched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Window {
    /// First success of the present row of successes.
    since: Option<Timestamp>,
    /// The start of watching.
    began: Timestamp,
    /// The last answer of a probe, or the start of watching.
    seen: Timestamp,
    /// Successes that were followed by a failure.
    falls: u32,
    failures_in_row: u32,
    probes: u32,
    last_failure: String,
}

impl Window {
    pub(super) fn begin(now: Timestamp) -> Self {
        Self { began: now, seen: now, ..Self::default() }
    }

    pub(super) fn watched_for(&self, now: Timestamp) -> Millis {
        now - self.began
    }

    /// Takes an answer. Returns for how long nothing watched before it, when that was longer than probes take.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        health: &HealthCheck,
        answer: Result<(), &str>,
    ) -> Millis {
        let allowed = Millis(health.interval.0 + health.timeout.0 + limits::PROBE_GAP.0);
        let gap = now - self.seen;
        let unwatched = if gap > allowed { gap } else { Millis::ZERO };
        if unwatched > Millis::ZERO {
            self.since = None;
        }
        self.seen = now;
        self.probes = self.probes.saturating_add(1);
        match answer {
            Ok(()) => {
                self.since.get_or_insert(now);
                self.failures_in_row = 0;
            }
            Err(message) => {
                self.falls = self.falls.saturating_add(u32::from(self.since.is_some()));
                self.since = None;
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                message.clone_into(&mut self.last_failure);
            }
        }
        unwatched
    }

    /// Whether the last answers were successes for `length` or longer.
    pub(super) fn healthy_for(&self, length: Millis) -> bool {
        self.since.is_some_and(|since| self.seen - since >= length)
    }

    /// When the present row of successes reaches `length`.
    pub(super) fn healthy_at(&self, length: Millis) -> Option<Timestamp> {
        self.since.map(|since| since + length)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failures_in_row >= limits::PROBE_FAILURES_DEGRADED
    }

    /// Alternating successes and failures, and not one late start.
    pub(super) fn flaps(&self) -> bool {
        self.falls >= 2
    }

    pub(super) fn last_failure(&self) -> &str {
        if self.last_failure.is_empty() { "no probe was answered" } else { &self.last_failure }
    }

    pub(super) fn probes(&self) -> u32 {
        self.probes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimaran_model::pipeline::ProbeUrl;

    fn health() -> HealthCheck {
        HealthCheck {
            http: ProbeUrl { host: None, port: 1, path: "/".to_owned() },
            interval: Millis(500),
            timeout: Millis(1000),
            min_healthy: Millis(3000),
            deadline: Millis(20_000),
        }
    }

    #[test]
    fn a_failure_and_an_unwatched_gap_start_the_window_again() {
        let health = health();
        let mut window = Window::begin(Timestamp(0));
        for at in [0, 1000, 2000] {
            assert_eq!(window.answered(Timestamp(at), &health, Ok(())), Millis::ZERO);
        }
        assert!(window.healthy_for(Millis(2000)) && !window.healthy_for(Millis(2001)));
        window.answered(Timestamp(2500), &health, Err("HTTP 500"));
        assert!(!window.healthy_for(Millis::ZERO));
        window.answered(Timestamp(3000), &health, Ok(()));
        assert_eq!(window.answered(Timestamp(60_000), &health, Ok(())), Millis(57_000));
        assert!(!window.healthy_for(Millis(1)), "time that nothing watched does not count");
        assert_eq!(window.healthy_at(Millis(5)), Some(Timestamp(60_005)));
    }

    #[test]
    fn two_falls_are_flapping_and_three_failures_in_a_row_degrade() {
        let health = health();
        let mut window = Window::begin(Timestamp(0));
        for (at, answer) in [(0, Ok(())), (1, Err("x")), (2, Ok(())), (3, Err("x")), (4, Err("x"))] {
            window.answered(Timestamp(at), &health, answer);
        }
        assert!(window.flaps() && !window.is_failing());
        window.answered(Timestamp(5), &health, Err("y"));
        assert!(window.is_failing());
        assert_eq!((window.last_failure(), window.probes()), ("y", 6));
    }
}
