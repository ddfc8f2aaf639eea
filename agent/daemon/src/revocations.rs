//! What a process knows of keys that count no more, and its text: it is kept for the next start, whose peers come before
//! anyone has said it again.
//!
//! | line | meaning |
//! |---|---|
//! | `known INCARNATION NUMBER` | the revocations of this incarnation of the cluster are known up to the number; agents only |
//! | `KEY UNTIL` | the key is refused until then, in milliseconds since 1970 |
//! | `KEY UNTIL agent` | as before; it was one of the agent's own |
//! | `issuer KEY` | a key with which a coordinator signs or signed |
//!
//! Not here: where the text is kept, and what follows from a key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use trimaran_model::id::Digest;
use trimaran_model::time::WallTime;

/// A revoked key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revoked {
    pub(crate) until: WallTime,
    /// One that the agent's own name had before.
    pub(crate) of_agent: bool,
}

/// Keys that count no more, and those of coordinators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Revocations {
    /// An incarnation of the cluster, and the number up to which its revocations are known.
    pub(crate) known: (u64, u64),
    /// By SHA-256 of the public key.
    pub(crate) keys: BTreeMap<[u8; 32], Revoked>,
    pub(crate) issuers: BTreeSet<[u8; 32]>,
}

impl Revocations {
    /// Reads a text; `None` when it is none of this kind.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut read = Self::default();
        for line in text.lines() {
            match *line.split(' ').collect::<Vec<_>>() {
                ["known", incarnation, number] => {
                    read.known = (incarnation.parse().ok()?, number.parse().ok()?);
                }
                ["issuer", key] => drop(read.issuers.insert(key.parse::<Digest>().ok()?.0)),
                [key, until, ref more @ ..] if more.is_empty() || *more == ["agent"] => {
                    let revoked =
                        Revoked { until: WallTime(until.parse().ok()?), of_agent: !more.is_empty() };
                    read.keys.insert(key.parse::<Digest>().ok()?.0, revoked);
                }
                _ => return None,
            }
        }
        Some(read)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |arguments: std::fmt::Arguments<'_>| {
            writeln!(text, "{arguments}").expect("a string takes everything");
        };
        if self.known != (0, 0) {
            line(format_args!("known {} {}", self.known.0, self.known.1));
        }
        for key in &self.issuers {
            line(format_args!("issuer {}", Digest(*key)));
        }
        for (key, Revoked { until, of_agent }) in &self.keys {
            line(format_args!("{} {}{}", Digest(*key), until.0, if *of_agent { " agent" } else { "" }));
        }
        text
    }

    /// Adds keys, and forgets those whose time is over; true when there are new ones among them.
    pub(crate) fn add(&mut self, now: WallTime, keys: impl IntoIterator<Item = ([u8; 32], Revoked)>) -> bool {
        self.keys.retain(|_, key| key.until >= now);
        let mut new = false;
        for (key, revoked) in keys.into_iter().filter(|(_, revoked)| revoked.until >= now) {
            new |= self.keys.insert(key, revoked).is_none();
        }
        new
    }

    /// Leaves the `max` keys that are refused for longest; whether that were all.
    pub(crate) fn keep(&mut self, max: usize) -> bool {
        let Some(over) = self.keys.len().checked_sub(max).filter(|over| *over > 0) else { return true };
        let mut ends: Vec<_> = self.keys.iter().map(|(key, revoked)| (revoked.until, *key)).collect();
        ends.sort_unstable();
        for (_, key) in &ends[..over] {
            self.keys.remove(key);
        }
        false
    }

    /// For the handshakes of a process.
    pub(crate) fn ends(&self) -> impl Iterator<Item = ([u8; 32], WallTime)> {
        self.keys.iter().map(|(key, revoked)| (*key, revoked.until))
    }

    /// The keys of coordinators that were removed.
    pub(crate) fn revoked_issuers(&self) -> impl Iterator<Item = ([u8; 32], WallTime)> {
        self.ends().filter(|(key, _)| self.issuers.contains(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoked(until: i64, of_agent: bool) -> Revoked {
        Revoked { until: WallTime(until), of_agent }
    }

    #[test]
    fn a_text_is_read_as_it_was_written() {
        let mut it = Revocations { known: (7, 9), ..Revocations::default() };
        assert!(it.add(WallTime(0), [([1; 32], revoked(10, false)), ([2; 32], revoked(20, true))]));
        it.issuers.extend([[1; 32], [3; 32]]);
        assert_eq!(Revocations::parse(&it.text()).as_ref(), Some(&it));
        assert_eq!(it.revoked_issuers().collect::<Vec<_>>(), [([1; 32], WallTime(10))]);
        assert_eq!(Revocations::parse(""), Some(Revocations::default()));
        let key = Digest([1; 32]);
        for text in ["half a li", "known 1", "issuer x", &format!("{key}"), &format!("{key} 1 runner")] {
            assert_eq!(Revocations::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_over_is_forgotten_and_of_too_many_the_last_ones_are_kept() {
        let mut it = Revocations::default();
        assert!(it.add(WallTime(0), [([1; 32], revoked(10, false)), ([2; 32], revoked(20, false))]));
        assert!(!it.add(WallTime(5), [([2; 32], revoked(20, false)), ([3; 32], revoked(4, false))]));
        assert!(it.add(WallTime(15), [([4; 32], revoked(40, false)), ([5; 32], revoked(30, false))]));
        assert!(it.keep(3));
        assert!(!it.keep(2));
        assert_eq!(it.keys.keys().map(|key| key[0]).collect::<Vec<_>>(), [4, 5]);
    }
}
