//! What this member passed on to the leader and has no answer to yet: bounded in number and bytes, each with a deadline.
//!
//! Numbers are never used twice, also not by the next process of this member: an answer that comes late meets no one.

use std::collections::BTreeMap;

use trimaran_model::limits::{FORWARD_TIMEOUT, READS_WAITING_MAX, READS_WAITING_RESERVED};
use trimaran_model::time::Timestamp;

use crate::command_queue::Queued;

/// Who waits for an answer of the leader.
#[derive(Debug)]
pub(crate) enum Asked<P, R> {
    /// A command or a change of members: without an answer its outcome is not known.
    Command(P),
    Read(R),
    /// This member itself, since this boot time.
    Quorum(Timestamp),
}

#[derive(Debug)]
pub(crate) struct Forwarded<P, R> {
    last: u64,
    waiting: BTreeMap<u64, Waiting<P, R>>,
    /// Of those, the commands; what is left are reads.
    commands: Queued,
}

#[derive(Debug)]
struct Waiting<P, R> {
    to: u64,
    until: Timestamp,
    asked: Asked<P, R>,
    /// Of a command.
    bytes: usize,
}

/// What asking takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Size {
    /// A command of so many bytes; `has_reserve` as in `CommandBody::has_reserve`.
    Command {
        bytes: usize,
        has_reserve: bool,
    },
    Read,
}

impl<P, R> Forwarded<P, R> {
    /// `first` is larger than every number of earlier processes, or random.
    pub(crate) fn new(first: u64) -> Self {
        Self { last: first, waiting: BTreeMap::new(), commands: Queued::default() }
    }

    /// The number under which `to` is asked; whoever asks comes back when there is no capacity. Commands and reads do not
    /// take each other's space.
    pub(crate) fn add(
        &mut self,
        now: Timestamp,
        to: u64,
        asked: Asked<P, R>,
        size: Size,
    ) -> Result<u64, Asked<P, R>> {
        let reads = self.waiting.len() - self.commands.commands;
        let (fits, bytes) = match size {
            Size::Command { bytes, has_reserve } => (self.commands.add(bytes, has_reserve), bytes),
            Size::Read => (reads < READS_WAITING_MAX + READS_WAITING_RESERVED, 0),
        };
        if !fits {
            return Err(asked);
        }
        self.last += 1;
        self.waiting.insert(self.last, Waiting { to, until: now + FORWARD_TIMEOUT, asked, bytes });
        Ok(self.last)
    }

    /// Who waits for this answer of `from`; no one after a repetition or the deadline.
    pub(crate) fn answered(&mut self, from: u64, number: u64) -> Option<Asked<P, R>> {
        self.waiting.get(&number).filter(|it| it.to == from)?;
        let waiting = self.waiting.remove(&number)?;
        Some(self.remove(waiting))
    }

    /// Who has waited for too long, or for a peer that `gone` says will not answer.
    pub(crate) fn give_up(&mut self, now: Timestamp, gone: impl Fn(u64) -> bool) -> Vec<Asked<P, R>> {
        let over = |_: &u64, it: &mut Waiting<P, R>| it.until <= now || gone(it.to);
        let over: Vec<_> = self.waiting.extract_if(.., over).map(|(_, it)| it).collect();
        over.into_iter().map(|it| self.remove(it)).collect()
    }

    pub(crate) fn take_all(&mut self) -> Vec<Asked<P, R>> {
        let all = std::mem::take(&mut self.waiting);
        all.into_values().map(|it| self.remove(it)).collect()
    }

    fn remove(&mut self, waiting: Waiting<P, R>) -> Asked<P, R> {
        if matches!(waiting.asked, Asked::Command(_)) {
            self.commands.remove(Queued { commands: 1, bytes: waiting.bytes });
        }
        waiting.asked
    }
}

#[cfg(test)]
mod tests {
    use trimaran_model::limits::{PROPOSALS_BYTES_MAX, PROPOSALS_MAX, PROPOSALS_RESERVED};

    use super::*;

    const COMMAND: Size = Size::Command { bytes: 1, has_reserve: false };
    const UNDO: Size = Size::Command { bytes: 1, has_reserve: true };

    #[test]
    fn commands_that_undo_have_a_reserve_and_reads_do_not_take_it() {
        let mut forwarded = Forwarded::<usize, usize>::new(0);
        let fill =
            |forwarded: &mut Forwarded<usize, usize>, asked: fn(usize) -> Asked<usize, usize>, size| {
                (0..).take_while(|it| forwarded.add(Timestamp(0), 2, asked(*it), size).is_ok()).count()
            };
        assert_eq!(fill(&mut forwarded, Asked::Command, COMMAND), PROPOSALS_MAX);
        assert_eq!(fill(&mut forwarded, Asked::Read, Size::Read), READS_WAITING_MAX + READS_WAITING_RESERVED);
        assert_eq!(fill(&mut forwarded, Asked::Command, UNDO), PROPOSALS_RESERVED);
        assert!(forwarded.answered(2, 1).is_some());
        assert_eq!(fill(&mut forwarded, Asked::Command, COMMAND), 0);
        assert_eq!(fill(&mut forwarded, Asked::Command, UNDO), 1);
        assert_eq!(
            forwarded.give_up(Timestamp(0), |to| to == 2).len(),
            PROPOSALS_MAX + PROPOSALS_RESERVED + READS_WAITING_MAX + READS_WAITING_RESERVED
        );
        let whole = Size::Command { bytes: PROPOSALS_BYTES_MAX, has_reserve: false };
        assert!(forwarded.add(Timestamp(0), 2, Asked::Command(1), whole).is_ok());
        assert!(matches!(forwarded.add(Timestamp(0), 2, Asked::Command(2), COMMAND), Err(Asked::Command(2))));
        assert!(forwarded.add(Timestamp(0), 2, Asked::Command(3), UNDO).is_ok());
        assert_eq!(forwarded.take_all().len(), 2);
        assert!(forwarded.add(Timestamp(0), 2, Asked::Command(1), whole).is_ok());
    }

    #[test]
    fn each_answer_meets_who_asked_that_peer_once_and_in_time() {
        let mut forwarded = Forwarded::<u8, u8>::new(100);
        let add = |forwarded: &mut Forwarded<u8, u8>, at, to, asked| {
            match asked {
                Asked::Command(_) => forwarded.add(Timestamp(at), to, asked, COMMAND),
                Asked::Read(_) | Asked::Quorum(_) => forwarded.add(Timestamp(at), to, asked, Size::Read),
            }
            .expect("it fits")
        };
        let first = add(&mut forwarded, 0, 2, Asked::Command(1));
        let second = add(&mut forwarded, 10, 2, Asked::Read(2));
        assert!(forwarded.answered(3, first).is_none(), "another peer");
        assert!(matches!(forwarded.answered(2, first), Some(Asked::Command(1))));
        assert!(forwarded.answered(2, first).is_none(), "a repetition");
        assert!(forwarded.give_up(Timestamp(10), |_| false).is_empty());
        assert_eq!(forwarded.give_up(Timestamp(10) + FORWARD_TIMEOUT, |_| false).len(), 1);
        assert!(forwarded.answered(2, second).is_none(), "too late");
        add(&mut forwarded, 0, 3, Asked::Quorum(Timestamp(0)));
        assert_eq!(forwarded.give_up(Timestamp(0), |to| to == 3).len(), 1);
        assert!(forwarded.take_all().is_empty());
    }
}
