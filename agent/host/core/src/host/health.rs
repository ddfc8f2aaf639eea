//! What the probes of one process say: how long it has been healthy without a break, counting only what was watched.

use trimaran_agent_core::driver::CallId;
use trimaran_model::limits;
use trimaran_model::pipeline::{Condition, HealthCheck, Probe};
use trimaran_model::time::{Millis, Timestamp};

/// The probes of one process since it is watched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Watch {
    /// Empty until the release's health check is known.
    tracks: Vec<Track>,
    /// The start of watching.
    began: Timestamp,
    /// The last answer of any probe, or the start of watching.
    seen: Timestamp,
    /// Since when all that count succeed.
    since: Option<Timestamp>,
    /// Successes of all that were followed by a failure.
    falls: u32,
    answers: u32,
    /// The last failure, and what was asked.
    last_failure: Option<(String, String)>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Track {
    condition: Condition,
    probe: Probe,
    pending: Option<CallId>,
    /// When it is asked next; `None`: it is being asked, waits for a startup probe, or is done.
    at: Option<Timestamp>,
    successes_in_row: u32,
    failures_in_row: u32,
    /// Since when it succeeds, by its own count of successes.
    since: Option<Timestamp>,
    /// Its last success.
    seen: Timestamp,
}

impl Track {
    fn new(condition: Condition, probe: &Probe) -> Self {
        Self {
            condition,
            probe: probe.clone(),
            pending: None,
            at: None,
            successes_in_row: 0,
            failures_in_row: 0,
            since: None,
            seen: Timestamp(0),
        }
    }

    fn is_startup(&self) -> bool {
        self.condition == Condition::Startup
    }

    /// A startup probe that has succeeded is not asked again.
    fn is_done(&self) -> bool {
        self.is_startup() && self.since.is_some()
    }

    fn note(&mut self, now: Timestamp, success: bool) {
        if success {
            self.seen = now;
            self.failures_in_row = 0;
            self.successes_in_row = self.successes_in_row.saturating_add(1);
            if self.successes_in_row >= self.probe.successes {
                self.since.get_or_insert(now);
            }
        } else {
            self.forget();
            self.failures_in_row = self.failures_in_row.saturating_add(1);
        }
    }

    /// Successes so far don't count any more.
    fn forget(&mut self) {
        self.successes_in_row = 0;
        self.since = None;
    }

    fn is_failing(&self) -> bool {
        self.failures_in_row >= self.probe.failures
    }
}

impl Watch {
    pub(super) fn begin(now: Timestamp) -> Self {
        Self { began: now, seen: now, ..Self::default() }
    }

    /// Begins to ask what the release's health check asks, unless that has begun.
    pub(super) fn load(&mut self, now: Timestamp, health: &HealthCheck) {
        if self.tracks.is_empty() {
            self.tracks = health.probes().map(|(condition, probe)| Track::new(condition, probe)).collect();
            self.ask_now(now);
        }
    }

    /// Counts from now on: a verification begins. What has started up stays so.
    pub(super) fn restart(&mut self, now: Timestamp) {
        let tracks = std::mem::take(&mut self.tracks);
        *self = Self { tracks, ..Self::begin(now) };
        for track in self.tracks.iter_mut().filter(|track| !track.is_done()) {
            track.forget();
            track.failures_in_row = 0;
        }
        self.ask_now(now);
    }

    /// Everything that may be asked is due.
    fn ask_now(&mut self, now: Timestamp) {
        let started = self.has_started();
        for track in self.tracks.iter_mut().filter(|track| track.pending.is_none() && !track.is_done()) {
            track.at = (started || track.is_startup()).then_some(now);
        }
    }

    fn has_started(&self) -> bool {
        self.tracks.iter().filter(|track| track.is_startup()).all(Track::is_done)
    }

    /// A probe that is to be asked now, with its place.
    pub(super) fn due(&self, now: Timestamp) -> Option<(usize, &Probe)> {
        let is_due = |track: &&Track| track.at.is_some_and(|at| at <= now);
        let place = self.tracks.iter().position(|track| is_due(&track))?;
        Some((place, &self.tracks[place].probe))
    }

    pub(super) fn asked(&mut self, place: usize, call: CallId) {
        let track = &mut self.tracks[place];
        track.pending = Some(call);
        track.at = None;
    }

    /// The place of the probe that a call was for; it is not pending any more.
    pub(super) fn take_pending(&mut self, call: CallId) -> Option<usize> {
        let place = self.tracks.iter().position(|track| track.pending == Some(call))?;
        self.tracks[place].pending = None;
        Some(place)
    }

    /// When a probe is due next.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.tracks.iter().filter_map(|track| track.at).min()
    }

    /// Takes an answer. Returns for how long nothing watched before it, when that was longer than probes take.
    pub(super) fn answered(&mut self, now: Timestamp, place: usize, answer: Result<(), &str>) -> Millis {
        let probe = &self.tracks[place].probe;
        let allowed = Millis(probe.interval.0 + probe.timeout.0 + limits::PROBE_GAP.0);
        let gap = now - self.seen;
        let unwatched = if gap > allowed { gap } else { Millis::ZERO };
        if unwatched > Millis::ZERO {
            self.tracks.iter_mut().filter(|track| !track.is_startup()).for_each(Track::forget);
            self.since = None;
        }
        self.seen = now;
        self.answers = self.answers.saturating_add(1);
        if let Err(message) = answer {
            self.last_failure = Some((message.to_owned(), self.tracks[place].probe.check.to_string()));
        }
        self.tracks[place].note(now, answer.is_ok());
        if self.tracks[place].is_done() && self.has_started() {
            self.ask_now(now);
        }
        let before = self.since;
        let counted = || self.tracks.iter().filter(|track| !track.is_startup());
        self.since = match counted().all(|track| track.since.is_some()) {
            true => counted().filter_map(|track| track.since).max(),
            false => None,
        };
        self.falls = self.falls.saturating_add(u32::from(before.is_some() && self.since.is_none()));
        unwatched
    }

    /// When the probe is asked again. A verification, which needs `min_healthy` without a break, asks at its possible
    /// end, and more often until the first success: a service that starts at once is seen at once, and one that takes
    /// its time is not asked all the time.
    pub(super) fn schedule(&mut self, now: Timestamp, place: usize, min_healthy: Option<Millis>) {
        let end = min_healthy.and_then(|length| self.healthy_at(length)).map(|end| end.max(now));
        let watched = now - self.began;
        let track = &mut self.tracks[place];
        if track.pending.is_none() && !track.is_done() {
            let regular = now + track.probe.interval;
            let share = Millis(watched.0 / limits::PROBE_FIRST_SHARE).max(limits::PROBE_FIRST_INTERVAL);
            let early = min_healthy.is_some() && track.since.is_none();
            track.at = Some(if early { regular.min(now + share) } else { regular });
        }
        if let Some(end) = end {
            self.tracks.iter_mut().for_each(|track| track.at = track.at.map(|at| at.min(end)));
        }
    }

    /// Whether the last answers of all that count were successes for `length` or longer.
    pub(super) fn healthy_for(&self, length: Millis) -> bool {
        let seen = self.tracks.iter().filter(|track| !track.is_startup()).map(|track| track.seen).min();
        self.since.zip(seen).is_some_and(|(since, seen)| seen >= since && seen - since >= length)
    }

    /// When the present row of successes reaches `length`.
    pub(super) fn healthy_at(&self, length: Millis) -> Option<Timestamp> {
        self.since.map(|since| since + length)
    }

    /// Whether a probe of the condition has failed as often in a row as its release allows.
    pub(super) fn is_failing(&self, condition: Condition) -> bool {
        self.tracks.iter().any(|track| track.condition == condition && track.is_failing())
    }

    /// Alternating successes and failures, and not one late start.
    pub(super) fn flaps(&self) -> bool {
        self.falls >= 2
    }

    /// The last failure with what was asked.
    pub(super) fn last_failure(&self) -> (&str, String) {
        match &self.last_failure {
            Some((message, check)) => (message, check.clone()),
            None => {
                let first = self.tracks.first().map(|track| track.probe.check.to_string());
                ("no probe was answered", first.unwrap_or_default())
            }
        }
    }

    /// Whether all that count succeed now, or the last failure; `None` before any answer.
    pub(super) fn present(&self) -> Option<Result<(), String>> {
        match self.since {
            Some(_) => Some(Ok(())),
            None if self.answers > 0 => Some(Err(self.last_failure().0.to_owned())),
            None => None,
        }
    }

    /// Answers so far.
    pub(super) fn answers(&self) -> u32 {
        self.answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimaran_model::pipeline::{HttpProbe, ProbeAddress, ProbeCheck, ProbeUrl};

    fn probe(port: u16) -> Probe {
        let url = ProbeUrl { address: ProbeAddress { host: None, port }, path: "/".to_owned() };
        Probe {
            check: ProbeCheck::Http(HttpProbe::get(url)),
            interval: Millis(500),
            timeout: Millis(1000),
            successes: 1,
            failures: 3,
        }
    }

    fn watch(startup: &[Probe], readiness: &[Probe], liveness: &[Probe]) -> Watch {
        let mut watch = Watch::begin(Timestamp(0));
        let health = HealthCheck {
            startup: startup.to_vec(),
            readiness: readiness.to_vec(),
            liveness: liveness.to_vec(),
            min_healthy: Millis(3000),
            deadline: Millis(20_000),
        };
        watch.load(Timestamp(0), &health);
        watch
    }

    #[test]
    fn a_failure_and_an_unwatched_gap_start_the_window_again() {
        let mut watch = watch(&[], &[probe(1)], &[]);
        for at in [0, 1000, 2000] {
            assert_eq!(watch.answered(Timestamp(at), 0, Ok(())), Millis::ZERO);
        }
        assert!(watch.healthy_for(Millis(2000)) && !watch.healthy_for(Millis(2001)));
        watch.answered(Timestamp(2500), 0, Err("HTTP 500"));
        assert!(!watch.healthy_for(Millis::ZERO));
        watch.answered(Timestamp(3000), 0, Ok(()));
        assert_eq!(watch.answered(Timestamp(60_000), 0, Ok(())), Millis(57_000));
        assert!(!watch.healthy_for(Millis(1)), "time that nothing watched does not count");
        assert_eq!(watch.healthy_at(Millis(5)), Some(Timestamp(60_005)));
    }

    #[test]
    fn two_falls_are_flapping_and_three_failures_in_a_row_degrade() {
        let mut watch = watch(&[], &[probe(1)], &[]);
        for (at, answer) in [(0, Ok(())), (1, Err("x")), (2, Ok(())), (3, Err("x")), (4, Err("x"))] {
            watch.answered(Timestamp(at), 0, answer);
        }
        assert!(watch.flaps() && !watch.is_failing(Condition::Readiness));
        watch.answered(Timestamp(5), 0, Err("y"));
        assert!(watch.is_failing(Condition::Readiness));
        assert_eq!((watch.last_failure(), watch.answers()), (("y", ":1/".to_owned()), 6));
    }

    #[test]
    fn nothing_else_is_asked_before_all_startup_probes_have_succeeded_once() {
        let mut watch = watch(&[probe(1), probe(2)], &[probe(3)], &[probe(4)]);
        let due = |watch: &mut Watch, now: u64| -> Vec<usize> {
            let mut places = Vec::new();
            while let Some((place, _)) = watch.due(Timestamp(now)) {
                watch.asked(place, CallId(100 + places.len() as u64));
                places.push(place);
            }
            for call in 0..places.len() as u64 {
                watch.take_pending(CallId(100 + call)).expect("it was asked");
            }
            places
        };
        assert_eq!(due(&mut watch, 0), [0, 1]);
        watch.answered(Timestamp(1), 0, Ok(()));
        watch.schedule(Timestamp(1), 0, None);
        watch.answered(Timestamp(1), 1, Err("not yet"));
        watch.schedule(Timestamp(1), 1, None);
        assert_eq!(due(&mut watch, 501), [1], "the first one is done");
        watch.answered(Timestamp(502), 1, Ok(()));
        watch.schedule(Timestamp(502), 1, None);
        assert_eq!(due(&mut watch, 502), [2, 3]);
        watch.restart(Timestamp(600));
        assert_eq!(due(&mut watch, 600), [2, 3], "what has started stays so");
    }

    #[test]
    fn all_that_count_have_to_succeed_for_the_whole_length() {
        let twice = Probe { successes: 2, ..probe(2) };
        let mut watch = watch(&[], &[probe(1)], &[twice]);
        watch.answered(Timestamp(0), 0, Ok(()));
        watch.answered(Timestamp(10), 1, Ok(()));
        assert_eq!(watch.healthy_at(Millis::ZERO), None, "one success of two");
        watch.answered(Timestamp(20), 1, Ok(()));
        assert_eq!(watch.healthy_at(Millis(100)), Some(Timestamp(120)));
        watch.answered(Timestamp(120), 1, Ok(()));
        assert!(!watch.healthy_for(Millis(100)), "the first probe has not answered since");
        watch.answered(Timestamp(121), 0, Ok(()));
        assert!(watch.healthy_for(Millis(100)));
        for at in [130, 140, 150] {
            watch.answered(Timestamp(at), 1, Err("stuck"));
        }
        assert!(watch.is_failing(Condition::Liveness) && !watch.is_failing(Condition::Readiness));
    }
}
