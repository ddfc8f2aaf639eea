//! The log of a member that is left of a lost quorum, applied to its end without anyone else.
//!
//! What was answered is in the logs of a majority, and a survivor of it has it whether it knows that it is committed or not:
//! nothing of its log is left out. Changes of the members in that log choose no members any more; given to raft, one of them
//! could give a vote back to a member that is gone, and the survivor would wait for it for ever. What they do to the survivor
//! itself counts: it may have been given its vote by an entry that it never applied.
//!
//! Not here: which members are gone for good, and the other incarnation of the cluster that begins (the server and the engine).

use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::raft::{ConfState, Entry, EntryKind, MemberChangeKind, MemberChanges};

use crate::log::{Loaded, LogError};
use crate::state_machine::{Applied, EntryMeta, RowBatch, StateMachine, UnreadableEntry};

/// Why a member can't go on alone.
#[derive(Debug, thiserror::Error)]
pub enum SurvivorError {
    #[error("it is a learner, which has no vote: what was answered may not be in its log")]
    Learner,
    #[error("it is no member of the cluster that it knows: it was removed, or has not joined yet")]
    NoMember,
    #[error("entry {index} of its log takes its vote away")]
    Leaves { index: u64 },
    #[error("the log on the disk is broken")]
    Log(#[source] LogError),
    #[error("entry {index} of the log can't be read")]
    Change { index: u64, source: CodecError },
    #[error(transparent)]
    Unreadable(#[from] UnreadableEntry),
}

/// What a log comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The last entry of the log.
    pub last: EntryMeta,
    /// The rows that changed since [`Loaded::applied`].
    pub rows: RowBatch,
}

/// Applies everything above `loaded.applied` to `machine`, which is the state there. `id` is the survivor's own.
///
/// # Errors
/// Of a member without a vote, and of a log that can't be read; `machine` is of no use then.
pub fn replay<M: StateMachine>(id: u64, loaded: &Loaded, machine: &mut M) -> Result<Replayed, SurvivorError> {
    loaded.check().map_err(SurvivorError::Log)?;
    let (mut last, mut rows) = (loaded.compacted, RowBatch::default());
    let mut survivor = Survivor { id, is: Standing::of(id, &loaded.conf_state) };
    for entry in &loaded.entries {
        last = EntryMeta { index: entry.index, term: entry.term };
        if entry.index > loaded.applied.index
            && let Some(applied) = survivor.apply(entry, machine)?
        {
            rows.changes.extend(applied.rows.changes);
        }
    }
    match survivor.is {
        Standing::Voter => Ok(Replayed { last, rows }),
        Standing::Learner => Err(SurvivorError::Learner),
        Standing::NoMember => Err(SurvivorError::NoMember),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Voter,
    Learner,
    NoMember,
}

impl Standing {
    fn of(id: u64, members: &ConfState) -> Self {
        if members.voters.contains(&id) || members.voters_outgoing.contains(&id) {
            Self::Voter
        } else if members.learners.contains(&id) || members.learners_next.contains(&id) {
            Self::Learner
        } else {
            Self::NoMember
        }
    }
}

/// Who replays its log, and what it is by the entries so far.
struct Survivor {
    id: u64,
    is: Standing,
}

type Given<M> = Option<Applied<<M as StateMachine>::Reply, <M as StateMachine>::Event>>;

impl Survivor {
    fn apply<M: StateMachine>(&mut self, entry: &Entry, machine: &mut M) -> Result<Given<M>, SurvivorError> {
        let meta = EntryMeta { index: entry.index, term: entry.term };
        match entry.kind {
            // It opens a term.
            EntryKind::Normal if entry.data.0.is_empty() => Ok(None),
            EntryKind::Normal => Ok(Some(machine.apply(meta, &entry.data.0)?)),
            // It ends a joint configuration.
            EntryKind::ConfChange | EntryKind::ConfChangeV2 if entry.context.0.is_empty() => Ok(None),
            EntryKind::ConfChange | EntryKind::ConfChangeV2 => {
                let changes = MemberChanges::from_bytes(&entry.context.0);
                let changes =
                    changes.map_err(|source| SurvivorError::Change { index: entry.index, source })?;
                self.change(entry.index, &changes)?;
                let alone = ConfState { voters: vec![self.id], ..ConfState::default() };
                Ok(Some(machine.apply_members(meta, &alone, &changes.context.0)?))
            }
        }
    }

    /// A vote that the log gives counts as soon as it is in the log, as everything in it does.
    fn change(&mut self, index: u64, changes: &MemberChanges) -> Result<(), SurvivorError> {
        for (kind, _) in changes.changes.iter().filter(|(_, of)| *of == self.id) {
            let becomes = match kind {
                MemberChangeKind::AddVoter => Standing::Voter,
                MemberChangeKind::AddLearner => Standing::Learner,
                MemberChangeKind::Remove => Standing::NoMember,
            };
            if self.is == Standing::Voter && becomes != Standing::Voter {
                return Err(SurvivorError::Leaves { index });
            }
            self.is = becomes;
        }
        Ok(())
    }
}
