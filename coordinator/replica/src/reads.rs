//! Linearizable reads: a round of ReadIndex per step for all who asked, and again with a new number when
//! raft forgot it (it drops requests silently without a committed entry of its term, and on loss).

use std::collections::BTreeMap;

use crate::io::Waiter;

#[derive(Debug, Default)]
pub(crate) struct Reads {
    queued: Vec<Waiter>,
    /// By number of the round: who, and how many ticks it has waited.
    rounds: BTreeMap<u64, (Vec<Waiter>, usize)>,
    /// By the revision that they need.
    confirmed: BTreeMap<u64, Vec<Waiter>>,
    next_round: u64,
}

impl Reads {
    pub(crate) fn len(&self) -> usize {
        let rounds: usize = self.rounds.values().map(|(waiters, _)| waiters.len()).sum();
        self.queued.len() + rounds + self.confirmed.values().map(Vec::len).sum::<usize>()
    }

    pub(crate) fn add(&mut self, waiter: Waiter) {
        self.queued.push(waiter);
    }

    /// Starts a round for those who queue.
    pub(crate) fn start_round(&mut self) -> Option<u64> {
        if self.queued.is_empty() {
            return None;
        }
        self.next_round += 1;
        self.rounds.insert(self.next_round, (std::mem::take(&mut self.queued), 0));
        Some(self.next_round)
    }

    /// Puts those back into the queue whose round had no answer for `ticks`.
    pub(crate) fn tick(&mut self, ticks: usize) {
        let queued = &mut self.queued;
        self.rounds.retain(|_, (waiters, age)| {
            *age += 1;
            if *age >= ticks {
                queued.append(waiters);
            }
            *age < ticks
        });
    }

    pub(crate) fn confirm(&mut self, round: u64, index: u64) {
        if let Some((waiters, _)) = self.rounds.remove(&round) {
            self.confirmed.entry(index).or_default().extend(waiters);
        }
    }

    /// Those who may read at `applied`.
    pub(crate) fn ready(&mut self, applied: u64) -> Vec<Waiter> {
        if self.confirmed.first_key_value().is_none_or(|(index, _)| *index > applied) {
            return Vec::new();
        }
        let rest = self.confirmed.split_off(&(applied + 1));
        std::mem::replace(&mut self.confirmed, rest).into_values().flatten().collect()
    }

    /// Everyone without a confirmed revision.
    pub(crate) fn take_unconfirmed(&mut self) -> Vec<Waiter> {
        let mut all = std::mem::take(&mut self.queued);
        all.extend(std::mem::take(&mut self.rounds).into_values().flat_map(|(waiters, _)| waiters));
        all
    }

    pub(crate) fn take_all(&mut self) -> Vec<Waiter> {
        let mut all = self.take_unconfirmed();
        all.extend(std::mem::take(&mut self.confirmed).into_values().flatten());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_round_is_asked_again_and_its_late_answer_ignored() {
        let mut reads = Reads::default();
        reads.add(Waiter(1));
        reads.add(Waiter(2));
        assert_eq!(reads.start_round(), Some(1));
        assert_eq!(reads.start_round(), None);
        reads.tick(2);
        assert_eq!(reads.start_round(), None);
        reads.tick(2);
        assert_eq!(reads.start_round(), Some(2));
        reads.confirm(1, 5);
        assert!(reads.ready(9).is_empty());
        reads.confirm(2, 7);
        assert!(reads.ready(6).is_empty());
        assert_eq!(reads.ready(7), [Waiter(1), Waiter(2)]);
        assert_eq!(reads.len(), 0);
    }
}
