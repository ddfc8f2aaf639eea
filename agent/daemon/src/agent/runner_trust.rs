//! What runners have to know of the cluster beside their orders: its date, the state of it that their agent obeys, and the keys
//! that their agent's name had before.

use std::collections::BTreeMap;

use trimaran_model::id::Epoch;
use trimaran_wire::v1::agent::RevokedKey;
use trimaran_wire::v1::runner::RunnerDown;

use super::event_loop::AgentLoop;

impl AgentLoop {
    /// The first message of a session, with the state of the cluster that this agent obeys.
    pub(super) fn welcome(&self, labels: BTreeMap<String, String>) -> RunnerDown {
        let (epoch, incarnation) = self.cluster;
        let wall_ms = self.clock.known().map(|wall| wall.0);
        RunnerDown::Welcome { labels, wall_ms, epoch: epoch.0, incarnation }
    }

    /// A coordinator says which state of the cluster is obeyed from now on. Every connected runner is notified of another one,
    /// ahead of the orders that follow from it.
    pub(super) fn obey(&mut self, cluster: (Epoch, u64)) {
        if std::mem::replace(&mut self.cluster, cluster) == cluster {
            return;
        }
        for host in self.hosts.connected() {
            let enrolled = self.inventory.as_ref().and_then(|inventory| inventory.get(&host));
            let labels = enrolled.map(|it| it.labels.clone()).unwrap_or_default();
            let welcome = self.welcome(labels);
            self.hosts.send(&host, welcome);
        }
    }

    /// Passes keys that this agent's name had before on to every runner.
    pub(super) fn pass_on_earlier_keys(&mut self, revoked: &[RevokedKey]) {
        if !self.earlier_keys.add(self.clock.now(), revoked) {
            return;
        }
        let message = self.earlier_keys.message().expect("a key was added just now");
        for host in self.hosts.connected() {
            self.hosts.send(&host, message.clone());
        }
    }
}
