//! The hosts of an assignment by what they are: sets and counts that are kept up to date by the one host that changed, so
//! that an input costs what it reaches and not the fleet.
//!
//! Deliberately not here: what a host is (`refresh`), and what follows from it (`schedule`).

use std::collections::{BTreeMap, BTreeSet};

use trimaran_agent_core::driver::CallId;
use trimaran_model::action::Failure;
use trimaran_model::assignment::Assignment;
use trimaran_model::id::HostName;
use trimaran_model::time::Timestamp;

use super::journal::Kept;
use super::order::rank;
use super::positions::Positions;

/// The place of a host among those that can be ordered: hosts that are down come first, then the order of updates.
pub(super) type Turn = u32;

/// What the schedule makes of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The wave goes on without it.
    LeftBehind,
    /// `begun`: what ran there has made way, so it waits for its service more than for its disk.
    InFlight {
        begun: bool,
    },
    Done,
    Open(Turn, Need),
    Absent,
    /// Nothing of what the order is about runs there.
    Elsewhere,
    /// It failed, or the assignment ends by it.
    Failed,
}

/// What an open host lacks before it is ordered to execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    /// The bytes of the release.
    Bytes,
    /// They were ordered.
    OrderedBytes,
    /// They could not be prepared.
    OtherBytes,
}

/// All that the index holds of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) class: Class,
    pub(super) observed: bool,
    /// It failed, and was not left behind.
    pub(super) failed: bool,
    /// It does not serve, and is not in flight.
    pub(super) down: bool,
    /// How urgently it is reported.
    pub(super) weight: u8,
    /// Away: until when it is waited for.
    pub(super) waited_until: Option<Timestamp>,
    /// Away: from then on it is left behind.
    pub(super) silent_at: Option<Timestamp>,
    /// It has not connected to this process: it may have the release, or an order of an earlier incarnation that lost its
    /// directory, and has until then to say so.
    pub(super) unknown_until: Option<Timestamp>,
}

/// Hosts with a time, the earliest first.
type Times = BTreeSet<(Timestamp, HostName)>;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostIndex {
    entries: BTreeMap<HostName, Entry>,
    /// All hosts in the order of their updates, and each one's place in it.
    in_order: Vec<HostName>,
    places: BTreeMap<HostName, Turn>,
    pub(super) done: u32,
    pub(super) left_behind: u32,
    pub(super) elsewhere: u32,
    pub(super) in_flight: u32,
    pub(super) in_flight_begun: u32,
    /// Failed and not left behind.
    pub(super) failed: u32,
    observed: u32,
    /// Hosts that can be ordered.
    pub(super) open: Positions,
    pub(super) ready: BTreeSet<Turn>,
    pub(super) without_bytes: BTreeSet<Turn>,
    pub(super) preparing: BTreeSet<Turn>,
    pub(super) unprepared: BTreeSet<Turn>,
    pub(super) absent: BTreeSet<HostName>,
    pub(super) down: BTreeSet<HostName>,
    /// By the urgency of its report.
    pub(super) shown: BTreeSet<(u8, HostName)>,
    /// Hosts in flight or absent that are away.
    pub(super) waited: Times,
    pub(super) silent: Times,
    pub(super) unknown: Times,
    /// Hosts in flight that are away; with the same times as in `waited`.
    pub(super) in_flight_away: Times,
    pub(super) calls: BTreeMap<CallId, HostName>,
    pub(super) charges: Charges,
}

/// Failures and faults by host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Charges {
    /// Failed in this attempt before the assignment.
    failed_before: BTreeSet<HostName>,
    /// Left behind in this attempt before the assignment.
    lost_before: BTreeSet<HostName>,
    /// Places in `Kept::failures` and `Kept::lost`.
    failures: BTreeMap<HostName, usize>,
    lost: BTreeMap<HostName, usize>,
    /// Those that cost budget.
    pub(super) new_failures: u32,
    pub(super) new_lost: u32,
}

impl Charges {
    fn new(assignment: &Assignment, kept: &Kept) -> Self {
        let wave = &assignment.wave;
        let mut charges = Self {
            failed_before: wave.failed.iter().cloned().collect(),
            lost_before: wave.lost.iter().cloned().collect(),
            ..Self::default()
        };
        for (place, failure) in kept.failures.iter().enumerate() {
            charges.add_failure(failure, place);
        }
        for (place, fault) in kept.lost.iter().enumerate() {
            charges.add_lost(fault, place);
        }
        charges
    }

    /// What a coordinator charged meanwhile costs nothing more.
    pub(super) fn add_failure(&mut self, failure: &Failure, place: usize) {
        let host = failure.host();
        let charged = host.as_ref().is_some_and(|host| self.failed_before.contains(host));
        self.new_failures += u32::from(failure.instance.is_some() && !charged);
        if let Some(host) = host {
            self.failures.entry(host).or_insert(place);
        }
    }

    pub(super) fn add_lost(&mut self, fault: &Failure, place: usize) {
        if let Some(host) = fault.host() {
            self.new_lost += u32::from(!self.lost_before.contains(&host));
            self.lost.entry(host).or_insert(place);
        }
    }

    /// Hosts that failed before this assignment and not in it.
    pub(super) fn failed_only_before(&self) -> usize {
        self.failed_before.iter().filter(|host| !self.failures.contains_key(*host)).count()
    }

    /// Whether a host failed in this attempt.
    pub(super) fn has_failed(&self, host: &HostName) -> bool {
        self.failed_before.contains(host) || self.failures.contains_key(host)
    }

    /// The place in `Kept::failures` of a host that failed in this assignment.
    pub(super) fn failure(&self, host: &HostName) -> Option<usize> {
        self.failures.get(host).copied()
    }

    /// The place in `Kept::lost` of a host that was left behind in this assignment.
    pub(super) fn lost(&self, host: &HostName) -> Option<usize> {
        self.lost.get(host).copied()
    }

    pub(super) fn was_lost_before(&self, host: &HostName) -> bool {
        self.lost_before.contains(host)
    }

    pub(super) fn had_failed_before(&self, host: &HostName) -> bool {
        self.failed_before.contains(host)
    }
}

impl HostIndex {
    /// An index of no host, for all hosts of an assignment.
    pub(crate) fn new(assignment: &Assignment, kept: &Kept) -> Self {
        let service = &assignment.installation.pipeline;
        let mut in_order: Vec<HostName> = assignment.hosts.iter().cloned().collect();
        in_order.sort_by_cached_key(|host| (rank(service, host), host.clone()));
        let places = (0..).zip(&in_order).map(|(place, host)| (host.clone(), place)).collect();
        let open = Positions::below(2 * in_order.len());
        let charges = Charges::new(assignment, kept);
        Self { in_order, places, open, charges, ..Self::default() }
    }

    fn total(&self) -> Turn {
        Turn::try_from(self.in_order.len()).expect("a fleet has fewer hosts than 2^31")
    }

    pub(super) fn turn(&self, host: &HostName, is_up: bool) -> Turn {
        self.places[host] + if is_up { self.total() } else { 0 }
    }

    pub(super) fn host_of(&self, turn: Turn) -> &HostName {
        &self.in_order[(turn % self.total()) as usize]
    }

    /// Whether the host of a turn serves now.
    pub(super) fn is_up(&self, turn: Turn) -> bool {
        turn >= self.total()
    }

    /// The turn that the first `count` open hosts are below of.
    pub(super) fn turns_of(&self, count: u32) -> Turn {
        self.open.nth(count).unwrap_or(Turn::MAX)
    }

    pub(super) fn all_observed(&self) -> bool {
        self.observed as usize == self.entries.len()
    }

    /// Absent hosts that may still connect for the first time.
    pub(super) fn not_yet_connected(&self, now: Timestamp) -> u32 {
        count(self.unknown.len() - over(&self.unknown, now).count())
    }

    /// Whether a host is in flight that is there, or may come back soon.
    pub(super) fn waits_for_flight(&self, now: Timestamp) -> bool {
        self.in_flight > count(over(&self.in_flight_away, now).count())
    }

    /// Hosts that have been away for too long.
    pub(super) fn now_silent(&self, now: Timestamp) -> BTreeSet<HostName> {
        over(&self.silent, now).cloned().collect()
    }

    /// The next time at which a host that is away is waited for no more.
    pub(super) fn next_end_of_wait(&self, now: Timestamp) -> Option<Timestamp> {
        self.waited.iter().map(|(at, _)| *at).find(|at| *at > now)
    }

    /// Puts a host where it belongs now.
    pub(super) fn put(&mut self, host: &HostName, entry: Entry) {
        if self.entries.get(host) != Some(&entry) {
            self.remove(host);
            self.insert(host, entry);
        }
    }

    fn remove(&mut self, host: &HostName) {
        let Some(entry) = self.entries.remove(host) else { return };
        self.observed -= u32::from(entry.observed);
        self.failed -= u32::from(entry.failed);
        match entry.class {
            Class::LeftBehind => self.left_behind -= 1,
            Class::InFlight { begun } => {
                self.in_flight -= 1;
                self.in_flight_begun -= u32::from(begun);
                if let Some(at) = entry.waited_until {
                    self.in_flight_away.remove(&(at, host.clone()));
                }
            }
            Class::Done => self.done -= 1,
            Class::Open(turn, need) => {
                self.open.remove(turn);
                self.of_need(need).remove(&turn);
            }
            Class::Absent => drop(self.absent.remove(host)),
            Class::Elsewhere => self.elsewhere -= 1,
            Class::Failed => {}
        }
        self.down.remove(host);
        self.shown.remove(&(entry.weight, host.clone()));
        let times = [
            (&mut self.waited, entry.waited_until),
            (&mut self.silent, entry.silent_at),
            (&mut self.unknown, entry.unknown_until),
        ];
        for (set, at) in times {
            if let Some(at) = at {
                set.remove(&(at, host.clone()));
            }
        }
    }

    pub(super) fn insert(&mut self, host: &HostName, entry: Entry) {
        self.observed += u32::from(entry.observed);
        self.failed += u32::from(entry.failed);
        match entry.class {
            Class::LeftBehind => self.left_behind += 1,
            Class::InFlight { begun } => {
                self.in_flight += 1;
                self.in_flight_begun += u32::from(begun);
                self.in_flight_away.extend(entry.waited_until.map(|at| (at, host.clone())));
            }
            Class::Done => self.done += 1,
            Class::Open(turn, need) => {
                self.open.insert(turn);
                self.of_need(need).insert(turn);
            }
            Class::Absent => drop(self.absent.insert(host.clone())),
            Class::Elsewhere => self.elsewhere += 1,
            Class::Failed => {}
        }
        if entry.down {
            self.down.insert(host.clone());
        }
        self.shown.insert((entry.weight, host.clone()));
        self.waited.extend(entry.waited_until.map(|at| (at, host.clone())));
        self.silent.extend(entry.silent_at.map(|at| (at, host.clone())));
        self.unknown.extend(entry.unknown_until.map(|at| (at, host.clone())));
        self.entries.insert(host.clone(), entry);
    }

    fn of_need(&mut self, need: Need) -> &mut BTreeSet<Turn> {
        match need {
            Need::Nothing => &mut self.ready,
            Need::Bytes => &mut self.without_bytes,
            Need::OrderedBytes => &mut self.preparing,
            Need::OtherBytes => &mut self.unprepared,
        }
    }
}

/// Hosts whose time is over.
fn over(times: &Times, now: Timestamp) -> impl Iterator<Item = &HostName> {
    times.iter().take_while(move |(at, _)| *at <= now).map(|(_, host)| host)
}

fn count(hosts: usize) -> u32 {
    u32::try_from(hosts).unwrap_or(u32::MAX)
}
