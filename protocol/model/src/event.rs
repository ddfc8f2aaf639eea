//! Where an event is in the order of all events: a watcher resumes with what came after it.

use std::fmt;
use std::str::FromStr;

/// The revision whose entry made the event, and the event's number among those of the entry, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPosition {
    pub revision: u64,
    pub ordinal: u32,
}

impl EventPosition {
    /// After everything that the entry of `revision` made.
    pub fn end_of(revision: u64) -> Self {
        Self { revision, ordinal: u32::MAX }
    }
}

/// As users read and write it: `412.3`, and `412` for the end of a revision.
impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ordinal {
            u32::MAX => write!(f, "{}", self.revision),
            ordinal => write!(f, "{}.{ordinal}", self.revision),
        }
    }
}

/// Not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a position; write a revision such as 412, or the `position` of an event such as 412.3"
)]
pub struct InvalidPosition {
    text: String,
}

impl FromStr for EventPosition {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let position = match text.split_once('.') {
            None => text.parse().ok().map(Self::end_of),
            Some((revision, ordinal)) => revision
                .parse()
                .ok()
                .zip(ordinal.parse().ok())
                .map(|(revision, ordinal)| Self { revision, ordinal }),
        };
        position.ok_or_else(|| InvalidPosition { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        for (text, position) in [
            ("412.3", EventPosition { revision: 412, ordinal: 3 }),
            ("0.0", EventPosition { revision: 0, ordinal: 0 }),
            ("412", EventPosition::end_of(412)),
        ] {
            assert_eq!(text.parse(), Ok(position), "{text}");
            assert_eq!(position.to_string(), text);
        }
        for bad in ["", ".", "1.", ".1", "-1", "1.2.3", "1.99999999999", "a"] {
            assert!(bad.parse::<EventPosition>().is_err(), "{bad}");
        }
        let (event, end) = (EventPosition { revision: 7, ordinal: 9 }, EventPosition::end_of(7));
        assert!(event < end, "the end is after every event");
    }
}
