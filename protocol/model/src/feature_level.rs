//! Feature levels: how coordinators of two builds work in one cluster. The cluster has one level, a number in its state; each
//! build supports a range of them. What the state machine does follows the cluster's level and never the build, so that every
//! member does the same, and each can be replaced by the build before until the level is raised.
//!
//! | level | what it brings |
//! |---|---|
//! | 1 | what every build has |
//! | 2 | tokens with which many runners enrol |
//!
//! Deliberately not here: which command needs which level (`trimaran-wire`), and when the level is raised (`trimaran-engine`).

use std::fmt;

/// The levels that this build supports.
pub const SUPPORTED: Levels = Levels { min: FIRST, max: MANY_RUNNERS };

/// The level of a cluster whose level was never raised.
pub const FIRST: u16 = 1;
/// Tokens with which many runners enrol.
pub const MANY_RUNNERS: u16 = 2;

/// A range of levels, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    pub min: u16,
    pub max: u16,
}

impl Levels {
    /// None above `max`, where that leaves one.
    pub fn at_most(self, max: u16) -> Option<Self> {
        (max >= self.min).then(|| Self { max: max.min(self.max), ..self })
    }

    pub fn contains(self, level: u16) -> bool {
        (self.min..=self.max).contains(&level)
    }
}

impl fmt::Display for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{} to {}", self.min, self.max)
        }
    }
}

/// The highest level that a member supports, which is the one to raise to, and the members that do not support it.
/// `None` when the cluster has it.
pub fn next<N>(level: u16, members: impl IntoIterator<Item = (N, Levels)>) -> Option<(u16, Vec<N>)> {
    let members: Vec<(N, Levels)> = members.into_iter().collect();
    let highest = members.iter().map(|(_, levels)| levels.max).max().filter(|highest| *highest > level)?;
    let lacking = members.into_iter().filter(|(_, levels)| !levels.contains(highest));
    Some((highest, lacking.map(|(name, _)| name).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(min: u16, max: u16) -> Levels {
        Levels { min, max }
    }

    #[test]
    fn the_next_level_is_the_newest_one_and_names_who_lacks_it() {
        let mixed = [("c1", levels(1, 2)), ("c2", levels(1, 1)), ("c3", levels(1, 2))];
        assert_eq!(next(1, mixed), Some((2, vec!["c2"])));
        assert_eq!(next(1, [("c1", levels(1, 2)), ("c2", levels(2, 2))]), Some((2, Vec::new())));
        assert_eq!(next(2, mixed), None, "it has what the newest build brings");
        assert_eq!(next(1, [("c1", levels(1, 1))]), None);
    }

    #[test]
    fn a_range_is_cut_where_something_is_left_of_it() {
        assert_eq!(levels(1, 3).at_most(2), Some(levels(1, 2)));
        assert_eq!(levels(1, 3).at_most(9), Some(levels(1, 3)));
        assert_eq!(levels(2, 3).at_most(1), None);
        assert_eq!([levels(1, 3), levels(2, 2)].map(|it| it.to_string()), ["1 to 3", "2"]);
    }
}
