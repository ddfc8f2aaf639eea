//! The health of installations while nothing works on them: transitions, and how many hosts are down.
//!
//! A host that was healthy and degrades makes its installation degraded; when no host is degraded any more it is
//! healthy again. A host that failed in an attempt and was not mended is down, but what that means for the
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

use super::standing::failure;

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
    /// Those that have more or fewer hosts down than was told.
    changed: BTreeSet<InstallationId>,
}

#[derive(Debug, Clone, Default)]
struct Installation {
    /// The largest fence that is known of it.
    fence: Fence,
    busy: bool,
    /// A host said something of it: there is evidence for a verdict.
    heard: bool,
    down: BTreeMap<HostName, Down>,
    /// What was told last: degraded or not, and hosts that are down.
    told: (bool, u32),
    /// Anything was told since the last assignment.
    spoke: bool,
}

#[derive(Debug, Clone)]
struct Down {
    /// It was healthy before; otherwise its attempt failed and nothing healthy runs.
    degraded: bool,
    failure: Failure,
}

impl Health {
    /// An assignment works on the installation: its outcome is told, not its health.
    pub fn busy(&mut self, installation: &InstallationId) {
        let it = self.installations.entry(installation.clone()).or_default();
        (it.busy, it.told, it.spoke) = (true, (false, 0), false);
        self.changed.remove(installation);
    }

    /// Nothing works on the installation any more: how it was left is told, when a host said so.
    pub fn quiet(&mut self, installation: &InstallationId, fence: Fence) -> Option<Transition> {
        let it = self.installations.entry(installation.clone()).or_default();
        it.busy = false;
        it.fence = it.fence.max(fence);
        self.changed.remove(installation);
        it.heard.then(|| it.tell(installation))
    }

    /// What a host says of one installation. How many hosts are down is told by [`Health::counts`] where that is
    /// all that changes.
    pub fn hear(&mut self, host: &HostName, report: &HostReport) -> Option<Transition> {
        let it = self.installations.entry(report.installation.clone()).or_default();
        // An agent that lost its directory learns the last assignment from its hosts, one by one. What it said
        // of an earlier one was passed over.
        let passed_over = it.spoke && !it.busy && report.fence > it.fence;
        it.fence = it.fence.max(report.fence);
        it.heard |= report.state != HostState::Empty;
        let degraded = report.state == HostState::Degraded;
        if degraded || report.state == HostState::Broken {
            let down = it.down.entry(host.clone());
            let down = down.or_insert_with(|| Down { degraded, failure: failure(host, report) });
            down.degraded = degraded;
        } else {
            it.down.remove(host);
        }
        let told = match passed_over {
            true => Some(it.tell(&report.installation)),
            false => it.transition(&report.installation),
        };
        note(&mut self.changed, &report.installation, it);
        told
    }

    /// Installations that have more or fewer hosts down than was told.
    pub fn counts(&mut self) -> Vec<Transition> {
        let changed = std::mem::take(&mut self.changed);
        let tell = |id: &InstallationId| Some(self.installations.get_mut(id)?.tell(id));
        changed.iter().filter_map(tell).collect()
    }

    /// Whether [`Health::counts`] has something to tell.
    pub fn counts_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Everything that hosts said, for coordinators that know only what an earlier life of this agent told.
    pub fn all(&mut self) -> Vec<Transition> {
        self.changed.clear();
        let known = self.installations.iter_mut().filter(|(_, it)| !it.busy && it.heard);
        known.map(|(id, it)| it.tell(id)).collect()
    }

    /// What has to be told again to a coordinator that may have missed it.
    pub fn repeat(&self) -> Vec<Transition> {
        let spoke = self.installations.iter().filter(|(_, it)| !it.busy && it.spoke);
        spoke.map(|(id, it)| it.verdict(id)).collect()
    }

    /// Hosts that left the fleet say nothing any more.
    pub fn keep(&mut self, hosts: &BTreeSet<HostName>) -> Vec<Transition> {
        let mut changes = Vec::new();
        for (id, it) in &mut self.installations {
            it.down.retain(|host, _| hosts.contains(host));
            changes.extend(it.transition(id));
            note(&mut self.changed, id, it);
        }
        changes
    }
}

/// Notes whether an installation has a count to tell.
fn note(changed: &mut BTreeSet<InstallationId>, id: &InstallationId, it: &Installation) {
    if !it.busy && it.now() != it.told {
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
        (!self.busy && self.now().0 != self.told.0).then(|| self.tell(id))
    }

    fn tell(&mut self, id: &InstallationId) -> Transition {
        (self.told, self.spoke) = (self.now(), true);
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

    fn said(transition: &Transition) -> (Verdict, u32) {
        (transition.verdict, transition.down)
    }

    #[test]
    fn every_host_that_degrades_counts_and_the_first_is_told_at_once() {
        let mut health = Health::default();
        let first = health.hear(&host(1), &report(HostState::Degraded)).expect("told at once");
        assert_eq!(said(&first), (Verdict::Degraded, 1));
        assert_eq!(health.hear(&host(2), &report(HostState::Degraded)), None);
        assert_eq!(health.hear(&host(3), &report(HostState::Degraded)), None);
        assert!(health.counts_changed());
        assert_eq!(health.counts().iter().map(said).collect::<Vec<_>>(), [(Verdict::Degraded, 3)]);
        assert!(!health.counts_changed() && health.counts().is_empty());
        assert_eq!(health.hear(&host(1), &report(HostState::Healthy)), None);
        assert_eq!(health.hear(&host(3), &report(HostState::Healthy)), None);
        let last = health.hear(&host(2), &report(HostState::Healthy)).expect("told at once");
        assert_eq!(said(&last), (Verdict::Healthy, 0));
        assert!(!health.counts_changed());
    }

    #[test]
    fn what_was_said_before_the_last_assignment_was_known_is_said_again() {
        let mut health = Health::default();
        let of = |fence, state| HostReport { fence: Fence(fence), ..report(state) };
        let early = health.hear(&host(1), &of(7, HostState::Degraded)).expect("told at once");
        assert_eq!((said(&early), early.fence), ((Verdict::Degraded, 1), Fence(7)));
        let again = health.hear(&host(2), &of(8, HostState::Healthy)).expect("told again");
        assert_eq!((said(&again), again.fence), ((Verdict::Degraded, 1), Fence(8)));
        assert_eq!(health.hear(&host(3), &of(7, HostState::Healthy)), None);
        assert_eq!(health.hear(&host(4), &of(8, HostState::Healthy)), None);
        health.busy(&id());
        assert_eq!(health.hear(&host(3), &of(9, HostState::Healthy)), None, "its outcome is told");
        assert_eq!(health.quiet(&id(), Fence(9)).expect("told").fence, Fence(9));
    }

    #[test]
    fn a_host_that_failed_its_attempt_is_down_and_degrades_nothing() {
        let mut health = Health::default();
        health.busy(&id());
        assert_eq!(health.hear(&host(1), &report(HostState::Broken)), None);
        assert_eq!(health.hear(&host(2), &report(HostState::Healthy)), None);
        let left = health.quiet(&id(), Fence(9)).expect("hosts said how they are");
        assert_eq!((said(&left), left.fence), ((Verdict::Healthy, 1), Fence(9)));
        assert_eq!(left.failure.expect("the host's words").instance, Some(host(1)));
    }

    #[test]
    fn work_that_ends_says_how_it_left_its_hosts_and_silence_says_nothing() {
        let mut health = Health::default();
        assert_eq!(health.quiet(&id(), Fence(7)), None);
        assert!(health.all().is_empty());
        health.hear(&host(1), &report(HostState::Healthy));
        assert_eq!(health.all().iter().map(said).collect::<Vec<_>>(), [(Verdict::Healthy, 0)]);
        health.busy(&id());
        assert!(health.all().is_empty() && health.repeat().is_empty());
        assert_eq!(health.quiet(&id(), Fence(8)).as_ref().map(said), Some((Verdict::Healthy, 0)));
        assert_eq!(health.repeat().len(), 1);
    }
}
