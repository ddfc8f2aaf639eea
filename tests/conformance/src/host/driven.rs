//! The host in memory as a platform alone: whoever runs a driver on it performs calls and shows ends of processes.

use std::io;

use trimaran_host_core::host::{Call, Journal, Observation, Query, Reply, Snapshot};
use trimaran_model::time::{Millis, Timestamp};

use super::ModelHost;

impl ModelHost {
    /// Makes the directory of the installation.
    pub(crate) fn create(&mut self) {
        self.store.create().expect("the model's disk has room");
    }

    /// Makes a journal durable, as a runner does before what follows it; the slot of a change in the middle is its own.
    pub(crate) fn persist(&mut self, journal: &Journal) {
        self.store.save(&journal.to_wire(None)).expect("the model's disk has room");
        self.turn |= journal.step.is_disruptive();
    }

    pub(crate) fn perform(&mut self, call: Call) -> (Reply, Millis) {
        self.call(call)
    }

    pub(crate) fn inspect(&self) -> io::Result<Observation> {
        self.observe()
    }

    pub(crate) fn watch(&mut self, query: &Query) {
        self.watched.push(query.launch);
    }

    /// The runner is gone.
    pub(crate) fn forget_watches(&mut self) {
        self.watched.clear();
        self.turn = false;
    }

    /// The next end of a watched process that is over by now.
    pub(crate) fn take_exit(&mut self) -> Option<Snapshot> {
        let (_, launch, exit) = self.next_exit().filter(|(at, ..)| *at <= self.now)?;
        self.watched.retain(|watched| *watched != launch);
        Some(Snapshot { launch, exit })
    }

    pub(crate) fn next_exit_at(&self) -> Option<Timestamp> {
        self.next_exit().map(|(at, ..)| at)
    }
}
