//! Snapshot positions and the cut of the log below them; snapshots for peers and from the leader.
//!
//! A snapshot position says that the rows of the own store are complete up to an entry and synced: that is what the log
//! may be cut below. A snapshot for a peer is a file that the server builds when one is asked for.

use raft::{ProgressState, Ready};
use trimaran_model::limits;
use trimaran_wire::raft::Snapshot;

use crate::convert;
use crate::inflight::InFlightWrite;
use crate::io::{Answer, Fatal, InstallJob, LogPosition, Output};
use crate::replica::Replica;
use crate::snapshot_state::{OwnPosition, PeerFile, SnapshotState};
use crate::state_machine::{EntryMeta, RowIter, StateMachine};

type Outputs<M> = Vec<Output<<M as StateMachine>::Reply, <M as StateMachine>::Event>>;

impl<M: StateMachine> Replica<M> {
    /// Sets a snapshot position at what is applied when enough has happened since the last one.
    pub(crate) fn set_snapshot_position(&mut self) {
        let entries = self.applied.index - self.snapshot.index.min(self.applied.index);
        let SnapshotState::Keeping { own, .. } = &mut self.snapshots else { return };
        let OwnPosition::Synced { bytes_since } = *own else { return };
        let due = entries >= self.settings.snapshot_entries || bytes_since >= self.settings.snapshot_bytes;
        if due && entries > 0 {
            *own = OwnPosition::Writing { bytes_since: 0 };
            self.pending.job.snapshot = Some(self.applied);
            self.pending.job.sync = true;
        }
    }

    /// The position is durable: cut the log below it, but keep some for members that lag.
    pub(crate) fn snapshot_synced(&mut self, position: LogPosition) {
        let SnapshotState::Keeping { own, peer } = &mut self.snapshots else {
            // The leader's snapshot replaces it.
            return;
        };
        if let OwnPosition::Writing { bytes_since } = *own {
            *own = OwnPosition::Synced { bytes_since };
        }
        if position.index <= self.snapshot.index {
            return; // A snapshot of the leader was installed meanwhile.
        }
        self.snapshot = position;
        let used = *peer == PeerFile::Fresh;
        if used {
            *peer = PeerFile::Idle;
        }
        let sending =
            self.raw.raft.prs().iter().any(|(_, progress)| progress.state == ProgressState::Snapshot);
        if !sending && !used {
            self.raw.mut_store().drop_built();
        }
        self.cut_log(position);
    }

    fn cut_log(&mut self, position: LogPosition) {
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
            && let Some(peer) = self.snapshots.peer()
            && *peer != PeerFile::Building
        {
            *peer = PeerFile::Building;
            out.push(Output::BuildSnapshot { min_index });
        }
    }

    pub(crate) fn snapshot_built(&mut self, snapshot: Snapshot) {
        // One that was asked for before an installation is as good as any: what counts is that it is not ahead.
        if let Some(peer) = self.snapshots.peer() {
            *peer = PeerFile::Idle;
            if snapshot.meta.index <= self.applied.index {
                *peer = PeerFile::Fresh;
                self.raw.mut_store().set_built(convert::snapshot_to_raft(snapshot));
            }
        }
    }

    pub(crate) fn snapshot_failed(&mut self) {
        if let Some(peer) = self.snapshots.peer() {
            *peer = PeerFile::Idle;
        }
    }

    /// The snapshot that raft has accepted and not handed out yet: rows of any other one that is staged are of no use.
    pub fn pending_snapshot(&self) -> Option<EntryMeta> {
        let meta = self.raw.snap().filter(|snapshot| !snapshot.is_empty())?.get_metadata();
        Some(EntryMeta { index: meta.index, term: meta.term })
    }

    /// Hands the leader's snapshot to the writer.
    pub(crate) fn install(&mut self, ready: &Ready, out: &mut Outputs<M>) {
        let snapshot = convert::snapshot_to_wire(ready.snapshot());
        let meta = ready.snapshot().get_metadata().clone();
        self.raw.mut_store().install(&meta);
        self.job_number += 1;
        self.in_flight.push_back(InFlightWrite {
            number: self.job_number,
            ready: Some(ready.number()),
            vote: true,
            ..InFlightWrite::default()
        });
        self.snapshots = SnapshotState::Installing { number: self.job_number, meta };
        out.push(Output::InstallSnapshot(InstallJob {
            number: self.job_number,
            meta: snapshot.meta,
            manifest: snapshot.manifest.0,
            hard_state: convert::hard_state_to_wire(&self.raw.raft.hard_state()),
        }));
    }

    /// The rows of the leader's snapshot are durable here: memory follows in one step.
    pub(crate) fn snapshot_installed(&mut self, number: u64, rows: RowIter, out: &mut Outputs<M>) {
        let (at, members) = match &self.snapshots {
            SnapshotState::Installing { number: install, meta } if *install == number => {
                (EntryMeta { index: meta.index, term: meta.term }, meta.get_conf_state().clone())
            }
            SnapshotState::Installing { .. } | SnapshotState::Keeping { .. } => {
                self.die(Fatal::WriterOrder { got: number, last: self.done_number }, out);
                return;
            }
        };
        self.snapshots = SnapshotState::START;
        if !mutant!(KeepStateAtInstall)
            && let Err(error) = self.state_machine.restore(at, rows)
        {
            self.die(Fatal::Restore { reason: error.why }, out);
            return;
        }
        self.applied = at;
        self.snapshot = at;
        self.raw.mut_store().set_conf_state(members, at.index);
        self.complete_up_to(number, out);
        self.raw.advance_apply_to(at.index);
        out.push(Output::StateReplaced { applied: at });
        // Whether these entries were the waiters' own can no longer be known.
        let change = self.drop_change();
        self.unconfirmed = None;
        for waiter in self.proposals.skipped(at.index).into_iter().chain(change) {
            out.push(Output::Reply { waiter, answer: Answer::Indeterminate });
        }
    }
}
