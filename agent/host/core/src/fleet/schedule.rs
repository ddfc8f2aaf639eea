//! The decision after every input: end, or start what slots, budget and lease allow.

use trimaran_agent_core::driver::Effect;
use trimaran_model::action::{Action, Failure, Outcome};
use trimaran_model::id::HostName;
use trimaran_model::limits::{HOST_LOST_AFTER, HOSTS_PREPARED_AHEAD_MAX};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::host_index::{HostIndex, Turn};
use super::host_state::{HostProgress, serves};
use super::left_behind::names;
use super::{Effects, OrderKind, Phase};

impl Phase {
    pub(crate) fn schedule(&mut self, now: Timestamp, out: &mut Effects) {
        loop {
            self.detect_lost(now, out);
            if let Some(outcome) = self.end(now) {
                self.report_end(out);
                self.ended = true;
                out.push(Effect::Done(outcome));
                return;
            }
            // The order of updates and what was done before are known only when every host was observed.
            if self.is_stopping() || !self.index.all_observed() {
                break;
            }
            if self.judge_unprepared(now, out) {
                continue;
            }
            let in_progress = self.start(now, out);
            match self.stuck(now, in_progress) {
                Some(fault) => self.judge(fault, out),
                None => break,
            }
        }
        self.report_progress(now, out);
        self.plan_wake(now, out);
    }

    /// How many hosts shall be done at the end of this assignment.
    fn wanted(&self) -> u32 {
        let index = &self.index;
        let not_able = index.failed.saturating_add(index.left_behind).saturating_add(index.elsewhere);
        let able = self.total().saturating_sub(not_able);
        match self.assignment.action {
            Action::Release(_) | Action::Restore(_) | Action::Restart(_) => {
                self.assignment.wave.target_count.min(able)
            }
            Action::Verify | Action::Stop(_) | Action::Scale { .. } => able,
        }
    }

    pub(crate) fn total(&self) -> u32 {
        u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)
    }

    /// Hosts that may be down at once, from any cause: rounds down, at least one.
    fn allowed(&self) -> u32 {
        self.assignment.wave.max_unavailable.floor_of(self.total()).max(1)
    }

    fn is_stopping(&self) -> bool {
        self.kept.abort.is_some() || self.kept.fault.is_some() || self.is_over_budget()
    }

    /// How the assignment ends, when it does: never while a host is in flight.
    fn end(&self, now: Timestamp) -> Option<Outcome> {
        // A later order takes over from any host in flight, so only answers are waited for.
        if self.kept.abort == Some(ReasonCode::Fenced) {
            return (!self.has_calls()).then_some(Outcome::Stopped);
        }
        if self.index.waits_for_flight(now) {
            return None;
        }
        if self.kept.abort.is_some() {
            return (self.index.not_yet_connected(now) == 0).then_some(Outcome::Stopped);
        }
        if self.is_over_budget() {
            return Some(Outcome::Failed(self.first_failure()?));
        }
        if let Some(fault) = &self.kept.fault {
            return Some(Outcome::Fault(fault.clone()));
        }
        if self.index.done < self.wanted() || !self.index.all_observed() {
            return None;
        }
        if let Some(fault) = self.still_serves() {
            return Some(Outcome::Fault(fault));
        }
        if self.index.done > 0 {
            return Some(Outcome::Done);
        }
        // Every host that could have become done has failed or was left behind, each within its budget.
        let failed = self.first_failure().map(Outcome::Failed);
        let lost = || self.lost_words().or_else(|| self.runs_nowhere()).map(Outcome::Fault);
        Some(failed.or_else(lost).unwrap_or(Outcome::Done))
    }

    /// There was nothing to restart: whoever ordered it takes something else for what runs.
    fn runs_nowhere(&self) -> Option<Failure> {
        let Action::Restart(digest) = self.assignment.action else { return None };
        if self.index.elsewhere < self.total() {
            return None;
        }
        let (release, target) = (digest.short(), &self.assignment.installation.target);
        let message = format!(
            "release {release} runs on no host of target `{target}`, so nothing was restarted; deploy it first"
        );
        Some(Failure { code: ReasonCode::OrderRefused, message, instance: None })
    }

    /// Hosts that serve with a release that was to be stopped: a user decides what becomes of them.
    fn still_serves(&self) -> Option<Failure> {
        let Action::Stop(digest) = self.assignment.action else { return None };
        if !self.assignment.wave.keep_serving {
            return None;
        }
        let serving = self.hosts.iter().filter(|(_, record)| {
            record.connected && record.report.as_ref().is_some_and(|report| serves(report, digest))
        });
        let serving: Vec<&HostName> = serving.map(|(host, _)| host).collect();
        let serve = match serving.len() {
            0 => return None,
            1 => "1 host still serves".to_owned(),
            more => format!("{more} hosts still serve"),
        };
        let message =
            format!("there is no earlier good release, and {serve}: {}", names(serving.into_iter()));
        Some(Failure { code: ReasonCode::PausedTraffic, message, instance: None })
    }

    /// The first cause, with the count where it took more than one host.
    fn first_failure(&self) -> Option<Failure> {
        let mut first = self.kept.failures.first()?.clone();
        let count = self.index.charges.failed_only_before() + self.kept.failures.len();
        if count > 1 {
            first.message.push_str(&format!(" ({count} hosts failed in this attempt)"));
        }
        Some(first)
    }

    /// The turn that the open hosts are below of which this wave may still start.
    fn turns_of_wave(&self, now: Timestamp) -> Turn {
        let index = &self.index;
        // A host that has not connected yet may be one of those that the wave wants.
        let taken = index.done + index.in_flight + index.not_yet_connected(now);
        index.turns_of(self.wanted().saturating_sub(taken))
    }

    /// Hosts that are next and could not be prepared; the one after takes the place of one that failed.
    fn judge_unprepared(&mut self, now: Timestamp, out: &mut Effects) -> bool {
        let mut judged = false;
        while let Some(turn) = self.index.unprepared.first().copied()
            && turn < self.turns_of_wave(now)
            && !self.is_stopping()
        {
            let host = self.index.host_of(turn).clone();
            let HostProgress::Unprepared(failure) = self.hosts[&host].progress(&host, self.desired()) else {
                unreachable!("the index says that it could not be prepared")
            };
            self.judge(failure, out);
            judged = true;
        }
        judged
    }

    /// Orders what may be ordered; true when something is in progress.
    fn start(&mut self, now: Timestamp, out: &mut Effects) -> bool {
        let wave = self.turns_of_wave(now);
        for turn in self.index.without_bytes.range(..wave).copied().collect::<Vec<_>>() {
            self.prepare(turn, out);
        }
        let preparing = self.index.preparing.first().is_some_and(|turn| *turn < wave);
        let in_flight = self.index.in_flight;
        let mut last = 0;
        while let Some(turn) = self.index.ready.range(last..wave).next().copied()
            && self.has_slot(turn)
            && self.lease
            && !self.committing
        {
            let host = self.index.host_of(turn).clone();
            self.keep_ordered(&host, wave, out);
            self.order(&host, OrderKind::Execute, out);
            last = turn + 1;
        }
        let index = &self.index;
        if !preparing && index.in_flight == in_flight && index.in_flight_begun == in_flight {
            self.prepare_ahead(wave, out);
        }
        preparing || self.index.in_flight > 0 || self.committing
    }

    fn prepare(&mut self, turn: Turn, out: &mut Effects) {
        let host = self.index.host_of(turn).clone();
        self.order(&host, OrderKind::Prepare, out);
    }

    /// Whether a host may be taken now. Where one may not, none may whose turn is later.
    fn has_slot(&self, turn: Turn) -> bool {
        let index = &self.index;
        match self.assignment.action {
            Action::Release(_) | Action::Restore(_) | Action::Restart(_) => {
                let down = if index.is_up(turn) { index.down.len() } else { 0 };
                index.in_flight as usize + down < self.allowed() as usize
            }
            // Both disturb nothing that serves well.
            Action::Verify | Action::Stop(_) => true,
            // The phase has ended by its fault.
            Action::Scale { .. } => false,
        }
    }

    /// Brings the bytes to hosts of later waves while this one is at work, a few at a time: the hosts of this
    /// wave come first, until each has begun. What fails there is judged when they are next.
    fn prepare_ahead(&mut self, wave: Turn, out: &mut Effects) {
        let at_work = self.index.preparing.range(wave..).take(HOSTS_PREPARED_AHEAD_MAX).count();
        let next = self.index.without_bytes.range(wave..).take(HOSTS_PREPARED_AHEAD_MAX - at_work);
        for turn in next.copied().collect::<Vec<_>>() {
            self.prepare(turn, out);
        }
    }

    /// Hosts that are down or away may come back; when they don't, a user has to act.
    fn stuck(&mut self, now: Timestamp, in_progress: bool) -> Option<Failure> {
        if in_progress || !self.lease {
            self.stuck_since = None;
            return None;
        }
        let since = *self.stuck_since.get_or_insert(now);
        if now < since + HOST_LOST_AFTER {
            return None;
        }
        let HostIndex { open, absent, down, .. } = &self.index;
        Some(if open.len() == 0 {
            let is = if absent.len() == 1 { "is not connected to its" } else { "are not connected to their" };
            let message = format!("{} {is} agent", names(absent.iter()));
            let instance = absent.first().map(Into::into);
            Failure { code: ReasonCode::HostNotConnected, message, instance }
        } else {
            let (names, allowed) = (names(down.iter()), self.allowed());
            let (are, use_up) = if down.len() == 1 { ("is", "uses up") } else { ("are", "use up") };
            let message = format!("{names} {are} already down and {use_up} max_unavailable ({allowed})");
            Failure { code: ReasonCode::BudgetPaused, message, instance: None }
        })
    }

    fn plan_wake(&mut self, now: Timestamp, out: &mut Effects) {
        let ends = self.index.next_end_of_wait(now).into_iter();
        let stuck = self.stuck_since.map(|since| since + HOST_LOST_AFTER);
        let next = ends.chain(stuck).chain(self.report_at()).filter(|at| *at > now).min();
        if let Some(at) = next.filter(|at| self.wake != Some(*at)) {
            self.wake = Some(at);
            out.push(Effect::WakeAt(at));
        }
    }
}
