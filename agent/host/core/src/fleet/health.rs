//! The health of installations while nothing works on them: which hosts are what, and what the coordinators have to know
//! of it.
//!
//! Each host is kept by its condition ([`super::condition`]), so a report costs one host and not the fleet. A verdict is
//! degraded when the release was healthy on a host and is not any more; whether that is more than the deploy's budget the
//! coordinators decide by the counts. A host that is silent says nothing against its release: it is counted as lost.
//!
//! Deliberately not here: what a degraded installation means (the coordinators), how a host knows that it is degraded (the
//! host), and what hosts that lack the release are asked (`convergence`).

use std::collections::{BTreeMap, BTreeSet, btree_map};

use trimaran_agent_core::platform::Standing;
use trimaran_model::action::Failure;
use trimaran_model::assignment::{HostReport, HostStanding};
use trimaran_model::id::{Fence, HostName, InstallationId, TargetName};
use trimaran_model::limits::{HOST_FINDINGS_MAX, INSTALLATION_INSTANCES_MAX, INSTANCE_MESSAGE_BYTES_MAX};
use trimaran_model::reason::ReasonCode;
use trimaran_model::target::{Target, TargetPlatform, selects};
use trimaran_model::text::cut;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_model::verdict::Verdict;

use super::condition::{Condition, Measure, Membership, Presence, condition};
use super::host_state::failure;

/// A change that the coordinators have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub installation: InstallationId,
    /// The largest fence of the installation: the verdict belongs to what its assignment left.
    pub fence: Fence,
    pub verdict: Verdict,
    /// The first cause, when the release is not healthy on a host.
    pub failure: Option<Failure>,
    /// Instances that do not serve.
    pub down: u32,
    /// What the hosts are, of an installation on hosts.
    pub hosts: Option<Counts>,
}

/// The hosts of an installation by what they are; see `trimaran_wire::v1::agent::HostCounts`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    pub settled: bool,
    pub members: u32,
    pub updated: u32,
    pub degraded: u32,
    pub mending: u32,
    pub broken: u32,
    pub lost: u32,
    pub diverged: u32,
    pub crashes: u32,
    pub crash: Option<Failure>,
    pub findings: Vec<Finding>,
}

/// A host that is not as its target wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub host: HostName,
    pub code: ReasonCode,
    pub message: String,
    pub since: Timestamp,
}

/// What a runner of this agent is, as the coordinators know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enrolled {
    pub labels: BTreeMap<String, String>,
    /// A user took it out of its targets.
    pub cordoned: bool,
    /// Its services are to be ended, too.
    pub drained: bool,
}

/// What hosts say, by installation.
#[derive(Debug, Clone, Default)]
pub struct Health {
    pub(crate) installations: BTreeMap<InstallationId, Installation>,
    pub(crate) targets: BTreeMap<TargetName, Place>,
    pub(crate) hosts: BTreeMap<HostName, Seen>,
    /// Those of `hosts` that are away, by since when.
    away: BTreeMap<Timestamp, BTreeSet<HostName>>,
    pub(crate) enrolled: BTreeMap<HostName, Enrolled>,
    /// Those with counts that were not announced.
    changed: BTreeSet<InstallationId>,
    /// Hosts that were not seen so far are away: they had the time to come.
    settled: bool,
    /// Those in which a host may have to be asked for something.
    pub(super) unsettled: BTreeSet<InstallationId>,
    pub(super) retry_at: Option<Timestamp>,
    /// When hosts that are away were last looked at.
    looked_at: Timestamp,
}

/// A target of hosts.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) members: BTreeSet<HostName>,
}

/// A host that was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) connected: bool,
    pub(crate) since: Timestamp,
    /// What it spoke of.
    installations: BTreeSet<InstallationId>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Installation {
    /// The largest fence that the coordinators gave.
    pub(super) fence: Fence,
    pub(crate) has_assignment: bool,
    pub(crate) standing: Option<Standing>,
    pub(crate) hosts: BTreeMap<HostName, Known>,
    /// Hosts by what they are.
    pub(crate) by_condition: BTreeMap<Condition, BTreeSet<HostName>>,
    /// Hosts that were asked to join since the release is there.
    pub(crate) joined: BTreeSet<HostName>,
    /// Hosts with an order outside of runs, and since when.
    pub(crate) asked: BTreeMap<HostName, Timestamp>,
    crashes: u32,
    crash: Option<Failure>,
    announced: Option<Announced>,
}

/// What of a host is known here.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) report: Option<HostReport>,
    pub(crate) condition: Condition,
    pub(crate) since: Timestamp,
}

/// What was announced last: degraded or not, how many hosts are what, and crashes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Announced {
    degraded: bool,
    counts: Vec<(Condition, usize)>,
    crashes: u32,
    settled: bool,
}

impl Health {
    /// Targets and runners of this agent as they are now.
    pub fn on_fleet(
        &mut self,
        now: Timestamp,
        targets: &[Target],
        enrolled: &BTreeMap<HostName, Enrolled>,
    ) -> Vec<Transition> {
        let members = |target: &Target| -> BTreeSet<HostName> {
            let TargetPlatform::Hosts { select, .. } = &target.platform else { return BTreeSet::new() };
            let fits = |it: &Enrolled| !it.cordoned && !it.drained && selects(select, &it.labels);
            enrolled.iter().filter(|(_, it)| fits(it)).map(|(name, _)| name.clone()).collect()
        };
        let place = |target: &Target| {
            (target.name.clone(), Place { target: target.clone(), members: members(target) })
        };
        self.targets = targets.iter().map(place).collect();
        self.enrolled = enrolled.clone();
        self.hosts.retain(|host, _| enrolled.contains_key(host));
        self.away.retain(|_, hosts| {
            hosts.retain(|host| enrolled.contains_key(host));
            !hosts.is_empty()
        });
        self.await_hosts(now);
        for it in self.installations.values_mut() {
            it.forget_hosts(|host| enrolled.contains_key(host));
        }
        self.all_again(now)
    }

    /// Hosts that were not seen so far count as away from now on.
    pub fn settle(&mut self, now: Timestamp) -> Vec<Transition> {
        self.settled = true;
        self.await_hosts(now);
        self.all_again(now)
    }

    /// Whoever is enrolled and was never seen is away from now on.
    fn await_hosts(&mut self, now: Timestamp) {
        if self.settled {
            for host in self.enrolled.keys() {
                let never = Seen { connected: false, since: now, installations: BTreeSet::new() };
                if let btree_map::Entry::Vacant(unseen) = self.hosts.entry(host.clone()) {
                    unseen.insert(never);
                    self.away.entry(now).or_default().insert(host.clone());
                }
            }
        }
    }

    fn all_again(&mut self, now: Timestamp) -> Vec<Transition> {
        let ids: Vec<InstallationId> = self.installations.keys().cloned().collect();
        ids.iter().filter_map(|id| self.again(now, id)).collect()
    }

    /// Looks at every host of an installation again.
    fn again(&mut self, now: Timestamp, id: &InstallationId) -> Option<Transition> {
        let members = self.targets.get(&id.target).map(|place| place.members.clone()).unwrap_or_default();
        let known = self.installations.get(id)?.hosts.keys().cloned();
        let all: BTreeSet<HostName> = known.chain(members).collect();
        for host in &all {
            self.place(now, id, host);
        }
        self.transition(id)
    }

    /// Puts a host where it belongs now.
    fn place(&mut self, now: Timestamp, id: &InstallationId, host: &HostName) {
        let place = self.targets.get(&id.target);
        let member = place.is_some_and(|place| place.members.contains(host));
        let membership = if member { Membership::Member } else { Membership::Outside };
        let lost_after = place.and_then(|place| lost_after(&place.target)).unwrap_or(Millis(u64::MAX / 2));
        let presence = match self.hosts.get(host) {
            Some(seen) if seen.connected => Presence::Connected,
            Some(seen) if now >= seen.since + lost_after => Presence::Gone,
            Some(_) => Presence::Away,
            None => Presence::NotYet,
        };
        let Some(it) = self.installations.get_mut(id) else { return };
        it.place(now, host, membership, presence);
        self.unsettled.insert(id.clone());
    }

    /// An assignment works on the installation: its outcome is reported, not its health.
    pub fn begin_assignment(&mut self, installation: &InstallationId) {
        let it = self.installations.entry(installation.clone()).or_default();
        (it.has_assignment, it.announced) = (true, None);
        it.joined.clear();
        it.asked.clear();
        (it.crashes, it.crash) = (0, None);
        self.changed.remove(installation);
    }

    /// Nothing works on the installation any more. How it was left is announced as soon as the
    /// coordinators have said what it is.
    pub fn end_assignment(
        &mut self,
        now: Timestamp,
        installation: &InstallationId,
        fence: Fence,
    ) -> Option<Transition> {
        let it = self.installations.entry(installation.clone()).or_default();
        it.has_assignment = false;
        it.fence = it.fence.max(fence);
        self.again(now, installation)
    }

    /// What stands is not known any more: no host is asked for anything outside of runs before it is said again.
    pub fn forget_standing(&mut self) {
        for it in self.installations.values_mut() {
            (it.standing, it.announced) = (None, None);
            it.joined.clear();
            it.asked.clear();
        }
        self.changed.clear();
    }

    /// What the coordinators say that stands on hosts.
    pub fn on_standing(&mut self, now: Timestamp, standing: Standing) -> Option<Transition> {
        let id = standing.installation.clone();
        let it = self.installations.entry(id.clone()).or_default();
        if standing.fence < it.fence {
            return None;
        }
        let goal = |it: &Standing| Some(it.hosts.as_ref()?.goal.as_ref()?.digest);
        if it.standing.as_ref().is_none_or(|old| goal(old) != goal(&standing)) {
            it.joined.clear();
        }
        it.fence = standing.fence;
        it.standing = Some(standing);
        // The verdict belongs to this fence: it is announced again.
        it.announced = None;
        self.again(now, &id)
    }

    /// A host is there, and says all that it has.
    pub fn on_hello(&mut self, now: Timestamp, host: &HostName, reports: &[HostReport]) -> Vec<Transition> {
        let said: BTreeSet<InstallationId> =
            reports.iter().map(|report| report.installation.clone()).collect();
        let new = Seen { connected: true, since: now, installations: said.clone() };
        let before = self.hosts.insert(host.clone(), new);
        if let Some(before) = &before {
            self.forget_away(before.since, host);
        }
        let before = before.map(|seen| seen.installations).unwrap_or_default();
        for gone in before.difference(&said) {
            self.unsay(host, gone);
        }
        for report in reports {
            self.take(now, host, report);
        }
        self.inspect(now, host)
    }

    /// A host has nothing of an installation any more. What no coordinator spoke of and no host has is forgotten.
    fn unsay(&mut self, host: &HostName, id: &InstallationId) {
        let Some(it) = self.installations.get_mut(id) else { return };
        if let Some(known) = it.hosts.get_mut(host) {
            known.report = None;
        }
        let invented = it.standing.is_none() && !it.has_assignment && it.fence == Fence::default();
        if invented && it.hosts.values().all(|known| known.report.is_none()) {
            self.installations.remove(id);
            self.changed.remove(id);
            self.unsettled.remove(id);
        }
    }

    /// A host's report of one installation. Counts that changed alone are announced by [`Health::take_count_changes`].
    pub fn on_report(&mut self, now: Timestamp, host: &HostName, report: &HostReport) -> Option<Transition> {
        let seen = self.hosts.get_mut(host)?;
        seen.installations.insert(report.installation.clone());
        self.take(now, host, report);
        self.place(now, &report.installation, host);
        self.transition(&report.installation)
    }

    fn take(&mut self, now: Timestamp, host: &HostName, report: &HostReport) {
        let it = self.installations.entry(report.installation.clone()).or_default();
        let nothing = Known { report: None, condition: Condition::Nothing, since: now };
        it.hosts.entry(host.clone()).or_insert(nothing).report = Some(report.clone());
    }

    /// A host's runner is not connected any more.
    pub fn on_away(&mut self, now: Timestamp, host: &HostName) -> Vec<Transition> {
        let Some(seen) = self.hosts.get_mut(host) else { return Vec::new() };
        let before = std::mem::replace(&mut seen.since, now);
        seen.connected = false;
        self.forget_away(before, host);
        self.away.entry(now).or_default().insert(host.clone());
        self.inspect(now, host)
    }

    fn forget_away(&mut self, since: Timestamp, host: &HostName) {
        if let btree_map::Entry::Occupied(mut hosts) = self.away.entry(since) {
            hosts.get_mut().remove(host);
            if hosts.get().is_empty() {
                hosts.remove();
            }
        }
    }

    /// Looks at one host again, in everything that it is a part of.
    fn inspect(&mut self, now: Timestamp, host: &HostName) -> Vec<Transition> {
        let ids = self.installations.iter().filter(|(id, it)| {
            let place = self.targets.get(&id.target);
            it.hosts.contains_key(host) || place.is_some_and(|place| place.members.contains(host))
        });
        let ids: Vec<InstallationId> = ids.map(|(id, _)| id.clone()).collect();
        let mut changes = Vec::new();
        for id in ids {
            self.place(now, &id, host);
            changes.extend(self.transition(&id));
        }
        changes
    }

    /// What is to be said at once: a verdict that changed, or the first one.
    fn transition(&mut self, id: &InstallationId) -> Option<Transition> {
        let settled = self.settled;
        let it = self.installations.get_mut(id)?;
        let now = it.now(settled);
        if !it.speaks(settled) || it.announced.as_ref() == Some(&now) {
            self.changed.remove(id);
            return None;
        }
        if it.announced.as_ref().is_none_or(|before| before.degraded != now.degraded) {
            self.changed.remove(id);
            return Some(it.announce(id, settled));
        }
        self.changed.insert(id.clone());
        None
    }

    /// Installations whose counts are others than was announced.
    pub fn take_count_changes(&mut self) -> Vec<Transition> {
        let (changed, settled) = (std::mem::take(&mut self.changed), self.settled);
        let announce = |id: &InstallationId| Some(self.installations.get_mut(id)?.announce(id, settled));
        changed.iter().filter_map(announce).collect()
    }

    /// Whether [`Health::take_count_changes`] has something to announce.
    pub fn has_count_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What has to be announced again to a coordinator that may have missed it.
    pub fn announced_verdicts(&self) -> Vec<Transition> {
        let again = self.installations.iter().filter(|(_, it)| it.announced.is_some() && !it.has_assignment);
        again.map(|(id, it)| it.verdict(id, self.settled)).collect()
    }

    /// When a host that is away is out of its target, the next one.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let places = self.targets.values();
        let ends = places.filter_map(|place| {
            let after = lost_after(&place.target)?;
            let first = Timestamp(self.looked_at.0.saturating_sub(after.0));
            let away = self.away.range(first..);
            let away = away.filter(|(_, hosts)| hosts.iter().any(|host| place.members.contains(host)));
            away.map(|(since, _)| *since + after).find(|at| *at > self.looked_at)
        });
        ends.chain(self.retry_at).min()
    }

    /// Looks for hosts that have been away for too long.
    pub fn due(&mut self, now: Timestamp) -> Vec<Transition> {
        if self.next_deadline().is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.looked_at = now;
        self.reconsider(now);
        self.all_again(now)
    }
}

/// How long a host that is away counts as one of its target.
fn lost_after(target: &Target) -> Option<Millis> {
    match &target.platform {
        TargetPlatform::Hosts { settings, .. } => Some(settings.lost_after),
        TargetPlatform::Kubernetes { .. } | TargetPlatform::Flink { .. } => None,
    }
}

impl Installation {
    /// Whether there is something to say: what it is is known, and nothing works on it. Before all hosts had the time to
    /// speak, bad news alone are said.
    pub(super) fn speaks(&self, settled: bool) -> bool {
        let known = self.standing.as_ref().is_some_and(|it| it.fence == self.fence && it.hosts.is_some());
        known && !self.has_assignment && (settled || self.is_degraded())
    }

    fn hosts_standing(&self) -> Option<&HostStanding> {
        self.standing.as_ref()?.hosts.as_ref()
    }

    fn place(&mut self, now: Timestamp, host: &HostName, membership: Membership, presence: Presence) {
        let measure = Measure {
            fence: self.fence,
            releases: self.hosts_standing().and_then(|it| it.releases.as_ref()),
            joined: self.joined.contains(host),
        };
        let before = self.hosts.get(host);
        let old = before.map(|known| known.condition);
        let report = before.and_then(|known| known.report.as_ref());
        let new = condition(membership, presence, report, measure);
        if old == Some(new) {
            // What was never counted is now.
            self.by_condition.entry(new).or_default().insert(host.clone());
            return;
        }
        let crash = report.filter(|_| new == Condition::Mending).map(|report| failure(host, report));
        if let Some(old) = old.and_then(|old| self.by_condition.get_mut(&old)) {
            old.remove(host);
        }
        self.by_condition.entry(new).or_default().insert(host.clone());
        let known = self.hosts.entry(host.clone());
        let known = known.or_insert(Known { report: None, condition: new, since: now });
        (known.condition, known.since) = (new, now);
        if let Some(crash) = crash {
            self.crashes = (self.crashes + 1).min(INSTALLATION_INSTANCES_MAX);
            self.crash = Some(crash);
        }
    }

    fn forget_hosts(&mut self, keeps: impl Fn(&HostName) -> bool) {
        self.hosts.retain(|host, _| keeps(host));
        for hosts in self.by_condition.values_mut() {
            hosts.retain(|host| keeps(host));
        }
    }

    pub(crate) fn of(&self, condition: Condition) -> impl Iterator<Item = &HostName> {
        self.by_condition.get(&condition).into_iter().flatten()
    }

    fn count(&self, conditions: &[Condition]) -> u32 {
        let count: usize =
            conditions.iter().filter_map(|it| self.by_condition.get(it)).map(BTreeSet::len).sum();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn is_degraded(&self) -> bool {
        self.count(&[Condition::Degraded, Condition::Mending]) > 0
    }

    fn now(&self, settled: bool) -> Announced {
        let counts = self.by_condition.iter().map(|(condition, hosts)| (*condition, hosts.len()));
        let counts = counts.filter(|(condition, count)| *count > 0 && *condition != Condition::Nothing);
        Announced { degraded: self.is_degraded(), counts: counts.collect(), crashes: self.crashes, settled }
    }

    fn announce(&mut self, id: &InstallationId, settled: bool) -> Transition {
        self.announced = Some(self.now(settled));
        self.verdict(id, settled)
    }

    fn verdict(&self, id: &InstallationId, settled: bool) -> Transition {
        let counts = self.counts(settled);
        let serving = self.count(&[Condition::Serving, Condition::Diverged]);
        let bad = [Condition::Degraded, Condition::Mending, Condition::Broken, Condition::Faulty];
        let first = bad.into_iter().flat_map(|condition| self.of(condition)).next();
        let first = first.and_then(|host| Some(failure(host, self.hosts.get(host)?.report.as_ref()?)));
        Transition {
            installation: id.clone(),
            fence: self.fence,
            verdict: if self.is_degraded() { Verdict::Degraded } else { Verdict::Healthy },
            failure: first,
            down: counts.members.saturating_sub(serving),
            hosts: Some(counts),
        }
    }

    fn counts(&self, settled: bool) -> Counts {
        let all = self.by_condition.iter();
        let outside = [Condition::Nothing, Condition::Orphan, Condition::Gone];
        let members: usize =
            all.filter(|(condition, _)| !outside.contains(condition)).map(|(_, hosts)| hosts.len()).sum();
        Counts {
            settled,
            members: u32::try_from(members).unwrap_or(u32::MAX),
            updated: self.count(&[Condition::Serving]),
            degraded: self.count(&[Condition::Degraded]),
            mending: self.count(&[Condition::Mending]),
            broken: self.count(&[Condition::Broken, Condition::Faulty]),
            lost: self.count(&[Condition::Away]),
            diverged: self.count(&[Condition::Diverged, Condition::DivergedDown]),
            crashes: self.crashes,
            crash: self.crash.clone(),
            findings: self.findings(),
        }
    }

    /// Hosts that people should know of, those that are away first.
    fn findings(&self) -> Vec<Finding> {
        let shown = [
            (Condition::Away, ReasonCode::HostNotConnected),
            (Condition::JoinFailed, ReasonCode::JoinFailed),
            (Condition::Orphan, ReasonCode::Orphan),
            (Condition::Diverged, ReasonCode::Diverged),
            (Condition::DivergedDown, ReasonCode::Diverged),
            (Condition::Gone, ReasonCode::HostNotConnected),
        ];
        let hosts =
            shown.into_iter().flat_map(|(condition, code)| self.of(condition).map(move |it| (it, code)));
        let one = |(host, code): (&HostName, ReasonCode)| {
            let known = self.hosts.get(host)?;
            Some(Finding { host: host.clone(), code, message: words(code, known), since: known.since })
        };
        hosts.filter_map(one).take(HOST_FINDINGS_MAX).collect()
    }
}

/// What a finding says of its host.
fn words(code: ReasonCode, known: &Known) -> String {
    let report = known.report.as_ref();
    let runs = report.and_then(|report| report.current).map_or("nothing".to_owned(), |it| it.short());
    let state = report.map_or("silent", |report| report.state.as_str());
    let message = report.map(|report| report.message.as_str()).unwrap_or_default();
    match code {
        ReasonCode::HostNotConnected => "the host's runner is not connected to its agent".to_owned(),
        ReasonCode::Orphan => format!("it does not belong to the target and runs {runs}, {state}"),
        ReasonCode::Diverged => format!("it has {runs}, {state}"),
        _ => cut(message.to_owned(), INSTANCE_MESSAGE_BYTES_MAX),
    }
}

#[cfg(test)]
mod tests;
