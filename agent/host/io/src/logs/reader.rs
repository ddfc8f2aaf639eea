//! The reading end, in the runner: batches of lines that match a query, in order, with bounded memory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinHandle;
use trimaran_model::limits::{LOG_BATCH_BYTES_MAX, LOG_BATCH_LINES_MAX, LOG_LINE_BYTES_MAX};
use trimaran_wire::v1::runner::{LogLine, LogQuery};

use super::format::{Record, decode, split_owner};
use super::{file_name, sequence_numbers};

/// How often a reader that follows checks for new lines.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(150);
/// A record is a line with its head, where each byte may have become a replacement character.
const RECORD_BYTES_MAX: u64 = 3 * LOG_LINE_BYTES_MAX as u64 + 64;

/// Reads the lines in `directory` that `query` asks for. Names of pipeline and target are not checked: the
/// directory belongs to one installation.
pub fn open(directory: &Path, query: &LogQuery) -> Reader {
    let cursor = Cursor {
        directory: directory.to_owned(),
        filter: Filter { run: query.run.clone(), release: query.release, since_ms: query.since_ms },
        skip: Skip::NotCounted(query.tail),
        at: None,
        run: None,
        release: None,
    };
    Reader { idle: Some(cursor), busy: None, follow: query.follow }
}

/// An answer in progress. Files are read on threads that may block, a batch when it is asked for.
pub struct Reader {
    idle: Option<Cursor>,
    busy: Option<JoinHandle<(Cursor, Vec<LogLine>)>>,
    follow: bool,
}

impl Reader {
    /// The next lines; `None` is the end of an answer that does not follow.
    ///
    /// May be dropped and called again: no line is lost.
    pub async fn next(&mut self) -> Option<Vec<LogLine>> {
        loop {
            if let Some(mut cursor) = self.idle.take() {
                self.busy = Some(tokio::task::spawn_blocking(move || {
                    let lines = cursor.batch();
                    (cursor, lines)
                }));
            }
            // Neither idle nor busy is the end.
            let read = self.busy.as_mut()?.await;
            self.busy = None;
            // A panic of the thread ends the answer.
            let (cursor, lines) = read.ok()?;
            if lines.is_empty() && !self.follow {
                return None;
            }
            self.idle = Some(cursor);
            if !lines.is_empty() {
                return Some(lines);
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }
}

#[derive(Clone)]
struct Filter {
    run: Option<String>,
    release: Option<[u8; 32]>,
    since_ms: Option<i64>,
}

/// Lines to leave out so that only the last ones remain.
enum Skip {
    /// `tail` of the query.
    NotCounted(Option<u32>),
    Lines(u64),
}

/// A place in the files.
struct Cursor {
    directory: PathBuf,
    filter: Filter,
    skip: Skip,
    at: Option<Place>,
    /// The run that the lines at this place belong to, and the release of the process that wrote them.
    run: Option<String>,
    release: Option<[u8; 32]>,
}

struct Place {
    number: u64,
    reader: BufReader<File>,
    /// The beginning of a record whose end is not written yet.
    partial: Vec<u8>,
}

impl Cursor {
    /// Lines up to the bounds of a batch; none when there are none now.
    fn batch(&mut self) -> Vec<LogLine> {
        if let Skip::NotCounted(tail) = self.skip {
            self.skip = Skip::Lines(tail.map_or(0, |tail| self.count().saturating_sub(u64::from(tail))));
        }
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.len() < LOG_BATCH_LINES_MAX && bytes < LOG_BATCH_BYTES_MAX {
            let Some(line) = self.next_line() else { break };
            if let Skip::Lines(left @ 1..) = &mut self.skip {
                *left -= 1;
                continue;
            }
            bytes += line.line.len();
            lines.push(line);
        }
        lines
    }

    /// All lines that match now. Counting first keeps memory flat whatever `tail` is.
    fn count(&self) -> u64 {
        let (directory, filter) = (self.directory.clone(), self.filter.clone());
        let mut counting =
            Self { directory, filter, skip: Skip::Lines(0), at: None, run: None, release: None };
        std::iter::from_fn(|| counting.next_line()).fold(0, |count, _| count + 1)
    }

    fn next_line(&mut self) -> Option<LogLine> {
        loop {
            let record = self.next_record()?;
            let text = String::from_utf8_lossy(&record);
            let Some((at_ms, record)) = decode(&text) else { continue };
            let (stderr, line) = match record {
                Record::Run(owner) => {
                    let (run, release) = split_owner(owner);
                    (self.run, self.release) = (Some(run.to_owned()), release);
                    continue;
                }
                Record::Line { stderr, text } => (stderr, text.to_owned()),
                Record::Dropped(count) => (true, format!("({count} lines were lost: the disk was full)")),
            };
            if self.matches(at_ms) {
                return Some(LogLine { at_ms, stderr, release: self.release, line });
            }
        }
    }

    fn matches(&self, at_ms: i64) -> bool {
        let Filter { run, release, since_ms } = &self.filter;
        let of_run = run.is_none() || *run == self.run;
        // Of lines whose release is not known the run decides.
        let of_release = release.is_none() || self.release.is_none() || *release == self.release;
        of_run && of_release && since_ms.is_none_or(|since| at_ms >= since)
    }

    /// The next whole record of this file or the files after it.
    fn next_record(&mut self) -> Option<Vec<u8>> {
        if self.at.is_none() {
            self.at = self.file_after(0);
        }
        loop {
            let place = self.at.as_mut()?;
            if let Some(record) = place.record() {
                return Some(record);
            }
            let number = place.number;
            let next = self.file_after(number)?;
            // The writer has left the file; what it wrote last came maybe after the check above.
            if let Some(record) = self.at.as_mut()?.record() {
                return Some(record);
            }
            self.at = Some(next);
        }
    }

    fn file_after(&self, number: u64) -> Option<Place> {
        let numbers = sequence_numbers(&self.directory).ok()?;
        // A file may be removed between the listing and the opening; then the one after it is next.
        numbers
            .into_iter()
            .filter(|next| *next > number)
            .find_map(|next| Place::open(&self.directory, next).ok())
    }
}

impl Place {
    fn open(directory: &Path, number: u64) -> io::Result<Self> {
        let file = File::open(directory.join(file_name(number)))?;
        Ok(Self { number, reader: BufReader::with_capacity(LOG_LINE_BYTES_MAX, file), partial: Vec::new() })
    }

    /// The next record without its line break. A file that can't be read counts as ended.
    fn record(&mut self) -> Option<Vec<u8>> {
        let room = RECORD_BYTES_MAX.saturating_sub(self.partial.len() as u64);
        let read = self.reader.by_ref().take(room).read_until(b'\n', &mut self.partial).ok()?;
        if self.partial.last() == Some(&b'\n') {
            self.partial.pop();
            return Some(std::mem::take(&mut self.partial));
        }
        if read > 0 && self.partial.len() as u64 >= RECORD_BYTES_MAX {
            // Nothing that a shim writes; the pieces are skipped as no records.
            return Some(std::mem::take(&mut self.partial));
        }
        None
    }
}
