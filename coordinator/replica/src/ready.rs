//! What raft hands out: messages, entries to write, entries to apply; and the writer's answers.
//!
//! One step makes at most one write job (and one before a snapshot). Messages that must follow a persist are
//! kept with the job they follow ([`InFlightWrite`]) and leave when the writer has answered for it.

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};
use raft::{Ready, StateRole};
use trimaran_model::limits;
use trimaran_wire::raft as wire;

use crate::convert;
use crate::inflight::InFlightWrite;
use crate::io::{Answer, Class, Fatal, Output, WriteJob};
use crate::proposals::Resolved;
use crate::replica::Replica;
use crate::snapshot_state::SnapshotState;
use crate::state_machine::{EntryMeta, StateMachine};

type Outputs<M> = Vec<Output<<M as StateMachine>::Reply, <M as StateMachine>::Event>>;

impl<M: StateMachine> Replica<M> {
    /// Handles everything that raft has ready, up to a bound, and hands out the write job of this step.
    pub(crate) fn pump(&mut self, out: &mut Outputs<M>) {
        let (mut applied, mut bytes) = (0, 0);
        while !self.dead && !self.snapshots.is_installing() && self.raw.has_ready() {
            if applied >= limits::APPLY_ENTRIES_PER_STEP_MAX || bytes >= limits::APPLY_BYTES_PER_STEP_MAX {
                self.more = true;
                break;
            }
            if self.raw.snap().is_some_and(|snapshot| !snapshot.is_empty()) {
                // A snapshot is a job of its own, after everything that came before it.
                self.flush(out);
            }
            let ready = self.raw.ready();
            let (entries, size) = self.handle(ready, out);
            (applied, bytes) = (applied + entries, bytes + size);
        }
        if self.dead {
            return;
        }
        self.set_snapshot_position();
        self.flush(out);
        self.want_snapshot(out);
    }

    /// Handles one ready; returns how many entries it applied, and their bytes.
    fn handle(&mut self, mut ready: Ready, out: &mut Outputs<M>) -> (usize, usize) {
        let number = ready.number();
        if !ready.snapshot().is_empty() {
            self.install(&ready, out);
        }
        if let Some(state) = ready.hs() {
            let vote = (state.term, state.vote);
            self.pending.write.vote |= vote != self.vote;
            self.vote = vote;
            self.pending.job.hard_state = Some(convert::hard_state_to_wire(state));
        }
        for message in ready.take_messages() {
            self.send_as_leader(message, out);
        }
        let entries = ready.take_entries();
        self.raw.mut_store().append(&entries);
        self.pending.append(&entries);
        let skip = match entries.is_empty() {
            true => mutant!(NoSyncOfVotes) && ready.snapshot().is_empty(),
            false => mutant!(NoSyncOfEntries),
        };
        self.pending.job.sync |= ready.must_sync() && !skip;
        self.pending.write.ready = Some(number);
        for message in ready.take_persisted_messages() {
            self.send_persisted(message, out);
        }
        let committed = ready.take_committed_entries();
        for state in ready.take_read_states() {
            if let Some((_, round)) = state.request_ctx.split_first_chunk::<8>()
                && let Ok(round) = round.try_into()
            {
                self.reads.confirm(u64::from_be_bytes(round), state.index);
            }
        }
        self.raw.advance_append_async(ready);
        let size = (committed.len(), committed.iter().map(|entry| entry.data.len()).sum());
        self.apply(committed, out);
        size
    }

    fn send(&mut self, message: &Message, out: &mut Outputs<M>) {
        let to = message.to;
        let Some(wire) = convert::message_to_wire(message) else { return };
        match message.msg_type {
            MessageType::MsgSnapshot => out.push(Output::SendSnapshot { to, message: wire }),
            MessageType::MsgAppend if !message.entries.is_empty() => {
                let parts = split(wire).into_iter();
                out.extend(parts.map(|message| Output::Send { to, class: Class::Append, message }));
            }
            _ => out.push(Output::Send { to, class: Class::Control, message: wire }),
        }
    }

    /// A leader's entries leave while its own disk writes them, once its term is durable. The only voter of a
    /// cluster with learners leads from the moment it stands for election: after a crash it would lead the same term
    /// again, with other entries.
    fn send_as_leader(&mut self, message: Message, out: &mut Outputs<M>) {
        if self.is_vote_unsynced() && !mutant!(LeadBeforeTerm) {
            self.pending.write.messages.push(message);
        } else {
            self.send(&message, out);
        }
    }

    /// Keeps a follower's or candidate's message for the end of the write that it follows.
    ///
    /// An answer to a heartbeat claims nothing about entries: it leaves at once unless a term or vote is
    /// still on its way to the disk, so that a slow disk is not mistaken for a dead member.
    fn send_persisted(&mut self, message: Message, out: &mut Outputs<M>) {
        let claims_nothing =
            message.msg_type == MessageType::MsgHeartbeatResponse && !self.is_vote_unsynced();
        if claims_nothing || mutant!(AnswerBeforeSync) {
            self.send(&message, out);
        } else {
            self.pending.write.messages.push(message);
        }
    }

    /// Whether a term or vote is still on its way to the disk.
    fn is_vote_unsynced(&self) -> bool {
        self.pending.write.vote || self.in_flight.iter().any(|write| write.vote)
    }

    /// Hands the job out. Without anything to write its messages join the last job in flight, or leave.
    fn flush(&mut self, out: &mut Outputs<M>) {
        let empty = self.pending.is_empty();
        let pending = std::mem::take(&mut self.pending);
        if !empty {
            self.job_number += 1;
            let job = WriteJob { number: self.job_number, ..pending.job };
            self.in_flight.push_back(InFlightWrite {
                number: self.job_number,
                snapshot: job.snapshot,
                ..pending.write
            });
            out.push(Output::Write(job));
        } else if let Some(last) = self.in_flight.back_mut() {
            last.ready = pending.write.ready.or(last.ready);
            last.messages.extend(pending.write.messages);
        } else {
            self.complete(pending.write, out);
        }
    }

    /// The writer has done every job up to `number`.
    pub(crate) fn written(&mut self, number: u64, out: &mut Outputs<M>) {
        let early = matches!(&self.snapshots, SnapshotState::Installing { number: install, .. } if number >= *install);
        if number <= self.done_number || number > self.job_number || early {
            self.die(Fatal::WriterOrder { got: number, last: self.done_number }, out);
            return;
        }
        self.complete_up_to(number, out);
    }

    pub(crate) fn complete_up_to(&mut self, number: u64, out: &mut Outputs<M>) {
        self.done_number = number;
        while self.in_flight.front().is_some_and(|write| write.number <= number) {
            let write = self.in_flight.pop_front().expect("there is a front");
            self.complete(write, out);
        }
    }

    fn complete(&mut self, write: InFlightWrite, out: &mut Outputs<M>) {
        for message in &write.messages {
            self.send(message, out);
        }
        if let Some(position) = write.snapshot {
            self.snapshot_synced(position);
        }
        if let Some(ready) = write.ready {
            self.raw.on_persist_ready(ready);
        }
    }

    fn apply(&mut self, entries: Vec<Entry>, out: &mut Outputs<M>) {
        let Some(last) = entries.last() else { return };
        let last = EntryMeta { index: last.index, term: last.term };
        for entry in entries {
            assert_eq!(
                entry.index,
                self.applied.index + 1,
                "raft hands committed entries out once and in order"
            );
            let meta = EntryMeta { index: entry.index, term: entry.term };
            self.applied = meta;
            self.snapshots.count(entry.data.len() + size_of::<Entry>());
            let done = match entry.entry_type {
                EntryType::EntryNormal => self.apply_normal(meta, &entry.data, out),
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.apply_members(meta, &entry.context, out)
                }
            };
            if let Err(fatal) = done {
                self.die(fatal, out);
                return;
            }
        }
        let state = self.raw.raft.hard_state();
        assert!(state.commit >= last.index, "only committed entries are applied");
        self.pending.job.applied = Some(last);
        self.pending.job.state_hash = Some(self.state_machine.hash());
        self.pending.job.hard_state = Some(convert::hard_state_to_wire(&state));
        self.raw.advance_apply_to(last.index);
        self.confirm_change();
    }

    fn apply_normal(&mut self, meta: EntryMeta, data: &Bytes, out: &mut Outputs<M>) -> Result<(), Fatal> {
        if data.is_empty() {
            self.resolve_lost(meta, out);
            self.confirmed(meta, out);
            return Ok(());
        }
        let applied = self.state_machine.apply(meta, data);
        let applied =
            applied.map_err(|error| Fatal::Entry { index: meta.index, reason: error.to_string() })?;
        self.pending.job.rows.changes.extend(applied.rows.changes);
        if !applied.events.is_empty() {
            out.push(Output::Events { revision: meta.index, events: applied.events });
        }
        match self.proposals.resolve(meta) {
            Resolved::Own(waiter) => {
                out.push(Output::Reply {
                    waiter,
                    answer: Answer::Applied { entry: meta, reply: applied.reply },
                });
            }
            Resolved::Lost(waiter) => {
                out.push(Output::Reply { waiter, answer: Answer::NotLeader { hint: self.leader_hint() } });
            }
            Resolved::NoOne => {}
        }
        Ok(())
    }

    /// An empty entry is no one's proposal: who waited for its index lost.
    fn resolve_lost(&mut self, meta: EntryMeta, out: &mut Outputs<M>) {
        if let Resolved::Own(waiter) | Resolved::Lost(waiter) = self.proposals.resolve(meta) {
            out.push(Output::Reply { waiter, answer: Answer::NotLeader { hint: self.leader_hint() } });
        }
    }

    pub(crate) fn leader_hint(&self) -> Option<u64> {
        let leader = self.raw.raft.leader_id;
        (self.raw.raft.state != StateRole::Leader && leader != 0).then_some(leader)
    }
}

/// Cuts an append into messages of about `APPEND_BYTES_MAX`, each following from the one before.
///
/// raft joins what was proposed since its last message without a bound, which could be more than a frame.
fn split(mut whole: wire::Message) -> Vec<wire::Message> {
    let mut parts = Vec::new();
    let mut size = 0;
    let entries = std::mem::take(&mut whole.entries);
    let empty = whole.clone();
    for entry in entries {
        let bytes = entry.data.0.len() + entry.context.0.len();
        if size + bytes > limits::APPEND_BYTES_MAX
            && let Some(last) = whole.entries.last()
        {
            let rest = wire::Message {
                index: last.index,
                log_term: last.term,
                entries: Vec::new(),
                ..empty.clone()
            };
            parts.push(std::mem::replace(&mut whole, rest));
            size = 0;
        }
        size += bytes;
        whole.entries.push(entry);
    }
    parts.push(whole);
    parts
}

#[cfg(test)]
mod tests {
    use trimaran_wire::codec::Message as _;
    use trimaran_wire::raft::{Blob, Entry, EntryKind, Message, MessageKind};

    use super::*;

    fn append(sizes: &[usize]) -> Message {
        let entry = |(index, size): (u64, &usize)| Entry {
            kind: EntryKind::Normal,
            term: index / 2,
            index,
            data: Blob(vec![1; *size].into()),
            context: Blob::default(),
        };
        Message {
            kind: MessageKind::Append,
            to: 2,
            from: 1,
            term: 9,
            log_term: 4,
            index: 9,
            entries: (10..).zip(sizes).map(entry).collect(),
            commit: 7,
            commit_term: 0,
            snapshot: None,
            request_snapshot: 0,
            reject: false,
            reject_hint: 0,
            context: Blob::default(),
            priority: 0,
        }
    }

    #[test]
    fn a_large_append_is_cut_into_messages_that_follow_from_each_other() {
        let max = limits::APPEND_BYTES_MAX;
        for (sizes, counts) in [
            (&[10, 10][..], &[2][..]),
            (&[max, max, 1], &[1, 1, 1]),
            (&[max - 1, 1, 1, max], &[2, 1, 1]),
            (&[max + 5, 1], &[1, 1]),
        ] {
            let whole = append(sizes);
            let parts = split(whole.clone());
            assert_eq!(parts.iter().map(|part| part.entries.len()).collect::<Vec<_>>(), counts, "{sizes:?}");
            let mut before = (whole.index, whole.log_term);
            for part in &parts {
                assert_eq!((part.index, part.log_term), before);
                assert_eq!((part.term, part.commit), (whole.term, whole.commit));
                before = part.entries.last().map(|entry| (entry.index, entry.term)).unwrap();
                assert!(part.to_bytes().len() < limits::FRAME_BYTES_MAX);
            }
            assert_eq!(parts.into_iter().flat_map(|part| part.entries).collect::<Vec<_>>(), whole.entries);
        }
    }
}
