//! The decision after every input: end, or start what slots, budget and lease allow.

use std::collections::BTreeMap;

use trimaran_agent_core::driver::Effect;
use trimaran_model::action::{Action, Failure, Outcome};
use trimaran_model::assignment::HostState;
use trimaran_model::id::HostName;
use trimaran_model::limits::{HOST_LOST_AFTER, HOSTS_PREPARED_AHEAD_MAX};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;

use super::order::rank;
use super::standing::Standing;
use super::{Asked, Effects, Phase, Sent};

/// The hosts of the assignment, sorted by what they are.
#[derive(Default)]
struct Roll {
    done: u32,
    in_flight: Vec<HostName>,
    /// Can be ordered, in the order of their turn: those that are down first.
    open: Vec<HostName>,
    /// Those of `open` that could not be prepared.
    unprepared: BTreeMap<HostName, Failure>,
    absent: Vec<HostName>,
    /// Hosts that don't serve and are not in flight.
    down: Vec<HostName>,
}

impl Phase {
    pub(crate) fn decide(&mut self, now: Timestamp, out: &mut Effects) {
        self.look_for_lost(now, out);
        let roll = self.roll();
        self.tell(out);
        if let Some(outcome) = self.end(now, &roll) {
            self.ended = true;
            out.push(Effect::Done(outcome));
            return;
        }
        if !self.is_stopping() && self.all_shown() {
            if self.judge_unprepared(now, &roll, out) {
                return self.decide(now, out);
            }
            let moves = self.start(now, &roll, out);
            if let Some(fault) = self.stuck(now, &roll, moves) {
                self.judge(fault, out);
                return self.decide(now, out);
            }
        }
        self.tell(out);
        self.plan_wake(now, &roll, out);
    }

    fn roll(&self) -> Roll {
        let mut roll = Roll::default();
        for (host, turn) in &self.hosts {
            let standing = turn.standing(host, self.aim());
            if standing != Standing::InFlight && !turn.is_up() {
                roll.down.push(host.clone());
            }
            match standing {
                Standing::InFlight => roll.in_flight.push(host.clone()),
                _ if self.has_failed(host) => {}
                Standing::Done => roll.done += 1,
                Standing::Open => roll.open.push(host.clone()),
                Standing::Unprepared(failure) => {
                    roll.open.push(host.clone());
                    roll.unprepared.insert(host.clone(), failure);
                }
                Standing::Absent => roll.absent.push(host.clone()),
                // A fault: the assignment ends by it.
                Standing::Bad(_) => {}
            }
        }
        let service = &self.assignment.installation.pipeline;
        roll.open.sort_by_cached_key(|host| (self.hosts[host].is_up(), rank(service, host), host.clone()));
        roll
    }

    /// The order of turns and what was done before are known only when every host was looked at.
    pub(crate) fn all_shown(&self) -> bool {
        self.hosts.values().all(|turn| turn.shown)
    }

    /// How many hosts shall be done at the end of this assignment.
    fn wanted(&self) -> u32 {
        let failed = self.hosts.keys().filter(|host| self.has_failed(host)).count();
        let able = self.total().saturating_sub(u32::try_from(failed).unwrap_or(u32::MAX));
        match self.assignment.action {
            Action::Release(_) | Action::Restore(_) => self.assignment.wave.target_count.min(able),
            Action::Verify | Action::Stop(_) => able,
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
    fn end(&self, now: Timestamp, roll: &Roll) -> Option<Outcome> {
        if roll.in_flight.iter().any(|host| !self.is_lost(now, host)) {
            return None;
        }
        if self.kept.abort.is_some() {
            return (self.unheard(now, roll) == 0).then_some(Outcome::Stopped);
        }
        if self.is_over_budget() {
            return Some(Outcome::Failed(self.first_failure()?));
        }
        if let Some(fault) = &self.kept.fault {
            return Some(Outcome::Fault(fault.clone()));
        }
        if roll.done < self.wanted() || !self.all_shown() {
            return None;
        }
        // Every host that could have become done has failed, each within the budget.
        match self.first_failure() {
            Some(failure) if roll.done == 0 => Some(Outcome::Failed(failure)),
            _ => Some(Outcome::Done),
        }
    }

    /// Absent hosts that were not heard in this life: they may have the release, or an order of an earlier life
    /// that lost its directory. They have a while to say so.
    fn unheard(&self, now: Timestamp, roll: &Roll) -> usize {
        let silent = |host: &&HostName| {
            let turn = &self.hosts[*host];
            !turn.heard && now < turn.since + HOST_LOST_AFTER
        };
        roll.absent.iter().filter(silent).count()
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

    /// How many of the open hosts have their turn in this wave.
    fn turns(&self, now: Timestamp, roll: &Roll) -> usize {
        // A host that was not heard yet may be one of those that the wave wants.
        let taken = roll.done as usize + roll.in_flight.len() + self.unheard(now, roll);
        (self.wanted() as usize).saturating_sub(taken)
    }

    /// Hosts whose turn it is and that could not be prepared; the next one takes the turn of one that failed.
    fn judge_unprepared(&mut self, now: Timestamp, roll: &Roll, out: &mut Effects) -> bool {
        let mut turns = self.turns(now, roll);
        let mut judged = false;
        for host in &roll.open {
            if turns == 0 || self.is_stopping() {
                break;
            }
            match roll.unprepared.get(host) {
                Some(failure) => {
                    self.judge(failure.clone(), out);
                    judged = true;
                }
                None => turns -= 1,
            }
        }
        judged
    }

    /// Orders what may be ordered; true when something moves by itself.
    fn start(&mut self, now: Timestamp, roll: &Roll, out: &mut Effects) -> bool {
        let mut in_flight = roll.in_flight.len();
        let (now_or_soon, later) = roll.open.split_at(self.turns(now, roll).min(roll.open.len()));
        let (mut down, allowed) = (roll.down.len(), self.allowed());
        let mut moves = in_flight > 0 || self.committing;
        let mut preparing = false;
        for host in now_or_soon {
            let turn = &self.hosts[host];
            if self.needs_bytes(host) {
                if turn.prepare == Sent::No {
                    self.order(host, Asked::Prepare, out);
                }
                (moves, preparing) = (true, true);
                continue;
            }
            let up = turn.is_up();
            let slot = match self.assignment.action {
                Action::Release(_) | Action::Restore(_) => in_flight + if up { down } else { 0 } < allowed,
                // Both disturb nothing that serves well.
                Action::Verify | Action::Stop(_) => true,
            };
            if slot && self.lease && !self.committing {
                self.order(host, Asked::Act, out);
                in_flight += 1;
                down -= usize::from(!up);
                moves = true;
            }
        }
        if !preparing
            && in_flight == roll.in_flight.len()
            && roll.in_flight.iter().all(|it| self.has_begun(it))
        {
            self.prepare_ahead(later, &roll.unprepared, out);
        }
        moves
    }

    /// What ran on the host in flight has made way: it waits for its service more than for its disk.
    fn has_begun(&self, host: &HostName) -> bool {
        self.hosts[host].report.as_ref().is_some_and(|it| it.state == HostState::Updating)
    }

    /// Brings the bytes to hosts of later waves while this one is at work, a few at a time: the hosts of this
    /// wave come first, until each has begun. What fails there is looked at when their turn comes.
    fn prepare_ahead(
        &mut self,
        later: &[HostName],
        unprepared: &BTreeMap<HostName, Failure>,
        out: &mut Effects,
    ) {
        let lacks = |host: &&HostName| self.needs_bytes(host) && !unprepared.contains_key(*host);
        let (asked, not_asked): (Vec<&HostName>, Vec<&HostName>) =
            later.iter().filter(lacks).partition(|host| self.hosts[*host].prepare != Sent::No);
        let free = HOSTS_PREPARED_AHEAD_MAX.saturating_sub(asked.len());
        for host in not_asked.into_iter().take(free) {
            self.order(host, Asked::Prepare, out);
        }
    }

    /// The bytes of the release must be there before a slot is taken. What is brought back is there already.
    fn needs_bytes(&self, host: &HostName) -> bool {
        let Action::Release(digest) = self.assignment.action else { return false };
        let report = self.hosts[host].report.as_ref();
        report.is_none_or(|it| it.prepared != Some(digest) && it.current != Some(digest))
    }

    /// A host in flight that is silent for too long ends the assignment as a fault.
    fn look_for_lost(&mut self, now: Timestamp, out: &mut Effects) {
        let lost = self.hosts.iter().find(|(host, turn)| {
            self.is_lost(now, host) && turn.standing(host, self.aim()) == Standing::InFlight
        });
        if self.kept.fault.is_none()
            && let Some((host, _)) = lost
        {
            let message =
                format!("nothing was heard of the host for {HOST_LOST_AFTER} in the middle of its work");
            self.judge(Failure { code: ReasonCode::HostLost, message, instance: Some(host.clone()) }, out);
        }
    }

    fn is_lost(&self, now: Timestamp, host: &HostName) -> bool {
        let turn = &self.hosts[host];
        !turn.connected && now >= turn.since + HOST_LOST_AFTER
    }

    /// Hosts that are down or away may come back; when they don't, somebody has to look.
    fn stuck(&mut self, now: Timestamp, roll: &Roll, moves: bool) -> Option<Failure> {
        if moves || !self.lease {
            self.stuck_since = None;
            return None;
        }
        let since = *self.stuck_since.get_or_insert(now);
        if now < since + HOST_LOST_AFTER {
            return None;
        }
        Some(if roll.open.is_empty() {
            let names = names(&roll.absent);
            let message = format!("not connected to the agent: {names}");
            let instance = roll.absent.first().cloned();
            Failure { code: ReasonCode::HostNotConnected, message, instance }
        } else {
            let (names, allowed) = (names(&roll.down), self.allowed());
            let message = format!("down from other causes: {names}; max_unavailable allows {allowed}");
            Failure { code: ReasonCode::BudgetPaused, message, instance: None }
        })
    }

    fn plan_wake(&mut self, now: Timestamp, roll: &Roll, out: &mut Effects) {
        let away = |host: &HostName| {
            let turn = &self.hosts[host];
            (!turn.connected).then_some(turn.since + HOST_LOST_AFTER)
        };
        let unheard = roll.absent.iter().filter(|host| !self.hosts[*host].heard);
        let next = roll
            .in_flight
            .iter()
            .filter_map(away)
            .chain(unheard.filter_map(away))
            .chain(self.stuck_since.map(|since| since + HOST_LOST_AFTER))
            .filter(|at| *at > now)
            .min();
        if let Some(at) = next.filter(|at| self.wake != Some(*at)) {
            self.wake = Some(at);
            out.push(Effect::WakeAt(at));
        }
    }
}

/// Names for a message, not more than a line of them.
fn names(hosts: &[HostName]) -> String {
    const SHOWN: usize = 10;
    let mut names: Vec<String> = hosts.iter().take(SHOWN).map(ToString::to_string).collect();
    if hosts.len() > SHOWN {
        names.push(format!("and {} more", hosts.len() - SHOWN));
    }
    names.join(", ")
}
