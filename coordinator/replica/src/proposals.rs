//! Who waits for which entry. An entry is known by term and index: another term at its index means that it
//! is lost for good; nothing else does.

use std::collections::BTreeMap;

use trimaran_model::time::{Millis, Timestamp};

use crate::io::Waiter;
use crate::state_machine::EntryMeta;

#[derive(Debug, Default)]
pub(crate) struct Proposals {
    /// By index.
    waiting: BTreeMap<u64, (u64, Waiter)>,
    lost_leadership: Option<Timestamp>,
}

/// What became of a waiter when an entry was applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// The entry is its own.
    Own(Waiter),
    /// Another entry took the place: the waiter's one was never applied and will not be.
    Lost(Waiter),
    NoOne,
}

impl Proposals {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns who waited for an entry that was to stand at the same index in an earlier term.
    pub(crate) fn add(&mut self, entry: EntryMeta, waiter: Waiter) -> Option<Waiter> {
        self.waiting.insert(entry.index, (entry.term, waiter)).map(|(_, before)| before)
    }

    pub(crate) fn resolve(&mut self, entry: EntryMeta) -> Resolved {
        match self.waiting.remove(&entry.index) {
            Some((term, waiter)) if term == entry.term || mutant!(ReplyByIndex) => Resolved::Own(waiter),
            Some((_, waiter)) => Resolved::Lost(waiter),
            None => Resolved::NoOne,
        }
    }

    /// Remembers when the outcome of what waits became uncertain, or that it is certain again.
    pub(crate) fn leadership(&mut self, held: bool, now: Timestamp) {
        self.lost_leadership = if held { None } else { self.lost_leadership.or(Some(now)) };
    }

    /// Whether the outcome of what waits stayed unknown for `after`.
    pub(crate) fn is_overdue(&self, now: Timestamp, after: Millis) -> bool {
        self.lost_leadership.is_some_and(|since| now - since >= after)
    }

    /// Those up to `index`, whose entries came with a snapshot.
    pub(crate) fn skipped(&mut self, index: u64) -> Vec<Waiter> {
        let rest = self.waiting.split_off(&(index + 1));
        std::mem::replace(&mut self.waiting, rest).into_values().map(|(_, waiter)| waiter).collect()
    }

    pub(crate) fn take_all(&mut self) -> Vec<Waiter> {
        std::mem::take(&mut self.waiting).into_values().map(|(_, waiter)| waiter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(index: u64, term: u64) -> EntryMeta {
        EntryMeta { index, term }
    }

    #[test]
    fn only_the_own_term_is_success() {
        let mut proposals = Proposals::default();
        proposals.add(meta(4, 2), Waiter(1));
        proposals.add(meta(5, 2), Waiter(2));
        assert_eq!(proposals.resolve(meta(4, 2)), Resolved::Own(Waiter(1)));
        assert_eq!(proposals.resolve(meta(5, 3)), Resolved::Lost(Waiter(2)));
        assert_eq!(proposals.resolve(meta(6, 3)), Resolved::NoOne);
    }

    #[test]
    fn the_outcome_is_awaited_for_a_while_after_leadership() {
        let mut proposals = Proposals::default();
        proposals.add(meta(4, 2), Waiter(1));
        assert!(!proposals.is_overdue(Timestamp(9_999), Millis(100)));
        proposals.leadership(false, Timestamp(1_000));
        proposals.leadership(false, Timestamp(1_050));
        assert!(!proposals.is_overdue(Timestamp(1_099), Millis(100)));
        assert!(proposals.is_overdue(Timestamp(1_100), Millis(100)));
        assert_eq!(proposals.take_all(), [Waiter(1)]);
    }

    #[test]
    fn a_snapshot_resolves_what_it_covers() {
        let mut proposals = Proposals::default();
        proposals.add(meta(4, 2), Waiter(1));
        proposals.add(meta(5, 2), Waiter(2));
        assert_eq!(proposals.skipped(4), [Waiter(1)]);
        assert_eq!(proposals.len(), 1);
    }
}
