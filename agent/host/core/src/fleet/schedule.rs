//! The decision after every input: end, or start what slots, budget and lease allow.

use std::collections::BTreeMap;

use trimaran_agent_core::driver::Effect;
use trimaran_model::action::{Action, Failure, Outcome};
use trimaran_model::assignment::HostState;
use trimaran_model::id::HostName;
use trimaran_model::limits::{HOST_LOST_AFTER, HOSTS_PREPARED_AHEAD_MAX};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::host_state::{HostProgress, serves};
use super::left_behind::names;
use super::order::rank;
use super::{Effects, OrderKind, Phase, Sent};

/// The hosts of the assignment, sorted by what they are.
#[derive(Default)]
struct HostsByState {
    done: u32,
    in_flight: Vec<HostName>,
    /// Can be ordered, in the order of their updates: those that are down first.
    open: Vec<HostName>,
    /// Those of `open` that could not be prepared.
    unprepared: BTreeMap<HostName, Failure>,
    absent: Vec<HostName>,
    /// Hosts that don't serve and are not in flight.
    down: Vec<HostName>,
    /// The wave goes on without them.
    left_behind: u32,
    /// Nothing of what the order is about runs there.
    elsewhere: u32,
}

impl Phase {
    pub(crate) fn schedule(&mut self, now: Timestamp, out: &mut Effects) {
        self.detect_lost(now, out);
        let by_state = self.by_state();
        self.report_progress(out);
        if let Some(outcome) = self.end(now, &by_state) {
            self.ended = true;
            out.push(Effect::Done(outcome));
            return;
        }
        if !self.is_stopping() && self.all_observed() {
            if self.judge_unprepared(now, &by_state, out) {
                return self.schedule(now, out);
            }
            let in_progress = self.start(now, &by_state, out);
            if let Some(fault) = self.stuck(now, &by_state, in_progress) {
                self.judge(fault, out);
                return self.schedule(now, out);
            }
        }
        self.report_progress(out);
        self.plan_wake(now, &by_state, out);
    }

    fn by_state(&self) -> HostsByState {
        let mut by_state = HostsByState::default();
        for (host, record) in &self.hosts {
            let progress = record.progress(host, self.desired());
            // What it takes was paid for when it was left behind.
            if progress != HostProgress::Done && self.is_left_behind(host) {
                by_state.left_behind += 1;
                continue;
            }
            let misses_nothing = progress == HostProgress::Elsewhere && record.has_nothing();
            if progress != HostProgress::InFlight && !record.is_up() && !misses_nothing {
                by_state.down.push(host.clone());
            }
            match progress {
                HostProgress::InFlight => by_state.in_flight.push(host.clone()),
                _ if self.has_failed(host) => {}
                HostProgress::Done => by_state.done += 1,
                HostProgress::Open => by_state.open.push(host.clone()),
                HostProgress::Unprepared(failure) => {
                    by_state.open.push(host.clone());
                    by_state.unprepared.insert(host.clone(), failure);
                }
                HostProgress::Absent => by_state.absent.push(host.clone()),
                HostProgress::Elsewhere => by_state.elsewhere += 1,
                // A fault: the assignment ends by it.
                HostProgress::Bad(_) => {}
            }
        }
        let service = &self.assignment.installation.pipeline;
        by_state
            .open
            .sort_by_cached_key(|host| (self.hosts[host].is_up(), rank(service, host), host.clone()));
        by_state
    }

    /// The order of updates and what was done before are known only when every host was observed.
    pub(crate) fn all_observed(&self) -> bool {
        self.hosts.values().all(|record| record.observed)
    }

    /// How many hosts shall be done at the end of this assignment.
    fn wanted(&self, by_state: &HostsByState) -> u32 {
        let failed = self.hosts.keys().filter(|host| self.has_failed(host) && !self.is_left_behind(host));
        let failed = u32::try_from(failed.count()).unwrap_or(u32::MAX);
        let not_able = failed.saturating_add(by_state.left_behind).saturating_add(by_state.elsewhere);
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
    fn allowed(&self) -> usize {
        self.assignment.wave.max_unavailable.floor_of(self.total()).max(1) as usize
    }

    fn is_stopping(&self) -> bool {
        self.kept.abort.is_some() || self.kept.fault.is_some() || self.is_over_budget()
    }

    /// How the assignment ends, when it does: never while a host is in flight.
    fn end(&self, now: Timestamp, by_state: &HostsByState) -> Option<Outcome> {
        // A later order takes over from any host in flight, so only answers are waited for.
        if self.kept.abort == Some(ReasonCode::Fenced) {
            return (!self.has_calls()).then_some(Outcome::Stopped);
        }
        if by_state.in_flight.iter().any(|host| !self.is_lost(now, host)) {
            return None;
        }
        if self.kept.abort.is_some() {
            return (self.not_yet_connected(now, by_state) == 0).then_some(Outcome::Stopped);
        }
        if self.is_over_budget() {
            return Some(Outcome::Failed(self.first_failure()?));
        }
        if let Some(fault) = &self.kept.fault {
            return Some(Outcome::Fault(fault.clone()));
        }
        if by_state.done < self.wanted(by_state) || !self.all_observed() {
            return None;
        }
        if let Some(fault) = self.still_serves() {
            return Some(Outcome::Fault(fault));
        }
        if by_state.done > 0 {
            return Some(Outcome::Done);
        }
        // Every host that could have become done has failed or was left behind, each within its budget.
        let failed = self.first_failure().map(Outcome::Failed);
        let lost = || self.lost_words().or_else(|| self.runs_nowhere(by_state)).map(Outcome::Fault);
        Some(failed.or_else(lost).unwrap_or(Outcome::Done))
    }

    /// There was nothing to restart: whoever ordered it takes something else for what runs.
    fn runs_nowhere(&self, by_state: &HostsByState) -> Option<Failure> {
        let Action::Restart(digest) = self.assignment.action else { return None };
        if by_state.elsewhere < self.total() {
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
        let serving = self.hosts.iter().filter(|(_, record)| {
            record.connected && record.report.as_ref().is_some_and(|report| serves(report, digest))
        });
        let serving: Vec<HostName> = serving.map(|(host, _)| host.clone()).collect();
        if !self.assignment.wave.keep_serving || serving.is_empty() {
            return None;
        }
        let serve = match serving.len() {
            1 => "1 host still serves".to_owned(),
            more => format!("{more} hosts still serve"),
        };
        let message = format!("there is no earlier good release, and {serve}: {}", names(&serving));
        Some(Failure { code: ReasonCode::PausedTraffic, message, instance: None })
    }

    /// Absent hosts that have not connected to this process: they may have the release, or an order of an earlier incarnation
    /// that lost its directory. They have a while to say so.
    fn not_yet_connected(&self, now: Timestamp, by_state: &HostsByState) -> usize {
        let silent = |host: &&HostName| {
            let record = &self.hosts[*host];
            !record.was_connected && now < record.since + HOST_LOST_AFTER
        };
        by_state.absent.iter().filter(silent).count()
    }

    /// The first cause, with the count where it took more than one host.
    fn first_failure(&self) -> Option<Failure> {
        let mut first = self.kept.failures.first()?.clone();
        let wave = &self.assignment.wave;
        let before = wave.failed.iter().filter(|host| self.failure_of(host).is_none()).count();
        let count = before + self.kept.failures.len();
        if count > 1 {
            first.message.push_str(&format!(" ({count} hosts failed in this attempt)"));
        }
        Some(first)
    }

    /// How many of the open hosts this wave may still start.
    fn places_left(&self, now: Timestamp, by_state: &HostsByState) -> usize {
        // A host that has not connected yet may be one of those that the wave wants.
        let taken = by_state.done as usize + by_state.in_flight.len() + self.not_yet_connected(now, by_state);
        (self.wanted(by_state) as usize).saturating_sub(taken)
    }

    /// Hosts that are next and could not be prepared; the one after takes the place of one that failed.
    fn judge_unprepared(&mut self, now: Timestamp, by_state: &HostsByState, out: &mut Effects) -> bool {
        let mut places_left = self.places_left(now, by_state);
        let mut judged = false;
        for host in &by_state.open {
            if places_left == 0 || self.is_stopping() {
                break;
            }
            match by_state.unprepared.get(host) {
                Some(failure) => {
                    self.judge(failure.clone(), out);
                    judged = true;
                }
                None => places_left -= 1,
            }
        }
        judged
    }

    /// Orders what may be ordered; true when something is in progress.
    fn start(&mut self, now: Timestamp, by_state: &HostsByState, out: &mut Effects) -> bool {
        let mut in_flight = by_state.in_flight.len();
        let (now_or_soon, later) =
            by_state.open.split_at(self.places_left(now, by_state).min(by_state.open.len()));
        let (mut down, allowed) = (by_state.down.len(), self.allowed());
        let mut in_progress = in_flight > 0 || self.committing;
        let mut preparing = false;
        for host in now_or_soon {
            let record = &self.hosts[host];
            if self.needs_bytes(host) {
                if record.prepare == Sent::No {
                    self.order(host, OrderKind::Prepare, out);
                }
                (in_progress, preparing) = (true, true);
                continue;
            }
            let up = record.is_up();
            let slot = match self.assignment.action {
                Action::Release(_) | Action::Restore(_) | Action::Restart(_) => {
                    in_flight + if up { down } else { 0 } < allowed
                }
                // Both disturb nothing that serves well.
                Action::Verify | Action::Stop(_) => true,
                // The phase has ended by its fault.
                Action::Scale { .. } => false,
            };
            if slot && self.lease && !self.committing {
                self.order(host, OrderKind::Execute, out);
                in_flight += 1;
                down -= usize::from(!up);
                in_progress = true;
            }
        }
        if !preparing
            && in_flight == by_state.in_flight.len()
            && by_state.in_flight.iter().all(|it| self.has_begun(it))
        {
            self.prepare_ahead(later, &by_state.unprepared, out);
        }
        in_progress
    }

    /// What ran on the host in flight has made way: it waits for its service more than for its disk.
    fn has_begun(&self, host: &HostName) -> bool {
        self.hosts[host].report.as_ref().is_some_and(|it| it.state == HostState::Updating)
    }

    /// Brings the bytes to hosts of later waves while this one is at work, a few at a time: the hosts of this
    /// wave come first, until each has begun. What fails there is judged when they are next.
    fn prepare_ahead(
        &mut self,
        later: &[HostName],
        unprepared: &BTreeMap<HostName, Failure>,
        out: &mut Effects,
    ) {
        let lacks = |host: &&HostName| self.needs_bytes(host) && !unprepared.contains_key(*host);
        let (kind, not_asked): (Vec<&HostName>, Vec<&HostName>) =
            later.iter().filter(lacks).partition(|host| self.hosts[*host].prepare != Sent::No);
        let free = HOSTS_PREPARED_AHEAD_MAX.saturating_sub(kind.len());
        for host in not_asked.into_iter().take(free) {
            self.order(host, OrderKind::Prepare, out);
        }
    }

    /// The bytes of the release must be there before a slot is taken. What is brought back is there already.
    fn needs_bytes(&self, host: &HostName) -> bool {
        let Action::Release(digest) = self.assignment.action else { return false };
        let report = self.hosts[host].report.as_ref();
        report.is_none_or(|it| it.prepared != Some(digest) && it.current != Some(digest))
    }

    fn is_lost(&self, now: Timestamp, host: &HostName) -> bool {
        let record = &self.hosts[host];
        !record.connected && now >= record.since + HOST_LOST_AFTER
    }

    /// Hosts that are down or away may come back; when they don't, a user has to act.
    fn stuck(&mut self, now: Timestamp, by_state: &HostsByState, in_progress: bool) -> Option<Failure> {
        if in_progress || !self.lease {
            self.stuck_since = None;
            return None;
        }
        let since = *self.stuck_since.get_or_insert(now);
        if now < since + HOST_LOST_AFTER {
            return None;
        }
        Some(if by_state.open.is_empty() {
            let is = if by_state.absent.len() == 1 {
                "is not connected to its"
            } else {
                "are not connected to their"
            };
            let message = format!("{} {is} agent", names(&by_state.absent));
            let instance = by_state.absent.first().map(Into::into);
            Failure { code: ReasonCode::HostNotConnected, message, instance }
        } else {
            let (names, allowed) = (names(&by_state.down), self.allowed());
            let (are, use_up) = if by_state.down.len() == 1 { ("is", "uses up") } else { ("are", "use up") };
            let message = format!("{names} {are} already down and {use_up} max_unavailable ({allowed})");
            Failure { code: ReasonCode::BudgetPaused, message, instance: None }
        })
    }

    fn plan_wake(&mut self, now: Timestamp, by_state: &HostsByState, out: &mut Effects) {
        let away = |host: &HostName| {
            let record = &self.hosts[host];
            let progress = record.progress(host, self.desired());
            let limit = self.silence(host, record, &progress).filter(|_| !record.connected)?;
            Some(record.since + limit)
        };
        let next = by_state
            .in_flight
            .iter()
            .chain(&by_state.absent)
            .filter_map(away)
            .chain(self.stuck_since.map(|since| since + HOST_LOST_AFTER))
            .filter(|at| *at > now)
            .min();
        if let Some(at) = next.filter(|at| self.wake != Some(*at)) {
            self.wake = Some(at);
            out.push(Effect::WakeAt(at));
        }
    }
}
