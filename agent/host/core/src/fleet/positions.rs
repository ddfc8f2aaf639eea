//! A set of small numbers that knows its n-th member: a tree of partial sums, by P. Fenwick, "A new data structure for
//! cumulative frequency tables" (1994).

/// Positions below a fixed bound. Each step costs the logarithm of the bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Positions {
    /// Node `i`, from 1, counts the members of the `i & -i` positions up to `i - 1`.
    sums: Vec<u32>,
    len: u32,
}

impl Positions {
    /// An empty set of positions from 0 to `bound - 1`.
    pub(super) fn below(bound: usize) -> Self {
        Self { sums: vec![0; bound + 1], len: 0 }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Adds a position that is not a member.
    pub(super) fn insert(&mut self, position: u32) {
        self.len += 1;
        self.update(position, |sum| sum + 1);
    }

    /// Removes a member.
    pub(super) fn remove(&mut self, position: u32) {
        self.len -= 1;
        self.update(position, |sum| sum - 1);
    }

    fn update(&mut self, position: u32, change: impl Fn(u32) -> u32) {
        let mut node = position as usize + 1;
        while node < self.sums.len() {
            self.sums[node] = change(self.sums[node]);
            node += node & node.wrapping_neg();
        }
    }

    /// The member that `n` others are below of.
    pub(super) fn nth(&self, n: u32) -> Option<u32> {
        if n >= self.len {
            return None;
        }
        let (mut below, mut rest) = (0, n);
        let mut step = self.sums.len().next_power_of_two() / 2;
        while step > 0 {
            if let Some(sum) = self.sums.get(below + step).filter(|sum| **sum <= rest) {
                rest -= sum;
                below += step;
            }
            step /= 2;
        }
        u32::try_from(below).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Positions;

    proptest! {
        #[test]
        fn the_nth_member_is_that_of_a_sorted_list(bound in 1usize..70, steps in prop::collection::vec(0u32..70, 0..200)) {
            let (mut set, mut model) = (Positions::below(bound), BTreeSet::new());
            for step in steps {
                let position = step % u32::try_from(bound).unwrap();
                if model.remove(&position) {
                    set.remove(position);
                } else {
                    model.insert(position);
                    set.insert(position);
                }
                let sorted: Vec<u32> = (0..=set.len()).filter_map(|n| set.nth(n)).collect();
                prop_assert_eq!(sorted, model.iter().copied().collect::<Vec<u32>>());
                prop_assert_eq!(set.len() as usize, model.len());
            }
        }
    }
}
