//! The health of installations while nothing works on them: transitions only.
//!
//! A host that was healthy and degrades makes its installation degraded; when no host is degraded any more it is
//! healthy again. A host that is silent says nothing, so it changes nothing: silence is never a verdict.
//!
//! Deliberately not here: what a degraded installation means (the coordinators), and how a host knows that it is
//! degraded (the host).

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::assignment::{HostReport, HostState};
use trimaran_model::id::{Fence, HostName, InstallationId};
use trimaran_model::job::Failure;
use trimaran_model::verdict::Verdict;

use super::standing::failure;

/// A change that the coordinators have to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub installation: InstallationId,
    /// The largest fence of the installation: the verdict belongs to what its assignment left.
    pub fence: Fence,
    pub verdict: Verdict,
    /// The first cause, when degraded.
    pub failure: Option<Failure>,
}

/// What hosts say, by installation.
#[derive(Debug, Clone, Default)]
pub struct Health {
    installations: BTreeMap<InstallationId, Installation>,
}

#[derive(Debug, Clone, Default)]
struct Installation {
    /// The largest fence that is known of it.
    fence: Fence,
    busy: bool,
    degraded: BTreeMap<HostName, Failure>,
    /// The last verdict that was told was degraded.
    told: bool,
    /// Anything was told since the last assignment.
    spoke: bool,
}

impl Health {
    /// An assignment works on the installation: its outcome is told, not its health.
    pub fn busy(&mut self, installation: &InstallationId) {
        let it = self.installations.entry(installation.clone()).or_default();
        (it.busy, it.told, it.spoke) = (true, false, false);
    }

    /// Nothing works on the installation any more. A host that degraded meanwhile is told now.
    pub fn quiet(&mut self, installation: &InstallationId, fence: Fence) -> Option<Transition> {
        let it = self.installations.entry(installation.clone()).or_default();
        it.busy = false;
        it.fence = it.fence.max(fence);
        it.transition(installation)
    }

    /// What a host says of one installation.
    pub fn hear(&mut self, host: &HostName, report: &HostReport) -> Option<Transition> {
        let it = self.installations.entry(report.installation.clone()).or_default();
        it.fence = it.fence.max(report.fence);
        if report.state == HostState::Degraded {
            it.degraded.entry(host.clone()).or_insert_with(|| failure(host, report));
        } else {
            it.degraded.remove(host);
        }
        it.transition(&report.installation)
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
            it.degraded.retain(|host, _| hosts.contains(host));
            changes.extend(it.transition(id));
        }
        changes
    }
}

impl Installation {
    fn transition(&mut self, id: &InstallationId) -> Option<Transition> {
        let degraded = !self.degraded.is_empty();
        if self.busy || degraded == self.told {
            return None;
        }
        (self.told, self.spoke) = (degraded, true);
        Some(self.verdict(id))
    }

    fn verdict(&self, id: &InstallationId) -> Transition {
        let failure = self.degraded.values().next().cloned();
        let verdict = if failure.is_some() { Verdict::Degraded } else { Verdict::Healthy };
        Transition { installation: id.clone(), fence: self.fence, verdict, failure }
    }
}
