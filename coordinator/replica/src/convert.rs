//! Conversions between the shapes of `trimaran-wire` and those of the crate `raft`.

use bytes::Bytes;
use raft::eraftpb;
use trimaran_wire::raft::{
    Blob, ConfState, Entry, EntryKind, HardState, MemberChangeKind, MemberChanges, Message, MessageKind,
    Snapshot, SnapshotMeta,
};

pub(crate) fn entry_to_wire(entry: &eraftpb::Entry) -> Entry {
    Entry {
        kind: match entry.entry_type {
            eraftpb::EntryType::EntryNormal => EntryKind::Normal,
            eraftpb::EntryType::EntryConfChange => EntryKind::ConfChange,
            eraftpb::EntryType::EntryConfChangeV2 => EntryKind::ConfChangeV2,
        },
        term: entry.term,
        index: entry.index,
        data: Blob(entry.data.clone()),
        context: Blob(entry.context.clone()),
    }
}

pub(crate) fn entry_to_raft(entry: Entry) -> eraftpb::Entry {
    let mut out = eraftpb::Entry::default();
    out.entry_type = match entry.kind {
        EntryKind::Normal => eraftpb::EntryType::EntryNormal,
        EntryKind::ConfChange => eraftpb::EntryType::EntryConfChange,
        EntryKind::ConfChangeV2 => eraftpb::EntryType::EntryConfChangeV2,
    };
    out.term = entry.term;
    out.index = entry.index;
    out.data = entry.data.0;
    out.context = entry.context.0;
    out
}

pub(crate) fn hard_state_to_wire(state: &eraftpb::HardState) -> HardState {
    HardState { term: state.term, vote: state.vote, commit: state.commit }
}

pub(crate) fn hard_state_to_raft(state: HardState) -> eraftpb::HardState {
    let mut out = eraftpb::HardState::default();
    out.term = state.term;
    out.vote = state.vote;
    out.commit = state.commit;
    out
}

pub(crate) fn conf_state_to_wire(state: &eraftpb::ConfState) -> ConfState {
    ConfState {
        voters: state.voters.clone(),
        learners: state.learners.clone(),
        voters_outgoing: state.voters_outgoing.clone(),
        learners_next: state.learners_next.clone(),
        auto_leave: state.auto_leave,
    }
}

pub(crate) fn conf_state_to_raft(state: ConfState) -> eraftpb::ConfState {
    let mut out = eraftpb::ConfState::default();
    out.voters = state.voters;
    out.learners = state.learners;
    out.voters_outgoing = state.voters_outgoing;
    out.learners_next = state.learners_next;
    out.auto_leave = state.auto_leave;
    out
}

pub(crate) fn snapshot_to_wire(snapshot: &eraftpb::Snapshot) -> Snapshot {
    let meta = snapshot.get_metadata();
    Snapshot {
        meta: SnapshotMeta {
            index: meta.index,
            term: meta.term,
            conf_state: conf_state_to_wire(meta.get_conf_state()),
        },
        manifest: Blob(snapshot.data.clone()),
    }
}

pub(crate) fn snapshot_to_raft(snapshot: Snapshot) -> eraftpb::Snapshot {
    let mut out = eraftpb::Snapshot::default();
    let meta = out.mut_metadata();
    meta.index = snapshot.meta.index;
    meta.term = snapshot.meta.term;
    meta.set_conf_state(conf_state_to_raft(snapshot.meta.conf_state));
    out.data = snapshot.manifest.0;
    out
}

/// The change that raft applies. No change at all leaves a joint configuration.
pub(crate) fn member_changes_to_raft(changes: &MemberChanges) -> eraftpb::ConfChangeV2 {
    let mut out = eraftpb::ConfChangeV2::default();
    let singles = changes.changes.iter().map(|(kind, id)| {
        let mut single = eraftpb::ConfChangeSingle::default();
        single.change_type = match kind {
            MemberChangeKind::AddVoter => eraftpb::ConfChangeType::AddNode,
            MemberChangeKind::Remove => eraftpb::ConfChangeType::RemoveNode,
            MemberChangeKind::AddLearner => eraftpb::ConfChangeType::AddLearnerNode,
        };
        single.node_id = *id;
        single
    });
    out.set_changes(singles.collect::<Vec<_>>().into());
    out
}

/// `None` for the kinds that raft keeps to itself.
pub(crate) fn message_to_wire(message: &eraftpb::Message) -> Option<Message> {
    use eraftpb::MessageType as Type;
    let kind = match message.msg_type {
        Type::MsgAppend => MessageKind::Append,
        Type::MsgAppendResponse => MessageKind::AppendResponse,
        Type::MsgRequestVote => MessageKind::RequestVote,
        Type::MsgRequestVoteResponse => MessageKind::RequestVoteResponse,
        Type::MsgSnapshot => MessageKind::Snapshot,
        Type::MsgHeartbeat => MessageKind::Heartbeat,
        Type::MsgHeartbeatResponse => MessageKind::HeartbeatResponse,
        Type::MsgTransferLeader => MessageKind::TransferLeader,
        Type::MsgTimeoutNow => MessageKind::TimeoutNow,
        Type::MsgReadIndex => MessageKind::ReadIndex,
        Type::MsgReadIndexResp => MessageKind::ReadIndexResponse,
        Type::MsgRequestPreVote => MessageKind::RequestPreVote,
        Type::MsgRequestPreVoteResponse => MessageKind::RequestPreVoteResponse,
        Type::MsgHup
        | Type::MsgBeat
        | Type::MsgPropose
        | Type::MsgUnreachable
        | Type::MsgSnapStatus
        | Type::MsgCheckQuorum => return None,
    };
    Some(Message {
        kind,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.iter().map(entry_to_wire).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot: message.snapshot.as_ref().map(snapshot_to_wire),
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: Blob(message.context.clone()),
        priority: message.priority,
    })
}

pub(crate) fn message_to_raft(message: Message) -> eraftpb::Message {
    use eraftpb::MessageType as Type;
    let mut out = eraftpb::Message::default();
    out.msg_type = match message.kind {
        MessageKind::Append => Type::MsgAppend,
        MessageKind::AppendResponse => Type::MsgAppendResponse,
        MessageKind::RequestVote => Type::MsgRequestVote,
        MessageKind::RequestVoteResponse => Type::MsgRequestVoteResponse,
        MessageKind::Snapshot => Type::MsgSnapshot,
        MessageKind::Heartbeat => Type::MsgHeartbeat,
        MessageKind::HeartbeatResponse => Type::MsgHeartbeatResponse,
        MessageKind::TransferLeader => Type::MsgTransferLeader,
        MessageKind::TimeoutNow => Type::MsgTimeoutNow,
        MessageKind::ReadIndex => Type::MsgReadIndex,
        MessageKind::ReadIndexResponse => Type::MsgReadIndexResp,
        MessageKind::RequestPreVote => Type::MsgRequestPreVote,
        MessageKind::RequestPreVoteResponse => Type::MsgRequestPreVoteResponse,
    };
    out.to = message.to;
    out.from = message.from;
    out.term = message.term;
    out.log_term = message.log_term;
    out.index = message.index;
    out.set_entries(message.entries.into_iter().map(entry_to_raft).collect::<Vec<_>>().into());
    out.commit = message.commit;
    out.commit_term = message.commit_term;
    if let Some(snapshot) = message.snapshot {
        out.set_snapshot(snapshot_to_raft(snapshot));
    }
    out.request_snapshot = message.request_snapshot;
    out.reject = message.reject;
    out.reject_hint = message.reject_hint;
    out.context = message.context.0;
    out.priority = message.priority;
    out
}

/// A proposal in the form that raft steps, without a copy of its bytes.
pub(crate) fn proposal(from: u64, data: Bytes) -> eraftpb::Message {
    let mut entry = eraftpb::Entry::default();
    entry.data = data;
    let mut out = eraftpb::Message::default();
    out.msg_type = eraftpb::MessageType::MsgPropose;
    out.from = from;
    out.set_entries(vec![entry].into());
    out
}
