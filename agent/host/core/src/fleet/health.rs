//! The health of installations while nothing works on them: transitions, and how many hosts are down.
//!
//! A host that was healthy and degrades makes its installation degraded; when no host is degraded any more it is
//! healthy again. A host that failed in an attempt and was not repaired is down, but what that means for the
//! installation is its stage's outcome. A host that is silent says nothing, so it changes nothing: silence is
//! never a verdict.
//!
//! Deliberately not here: what a degraded installation means (the coordinators), and how a host knows that it is
//! degraded (the host).

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::action::Failure;
use trimaran_model::assignment::{HostReport, HostState};
use trimaran_model::id::{Fence, HostName, InstallationId};
use trimaran_model::verdict::Verdict;

use super::host_state::failure;

/// A change that the coordinators have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub installation: InstallationId,
    /// The largest fence of the installation: the verdict belongs to what its assignment left.
    pub fence: Fence,
    pub verdict: Verdict,
    /// The first cause, when a host is down.
    pub failure: Option<Failure>,
    /// Hosts that are not healthy.
    pub down: u32,
}

/// What hosts say, by installation.
#[derive(Debug, Clone, Default)]
pub struct Health {
    installations: BTreeMap<InstallationId, Installation>,
    /// Those that have more or fewer hosts down than was announced.
    changed: BTreeSet<InstallationId>,
}

#[derive(Debug, Clone, Default)]
struct Installation {
    /// The largest fence that is known of it.
    fence: Fence,
    has_assignment: bool,
    /// A host said something of it: there is evidence for a verdict.
    has_evidence: bool,
    down: BTreeMap<HostName, Down>,
    /// What was announced last: degraded or not, and hosts that are down.
    announced: (bool, u32),
    /// Anything was announced since the last assignment.
    has_announced: bool,
}

#[derive(Debug, Clone)]
struct Down {
    /// It was healthy before; otherwise its attempt failed and nothing healthy runs.
    degraded: bool,
    failure: Failure,
}

impl Health {
    /// An assignment works on the installation: its outcome is reported, not its health.
    pub fn begin_assignment(&mut self, installation: &InstallationId) {
        let it = self.installations.entry(installation.clone()).or_default();
        (it.has_assignment, it.announced, it.has_announced) = (true, (false, 0), false);
        self.changed.remove(installation);
    }

    /// Nothing works on the installation any more: how it was left is announced, when a host reported it.
    pub fn end_assignment(&mut self, installation: &InstallationId, fence: Fence) -> Option<Transition> {
        let it = self.installations.entry(installation.clone()).or_default();
        it.has_assignment = false;
        it.fence = it.fence.max(fence);
        self.changed.remove(installation);
        it.has_evidence.then(|| it.announce(installation))
    }

    /// A host's report of one installation. How many hosts are down is announced by [`Health::take_count_changes`] where that is
    /// all that changes.
    pub fn on_report(&mut self, host: &HostName, report: &HostReport) -> Option<Transition> {
        let it = self.installations.entry(report.installation.clone()).or_default();
        // An agent that lost its directory learns the last assignment from its hosts, one by one. What it said
        // of an earlier one was passed over.
        let was_ignored = it.has_announced && !it.has_assignment && report.fence > it.fence;
        it.fence = it.fence.max(report.fence);
        it.has_evidence |= report.state != HostState::Empty;
        let degraded = report.state == HostState::Degraded;
        if degraded || report.state == HostState::Broken {
            let down = it.down.entry(host.clone());
            let down = down.or_insert_with(|| Down { degraded, failure: failure(host, report) });
            down.degraded = degraded;
        } else {
            it.down.remove(host);
        }
        let announced = match was_ignored {
            true => Some(it.announce(&report.installation)),
            false => it.transition(&report.installation),
        };
        note(&mut self.changed, &report.installation, it);
        announced
    }

    /// Installations that have more or fewer hosts down than was announced.
    pub fn take_count_changes(&mut self) -> Vec<Transition> {
        let changed = std::mem::take(&mut self.changed);
        let announce = |id: &InstallationId| Some(self.installations.get_mut(id)?.announce(id));
        changed.iter().filter_map(announce).collect()
    }

    /// Whether [`Health::take_count_changes`] has something to announce.
    pub fn has_count_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Everything that hosts reported, for coordinators that know only what an earlier incarnation of this agent announced.
    pub fn all_verdicts(&mut self) -> Vec<Transition> {
        self.changed.clear();
        let known = self.installations.iter_mut().filter(|(_, it)| !it.has_assignment && it.has_evidence);
        known.map(|(id, it)| it.announce(id)).collect()
    }

    /// What has to be announced again to a coordinator that may have missed it.
    pub fn announced_verdicts(&self) -> Vec<Transition> {
        let has_announced =
            self.installations.iter().filter(|(_, it)| !it.has_assignment && it.has_announced);
        has_announced.map(|(id, it)| it.verdict(id)).collect()
    }

    /// Hosts that left the fleet say nothing any more.
    pub fn retain_hosts(&mut self, hosts: &BTreeSet<HostName>) -> Vec<Transition> {
        let mut changes = Vec::new();
        for (id, it) in &mut self.installations {
            it.down.retain(|host, _| hosts.contains(host));
            changes.extend(it.transition(id));
            note(&mut self.changed, id, it);
        }
        changes
    }
}

/// Notes whether an installation has a count to announce.
fn note(changed: &mut BTreeSet<InstallationId>, id: &InstallationId, it: &Installation) {
    if !it.has_assignment && it.now() != it.announced {
        changed.insert(id.clone());
    } else {
        changed.remove(id);
    }
}

impl Installation {
    fn now(&self) -> (bool, u32) {
        let degraded = self.down.values().any(|down| down.degraded);
        (degraded, u32::try_from(self.down.len()).unwrap_or(u32::MAX))
    }

    fn transition(&mut self, id: &InstallationId) -> Option<Transition> {
        (!self.has_assignment && self.now().0 != self.announced.0).then(|| self.announce(id))
    }

    fn announce(&mut self, id: &InstallationId) -> Transition {
        (self.announced, self.has_announced) = (self.now(), true);
        self.verdict(id)
    }

    fn verdict(&self, id: &InstallationId) -> Transition {
        let (degraded, down) = self.now();
        let first = self.down.values().find(|down| down.degraded).or(self.down.values().next());
        Transition {
            installation: id.clone(),
            fence: self.fence,
            verdict: if degraded { Verdict::Degraded } else { Verdict::Healthy },
            failure: first.map(|down| down.failure.clone()),
            down,
        }
    }
}

#[cfg(test)]
mod tests {
    use trimaran_model::id::AssignmentId;

    use super::*;

    fn report(state: HostState) -> HostReport {
        HostReport {
            installation: id(),
            fence: Fence(7),
            assignment: AssignmentId(7),
            disruptive: false,
            state,
            current: None,
            prepared: None,
            code: None,
            message: "503".to_owned(),
        }
    }

    fn id() -> InstallationId {
        InstallationId { pipeline: "web".parse().expect("a name"), target: "lab".parse().expect("a name") }
    }

    fn host(number: u8) -> HostName {
        format!("host-{number}").parse().expect("a name")
    }

    fn announcement(transition: &Transition) -> (Verdict, u32) {
        (transition.verdict, transition.down)
    }

    #[test]
    fn every_host_that_degrades_counts_and_the_first_is_reported_at_once() {
        let mut health = Health::default();
        let first = health.on_report(&host(1), &report(HostState::Degraded)).expect("announced at once");
        assert_eq!(announcement(&first), (Verdict::Degraded, 1));
        assert_eq!(health.on_report(&host(2), &report(HostState::Degraded)), None);
        assert_eq!(health.on_report(&host(3), &report(HostState::Degraded)), None);
        assert!(health.has_count_changes());
        assert_eq!(
            health.take_count_changes().iter().map(announcement).collect::<Vec<_>>(),
            [(Verdict::Degraded, 3)]
        );
        assert!(!health.has_count_changes() && health.take_count_changes().is_empty());
        assert_eq!(health.on_report(&host(1), &report(HostState::Healthy)), None);
        assert_eq!(health.on_report(&host(3), &report(HostState::Healthy)), None);
        let last = health.on_report(&host(2), &report(HostState::Healthy)).expect("announced at once");
        assert_eq!(announcement(&last), (Verdict::Healthy, 0));
        assert!(!health.has_count_changes());
    }

    #[test]
    fn what_was_said_before_the_last_assignment_was_known_is_said_again() {
        let mut health = Health::default();
        let of = |fence, state| HostReport { fence: Fence(fence), ..report(state) };
        let early = health.on_report(&host(1), &of(7, HostState::Degraded)).expect("announced at once");
        assert_eq!((announcement(&early), early.fence), ((Verdict::Degraded, 1), Fence(7)));
        let again = health.on_report(&host(2), &of(8, HostState::Healthy)).expect("announced again");
        assert_eq!((announcement(&again), again.fence), ((Verdict::Degraded, 1), Fence(8)));
        assert_eq!(health.on_report(&host(3), &of(7, HostState::Healthy)), None);
        assert_eq!(health.on_report(&host(4), &of(8, HostState::Healthy)), None);
        health.begin_assignment(&id());
        assert_eq!(health.on_report(&host(3), &of(9, HostState::Healthy)), None, "its outcome is reported");
        assert_eq!(health.end_assignment(&id(), Fence(9)).expect("announced").fence, Fence(9));
    }

    #[test]
    fn a_host_that_failed_its_attempt_is_down_and_degrades_nothing() {
        let mut health = Health::default();
        health.begin_assignment(&id());
        assert_eq!(health.on_report(&host(1), &report(HostState::Broken)), None);
        assert_eq!(health.on_report(&host(2), &report(HostState::Healthy)), None);
        let left = health.end_assignment(&id(), Fence(9)).expect("hosts said how they are");
        assert_eq!((announcement(&left), left.fence), ((Verdict::Healthy, 1), Fence(9)));
        assert_eq!(left.failure.expect("the host's words").instance, Some(host(1)));
    }

    #[test]
    fn work_that_ends_says_how_it_left_its_hosts_and_silence_says_nothing() {
        let mut health = Health::default();
        assert_eq!(health.end_assignment(&id(), Fence(7)), None);
        assert!(health.all_verdicts().is_empty());
        health.on_report(&host(1), &report(HostState::Healthy));
        assert_eq!(
            health.all_verdicts().iter().map(announcement).collect::<Vec<_>>(),
            [(Verdict::Healthy, 0)]
        );
        health.begin_assignment(&id());
        assert!(health.all_verdicts().is_empty() && health.announced_verdicts().is_empty());
        assert_eq!(
            health.end_assignment(&id(), Fence(8)).as_ref().map(announcement),
            Some((Verdict::Healthy, 0))
        );
        assert_eq!(health.announced_verdicts().len(), 1);
    }
}
