//! What a coordinator sends in pages, put together: the inventory, the targets, what stands of installations, and the hosts
//! of an assignment.
//!
//! A session begins anew: what an earlier one left unfinished is dropped.

use std::collections::BTreeMap;

use trimaran_model::limits::{AGENT_INSTALLATIONS_MAX, AGENT_TARGETS_MAX, INSTALLATION_INSTANCES_MAX};
use trimaran_wire::v1::agent::{RunnerEntry, WireStanding};
use trimaran_wire::v1::assignment::WireAssignment;
use trimaran_wire::v1::target::WireTarget;

/// Pages that came ahead of the last one.
#[derive(Debug, Default)]
pub(super) struct Pages {
    runners: Vec<RunnerEntry>,
    targets: Vec<WireTarget>,
    standing: Vec<WireStanding>,
    /// By the number of the assignment.
    hosts: BTreeMap<u64, Vec<String>>,
}

impl Pages {
    /// The whole inventory, when this was its last page.
    pub(super) fn add_runners(&mut self, page: Vec<RunnerEntry>, last: bool) -> Option<Vec<RunnerEntry>> {
        self.runners.extend(page);
        self.runners.truncate(INSTALLATION_INSTANCES_MAX as usize);
        last.then(|| std::mem::take(&mut self.runners))
    }

    /// All targets, when this was their last page.
    pub(super) fn add_targets(&mut self, page: Vec<WireTarget>, last: bool) -> Option<Vec<WireTarget>> {
        self.targets.extend(page);
        self.targets.truncate(AGENT_TARGETS_MAX);
        last.then(|| std::mem::take(&mut self.targets))
    }

    /// What stands of installations, with the last page of it.
    pub(super) fn add_standing(&mut self, page: Vec<WireStanding>, last: bool) -> Option<Vec<WireStanding>> {
        self.standing.extend(page);
        self.standing.truncate(AGENT_INSTALLATIONS_MAX);
        last.then(|| std::mem::take(&mut self.standing))
    }

    pub(super) fn add_hosts(&mut self, assignment: u64, page: Vec<String>) {
        let hosts = self.hosts.entry(assignment).or_default();
        hosts.extend(page);
        hosts.truncate(INSTALLATION_INSTANCES_MAX as usize);
    }

    /// The assignment with all of its hosts.
    pub(super) fn complete(&mut self, mut assignment: WireAssignment) -> WireAssignment {
        if let Some(mut hosts) = self.hosts.remove(&assignment.id) {
            hosts.append(&mut assignment.hosts);
            assignment.hosts = hosts;
        }
        assignment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_is_known_with_its_last_page() {
        let entry = |name: &str| RunnerEntry {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            cordoned: false,
            drained: false,
        };
        let mut pages = Pages::default();
        assert_eq!(pages.add_runners(vec![entry("a")], false), None);
        assert_eq!(pages.add_runners(vec![entry("b")], true), Some(vec![entry("a"), entry("b")]));
        assert_eq!(pages.add_runners(Vec::new(), true), Some(Vec::new()), "the next one is its own");
    }
}
