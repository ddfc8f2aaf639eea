//! Snapshot positions and the cut of the log below them; snapshots for peers and from the leader.
//!
//! A snapshot position says that the rows of the own store are complete up to an entry and synced: that is what the log
//! may be cut below. A snapshot for a peer is a file that the server builds when one is asked for.

use raft::ProgressState;
use trimaran_model::limits;
use trimaran_wire::raft::Snapshot;

use crate::convert;
use crate::io::{Answer, Fatal, LogPosition, Output};
use crate::replica::Replica;
use crate::state_machine::{EntryMeta, RowIter, StateMachine};

type Outputs<M> = Vec<Output<<M as StateMachine>::Reply, <M as StateMachine>::Event>>;

impl<M: StateMachine> Replica<M> {
    /// The position is durable: cut the log below it, but keep some for members that lag.
    pub(crate) fn snapshot_synced(&mut self, position: LogPosition) {
        self.position_unsynced = false;
        if position.index <= self.snapshot.index {
            return; // A snapshot of the leader was installed meanwhile.
        }
        self.snapshot = position;
        let sending =
            self.raw.raft.prs().iter().any(|(_, progress)| progress.state == ProgressState::Snapshot);
        if !sending && !std::mem::take(&mut self.built_since_position) {
            self.raw.mut_store().drop_built();
        }
        let log = self.raw.store();
        let mut cut = position.index.saturating_sub(self.settings.kept_entries);
        if let Some(built) = log.built_index()
            && log.bytes() < limits::LOG_BYTES_MAX / 4 * 3
        {
            // Who gets that snapshot needs the entries above it. It is dropped at the position after the one that
            // found it unused, so that it does not hold the log for ever.
            cut = cut.min(built);
        }
        if cut >= log.first() {
            let at = self.raw.mut_store().compact(cut);
            self.pending.compact(at);
        }
        while self.raw.store().bytes() > self.settings.snapshot_bytes
            && self.raw.store().first() <= position.index
        {
            let at = self.raw.store().first();
            let at = self.raw.mut_store().compact(at);
            self.pending.compact(at);
        }
    }

    /// Asks for a snapshot when raft needed one for a peer and none is being built.
    pub(crate) fn want_snapshot(&mut self, out: &mut Outputs<M>) {
        if let Some(min_index) = self.raw.store().take_wanted()
            && !self.snapshot_building
        {
            self.snapshot_building = true;
            out.push(Output::BuildSnapshot { min_index });
        }
    }

    pub(crate) fn snapshot_built(&mut self, snapshot: Snapshot) {
        self.snapshot_building = false;
        if snapshot.meta.index <= self.applied.index {
            self.built_since_position = true;
            self.raw.mut_store().set_built(convert::snapshot_to_raft(snapshot));
        }
    }

    /// The rows of the leader's snapshot are durable here: memory follows in one step.
    pub(crate) fn snapshot_installed(&mut self, number: u64, rows: RowIter, out: &mut Outputs<M>) {
        let meta = match self.installing.take() {
            Some((install, meta)) if install == number => meta,
            Some(_) | None => {
                self.die(Fatal::WriterOrder { got: number, last: self.done_number }, out);
                return;
            }
        };
        let at = EntryMeta { index: meta.index, term: meta.term };
        if let Err(error) = self.state_machine.restore(at, rows) {
            self.die(Fatal::Restore { reason: error.why }, out);
            return;
        }
        self.applied = at;
        self.snapshot = at;
        self.position_unsynced = false;
        self.bytes_since_position = 0;
        self.complete_up_to(number, out);
        self.raw.advance_apply_to(at.index);
        // Whether these entries were the waiters' own can no longer be known.
        for waiter in self.proposals.skipped(at.index) {
            out.push(Output::Reply { waiter, answer: Answer::Indeterminate });
        }
    }
}
