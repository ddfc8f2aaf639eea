//! What runners have to know of the cluster beside their orders: its date, the state of it that their agent obeys, the keys
//! that their agent's name had before, and those of coordinators that sign no more.

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

    /// A coordinator names keys that count no more.
    pub(super) fn on_revoked(&mut self, up_to: u64, keys: &[RevokedKey], issuers: Vec<[u8; 32]>) {
        let (_, incarnation) = self.cluster;
        let added = self.refused.add(self.clock.now(), (incarnation, up_to), keys, issuers);
        if added.keys {
            self.endpoint.close_revoked();
        }
        if added.for_runners {
            self.pass_on_refused_keys();
        }
    }

    /// Passes what changed of such keys on to every runner. When this agent's own certificate is by one of them, that is left
    /// out until it has another one.
    fn pass_on_refused_keys(&mut self) {
        self.runners_are_behind = self.refused.refuses_own();
        for host in self.hosts.connected() {
            for message in self.refused.for_runners() {
                self.hosts.send(&host, message);
            }
        }
    }

    /// Passes on what had to wait for another certificate of this agent.
    pub(super) fn catch_up_runners(&mut self) {
        if self.runners_are_behind && !self.refused.refuses_own() {
            self.pass_on_refused_keys();
        }
    }
}
