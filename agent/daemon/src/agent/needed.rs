//! Which releases this agent's store has to keep: those of platforms whose instances are the platform's. Hosts keep their own.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::watch;
use trimaran_agent_core::platform::Standing;
use trimaran_artifacts::Needed;
use trimaran_model::assignment::{Assignment, Scope};
use trimaran_model::id::{Digest, InstallationId, TargetName};

/// What is needed of each installation, for [`trimaran_artifacts::Artifacts::keep`].
pub(super) struct NeededReleases {
    of: BTreeMap<InstallationId, BTreeSet<Digest>>,
    /// The coordinators have said everything: before that nothing is removed.
    known: bool,
    out: watch::Sender<Needed>,
}

impl NeededReleases {
    pub(super) fn new(out: watch::Sender<Needed>) -> Self {
        Self { of: BTreeMap::new(), known: false, out }
    }

    /// What stands: all of it when `whole`. `is_hosts` says of a target that its hosts keep their releases.
    pub(super) fn set_standing(
        &mut self,
        standing: &[Standing],
        whole: bool,
        is_hosts: impl Fn(&TargetName) -> bool,
    ) {
        if whole {
            self.of.clear();
            self.known = true;
        }
        for it in standing.iter().filter(|it| !is_hosts(&it.installation.target)) {
            let needed = it.retained.iter().copied().chain(it.release).collect();
            self.of.insert(it.installation.clone(), needed);
        }
        self.publish();
    }

    /// What an order needs is needed until its installation stands again.
    pub(super) fn add_order(&mut self, order: &Assignment) {
        if matches!(order.scope(), Scope::Whole) {
            let needed = order.retained.iter().copied().chain(order.action.release());
            self.of.entry(order.installation.clone()).or_default().extend(needed);
            self.publish();
        }
    }

    fn publish(&self) {
        if !self.known {
            return;
        }
        let needed: Needed = self.of.values().flatten().copied().collect();
        self.out.send_if_modified(|now| {
            let changed = *now != needed;
            *now = needed;
            changed
        });
    }
}
