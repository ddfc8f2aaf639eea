//! The writing end, in the shim: from bytes of two pipes to records in files.
//!
//! A disk that is full or fails never blocks the service: lines are dropped, counted, and the count is written as
//! soon as there is space again. A disk that hangs does: its write does not return, and the pipe fills.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use trimaran_model::limits::{LOG_FILE_BYTES_MAX, LOG_FILES_KEPT, LOG_LINE_BYTES_MAX};

use super::format::{Record, encode};
use super::{file_name, sequence_numbers};

/// Records that are collected before they are written.
const PENDING_BYTES: usize = 32 * 1024;

/// Milliseconds since the Unix epoch; before it, zero.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The log files of one service.
pub(crate) struct Writer {
    directory: PathBuf,
    run: String,
    file_bytes_max: u64,
    open: Option<Open>,
    pending: Vec<u8>,
    pending_lines: u64,
    dropped: u64,
}

struct Open {
    file: File,
    number: u64,
    length: u64,
}

impl Writer {
    /// Lines from now on belong to `run`. A directory that can't be written to is tried again with each line.
    pub(crate) fn new(directory: PathBuf, run: &str) -> Self {
        Self::with_file_size(directory, run, LOG_FILE_BYTES_MAX)
    }

    pub(super) fn with_file_size(directory: PathBuf, run: &str, file_bytes_max: u64) -> Self {
        let run = run.replace(char::is_control, " ");
        let mut writer = Self {
            directory,
            run,
            file_bytes_max,
            open: None,
            pending: Vec::new(),
            pending_lines: 0,
            dropped: 0,
        };
        // A failure shows up again, and is counted, when there is a line.
        let _ = writer.ready(0);
        writer
    }

    /// Takes one line without its line break.
    pub(crate) fn line(&mut self, stderr: bool, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        encode(&mut self.pending, wall_ms(), &Record::Line { stderr, text: &text });
        self.pending_lines += 1;
        if self.pending.len() >= PENDING_BYTES {
            self.flush();
        }
    }

    /// Writes what was collected, or counts it as dropped.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        if self.write_pending().is_err() {
            self.dropped += self.pending_lines;
        }
        self.pending.clear();
        self.pending_lines = 0;
    }

    fn write_pending(&mut self) -> io::Result<()> {
        let mut bytes = Vec::new();
        if self.dropped > 0 {
            encode(&mut bytes, wall_ms(), &Record::Dropped(self.dropped));
        }
        // With the lines or not at all: a count alone would fill the last space of the disk again and again.
        bytes.append(&mut self.pending);
        let result = self.ready(bytes.len() as u64).and_then(|open| open.append(&bytes));
        if result.is_ok() {
            self.dropped = 0;
        }
        // The buffer is used again.
        self.pending = bytes;
        result
    }

    /// The file that has space for `bytes` more.
    fn ready(&mut self, bytes: u64) -> io::Result<&mut Open> {
        let full = self.open.as_ref().is_some_and(|open| open.length + bytes > self.file_bytes_max);
        if full || self.open.is_none() {
            let next = match self.open.take() {
                Some(open) => self.begin(open.number + 1),
                None => self.resume(bytes),
            };
            self.open = Some(next?);
        }
        Ok(self.open.as_mut().expect("set above"))
    }

    /// Continues the newest file of an earlier process, if it has space.
    fn resume(&mut self, bytes: u64) -> io::Result<Open> {
        std::fs::create_dir_all(&self.directory)?;
        let Some(number) = sequence_numbers(&self.directory)?.last().copied() else {
            return self.begin(1);
        };
        let path = self.directory.join(file_name(number));
        let file = OpenOptions::new().read(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        if length + bytes > self.file_bytes_max {
            return self.begin(number + 1);
        }
        let mut open = Open { number, length, file };
        let mut head = Vec::new();
        if length > 0 {
            let mut last = [0];
            open.file.seek(SeekFrom::End(-1))?;
            open.file.read_exact(&mut last)?;
            if last != *b"\n" {
                // An earlier shim was killed in the middle of a record.
                head.push(b'\n');
            }
        }
        encode(&mut head, wall_ms(), &Record::Run(&self.run));
        open.append(&head)?;
        Ok(open)
    }

    fn begin(&mut self, number: u64) -> io::Result<Open> {
        std::fs::create_dir_all(&self.directory)?;
        // Old files go first: on a full disk that makes the space.
        let keep_from = (number + 1).saturating_sub(LOG_FILES_KEPT as u64);
        for old in sequence_numbers(&self.directory)?.into_iter().filter(|old| *old < keep_from) {
            std::fs::remove_file(self.directory.join(file_name(old)))?;
        }
        let path = self.directory.join(file_name(number));
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let length = file.metadata()?.len();
        let mut open = Open { file, number, length };
        let mut head = Vec::new();
        encode(&mut head, wall_ms(), &Record::Run(&self.run));
        open.append(&head)?;
        Ok(open)
    }
}

impl Open {
    /// Writes all of it or nothing.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                // Half a record is worse than none; a reader skips it where even this fails.
                let _ = self.file.set_len(self.length);
                Err(error)
            }
        }
    }
}

/// Cuts the bytes of one pipe into lines.
#[derive(Default)]
pub(crate) struct LineBuffer {
    partial: Vec<u8>,
}

impl LineBuffer {
    /// Takes bytes as they came and returns whole lines, and pieces of lines that are too long.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add(&bytes[..end], &mut line);
            line(&self.partial);
            self.partial.clear();
            bytes = &bytes[end + 1..];
        }
        self.add(bytes, &mut line);
    }

    /// Returns what came without a line break at the end.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial = Vec::new();
        }
    }

    fn add(&mut self, bytes: &[u8], line: &mut impl FnMut(&[u8])) {
        self.partial.extend_from_slice(bytes);
        while self.partial.len() > LOG_LINE_BYTES_MAX {
            let cut = character_boundary(&self.partial, LOG_LINE_BYTES_MAX);
            line(&self.partial[..cut]);
            self.partial.drain(..cut);
        }
    }
}

/// The last place at or before `at` that is not inside of a UTF-8 character.
fn character_boundary(bytes: &[u8], at: usize) -> usize {
    let inside = |place: &usize| bytes[*place] & 0xc0 == 0x80;
    (at.saturating_sub(3)..=at).rev().find(|place| !inside(place)).unwrap_or(at)
}
