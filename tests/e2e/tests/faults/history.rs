//! What clients saw of one value that changes, and whether one value in one place could have shown it: linearizability.
//!
//! Each write has a value of its own, so there is no search. All operations of one value span a zone: from the first end of one
//! to the last begin of one. Where that runs forwards, the value was certainly there throughout; where it runs backwards, they all
//! overlap, and any moment between may be theirs. Such a history is linearizable just when no two forward zones overlap and no
//! backward zone lies inside of a forward one (Gibbons and Korach, "Testing Shared Memories", 1997).

use std::collections::BTreeMap;
use std::time::Instant;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Write,
    Read,
}

/// One operation of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    pub(crate) value: u64,
    pub(crate) began: Instant,
    /// `None`: whether it was done is unknown.
    pub(crate) ended: Option<Instant>,
}

/// All operations of one value.
#[derive(Debug, Clone, Copy)]
struct Zone {
    value: u64,
    first_end: Instant,
    last_begin: Instant,
}

impl Zone {
    fn is_forward(&self) -> bool {
        self.first_end < self.last_begin
    }

    fn begin(&self) -> Instant {
        self.first_end.min(self.last_begin)
    }

    fn end(&self) -> Instant {
        self.first_end.max(self.last_begin)
    }
}

/// Why no single place could have shown this.
pub(crate) fn contradiction(history: &[Operation]) -> Option<String> {
    let mut writes = BTreeMap::new();
    for write in history.iter().filter(|it| it.kind == Kind::Write) {
        assert!(writes.insert(write.value, *write).is_none(), "each write has a value of its own");
    }
    let mut zones: BTreeMap<u64, Zone> = BTreeMap::new();
    let reads = history.iter().filter(|it| it.kind == Kind::Read);
    for operation in reads.chain(writes.values().filter(|write| write.ended.is_some())) {
        let value = operation.value;
        let ended = operation.ended.expect("a read that shows something has ended");
        let Some(write) = writes.get(&value) else {
            return Some(format!("{value} was read and never written"));
        };
        if ended < write.began {
            return Some(format!("{value} was read before it was written"));
        }
        let zone =
            zones.entry(value).or_insert(Zone { value, first_end: ended, last_begin: operation.began });
        zone.first_end = zone.first_end.min(ended);
        zone.last_begin = zone.last_begin.max(operation.began).max(write.began);
    }
    let (mut forward, backward): (Vec<Zone>, Vec<Zone>) = zones.into_values().partition(Zone::is_forward);
    forward.sort_by_key(Zone::begin);
    if let Some(pair) = forward.windows(2).find(|pair| pair[1].begin() < pair[0].end()) {
        return Some(format!("{} and {} were there at the same time", pair[0].value, pair[1].value));
    }
    let inside = |zone: &Zone| {
        let holds = |of: &&Zone| of.begin() < zone.begin() && zone.end() < of.end();
        forward.iter().find(holds).map(|of| (of.value, zone.value))
    };
    let (of, value) = backward.iter().find_map(inside)?;
    Some(format!("{value} was there, begun and ended while {of} was"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// `W1 0 5`: a write of 1 from 0 to 5 ms; `W2 3 ?`: one whose end is unknown.
    fn history(text: &str) -> Vec<Operation> {
        let start = Instant::now();
        let at = |word: &str| word.parse().ok().map(|ms| start + Duration::from_millis(ms));
        let one = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (kind, value) = words[0].split_at(1);
            Operation {
                kind: if kind == "W" { Kind::Write } else { Kind::Read },
                value: value.parse().expect("a number"),
                began: at(words[1]).expect("a time"),
                ended: at(words[2]),
            }
        };
        text.split(',').map(one).collect()
    }

    #[test]
    fn what_one_place_could_have_shown_is_accepted() {
        for text in [
            "W1 0 5, R1 6 7, W2 8 9, R2 10 11",
            // Both may be first.
            "W1 0 10, W2 0 10, R1 12 13",
            "W1 0 10, W2 0 10, R2 12 13",
            // While it is written either may be seen.
            "W1 0 5, W2 6 20, R1 8 9, R2 10 11",
            "W1 0 5, W2 6 ?, R1 8 9, R2 30 31",
            "W1 0 5, W2 6 ?, R1 30 31",
        ] {
            assert_eq!(contradiction(&history(text)), None, "{text}");
        }
    }

    #[test]
    fn what_no_place_could_have_shown_is_found() {
        for text in [
            // A stale read, a lost write, one that comes back, one from nowhere, and one from the future.
            "W1 0 5, W2 6 9, R1 10 11",
            "W1 0 5, W2 6 9, R1 10 11, R2 12 13",
            "W1 0 5, W2 6 20, R2 8 9, R1 10 11",
            "W1 0 5, R3 6 7",
            "R1 0 1, W1 2 3",
            "W1 0 5, W2 6 ?, R2 8 9, R1 10 11",
        ] {
            assert!(contradiction(&history(text)).is_some(), "{text}");
        }
    }
}
