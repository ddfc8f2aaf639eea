//! Lines of several hosts in the order of their times. Each host answers with its own lines in order, one host after
//! the other.

use trimaran_wire::v1::runner::{LogLine, LogLines};

/// Bytes of lines that are held until all hosts have answered. Of more than that each batch is printed as it comes.
const HELD_BYTES_MAX: usize = 64 << 20;

/// A line with the host that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostLine {
    pub(super) host: String,
    pub(super) line: LogLine,
}

/// Holds lines until their place is known.
#[derive(Debug)]
pub(super) struct Merge {
    held: Vec<HostLine>,
    bytes: usize,
    /// Lines are passed on as they come: a stream without an end, or more than is held.
    passes: bool,
}

impl Merge {
    /// Lines of a stream that is followed are passed on at once.
    pub(super) fn new(follow: bool) -> Self {
        Self { held: Vec::new(), bytes: 0, passes: follow }
    }

    /// Takes a batch in; the lines that are to be printed now.
    pub(super) fn add(&mut self, batch: LogLines) -> Vec<HostLine> {
        let host = batch.host;
        self.bytes += batch.lines.iter().map(|line| line.line.len()).sum::<usize>();
        self.held.extend(batch.lines.into_iter().map(|line| HostLine { host: host.clone(), line }));
        self.passes |= self.bytes > HELD_BYTES_MAX;
        if self.passes { self.rest() } else { Vec::new() }
    }

    /// What is held, in the order of time; lines of one host keep their order.
    pub(super) fn rest(&mut self) -> Vec<HostLine> {
        let mut lines = std::mem::take(&mut self.held);
        lines.sort_by_key(|it| it.line.at_ms);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(host: &str, times: &[i64]) -> LogLines {
        let line = |at_ms: &i64| LogLine {
            at_ms: *at_ms,
            stderr: false,
            release: None,
            line: format!("{host} {at_ms}"),
        };
        LogLines { host: host.to_owned(), lines: times.iter().map(line).collect(), missing: None }
    }

    fn texts(lines: Vec<HostLine>) -> Vec<String> {
        lines.into_iter().map(|it| it.line.line).collect()
    }

    #[test]
    fn hosts_are_merged_by_time() {
        let mut merge = Merge::new(false);
        assert!(merge.add(batch("a", &[1, 4])).is_empty());
        assert!(merge.add(batch("b", &[2, 3, 4])).is_empty());
        assert_eq!(texts(merge.rest()), ["a 1", "b 2", "b 3", "a 4", "b 4"]);
    }

    #[test]
    fn lines_that_are_followed_are_printed_as_they_come() {
        let mut merge = Merge::new(true);
        assert_eq!(texts(merge.add(batch("a", &[4]))), ["a 4"]);
        assert_eq!(texts(merge.add(batch("b", &[2]))), ["b 2"]);
    }
}
