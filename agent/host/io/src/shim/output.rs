//! The pipes of a service and what becomes of its lines, on the shim's side.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::OwnedFd;
use std::process::{ChildStderr, ChildStdout};

use rustix::event::{PollFd, PollFlags};

use super::state::TAIL;
use crate::logs::writer::{LineBuffer, Writer};

const PIPE_READ_BYTES: usize = 16 * 1024;
/// Reads of what is left in a pipe at the end; a pipe holds at most 1 MiB (`fs.pipe-max-size`).
const LAST_READS_MAX: usize = 64;

/// What becomes of the lines.
pub(super) enum Sink {
    Log(Writer),
    /// The last bytes of all lines.
    Tail(Vec<u8>),
}

/// Bytes that are kept of the output of a command beside a service.
const TAIL_BYTES: usize = 1024;

impl Sink {
    fn line(&mut self, stderr: bool, line: &[u8]) {
        match self {
            Self::Log(log) => log.line(stderr, line),
            Self::Tail(tail) => {
                tail.extend_from_slice(line);
                tail.push(b'\n');
                // Rarely, since each time moves all that is kept.
                if tail.len() > 4 * TAIL_BYTES {
                    tail.drain(..tail.len() - TAIL_BYTES);
                }
            }
        }
    }

    fn flush(&mut self) {
        if let Self::Log(log) = self {
            log.flush();
        }
    }

    /// Leaves the tail where the runner reads it.
    fn keep_tail(&self) {
        if let Self::Tail(tail) = self {
            // Words for people: without space on the disk there are none.
            let _ = std::fs::write(TAIL, &tail[tail.len().saturating_sub(TAIL_BYTES)..]);
        }
    }
}

/// The pipes of the service and what is behind them.
pub(super) struct Output {
    log: Sink,
    pipes: Vec<Pipe>,
    buffer: Vec<u8>,
}

struct Pipe {
    stderr: bool,
    /// `None` once it has ended.
    file: Option<File>,
    lines: LineBuffer,
}

impl Output {
    pub(super) fn new(log: Sink, stdout: Option<ChildStdout>, stderr: Option<ChildStderr>) -> Self {
        let pipe = |stderr, file: Option<OwnedFd>| Pipe {
            stderr,
            file: file.map(File::from),
            lines: LineBuffer::default(),
        };
        let pipes = vec![pipe(false, stdout.map(OwnedFd::from)), pipe(true, stderr.map(OwnedFd::from))];
        Self { log, pipes, buffer: vec![0; PIPE_READ_BYTES] }
    }

    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        for file in self.pipes.iter().filter_map(|pipe| pipe.file.as_ref()) {
            rustix::io::ioctl_fionbio(file, true)?;
        }
        Ok(())
    }

    pub(super) fn poll_on<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        let open = self.pipes.iter().filter_map(|pipe| pipe.file.as_ref());
        fds.extend(open.map(|file| PollFd::new(file, PollFlags::IN)));
    }

    /// Reads once from each pipe that has something; `ready` is in the order of [`Output::poll_on`].
    pub(super) fn read(&mut self, ready: &[bool]) {
        let open = self.pipes.iter_mut().filter(|pipe| pipe.file.is_some());
        for (pipe, _) in open.zip(ready).filter(|(_, ready)| **ready) {
            pipe.read(&mut self.buffer, &mut self.log);
        }
        self.log.flush();
    }

    /// Takes what is still in the pipes, and lines without an end. `last` becomes the last line of stderr.
    pub(super) fn finish(&mut self, last: Option<String>) {
        for pipe in &mut self.pipes {
            for _ in 0..LAST_READS_MAX {
                if !pipe.read(&mut self.buffer, &mut self.log) {
                    break;
                }
            }
            let stderr = pipe.stderr;
            pipe.lines.finish(|line| self.log.line(stderr, line));
        }
        // Of a command the runner itself says how it ended.
        if let (Some(last), Sink::Log(log)) = (last, &mut self.log) {
            log.line(true, last.as_bytes());
        }
        self.log.flush();
        self.log.keep_tail();
    }
}

impl Pipe {
    /// False when there is nothing more now.
    fn read(&mut self, buffer: &mut [u8], log: &mut Sink) -> bool {
        let Some(file) = &mut self.file else { return false };
        match file.read(buffer) {
            Ok(0) => self.file = None,
            Ok(count) => {
                let stderr = self.stderr;
                self.lines.push(&buffer[..count], |line| log.line(stderr, line));
                return true;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.file = None,
        }
        false
    }
}
