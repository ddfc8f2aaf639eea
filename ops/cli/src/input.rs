//! What a user named as a file: a file on disk, `-` for stdin, or a pipe such as the shell's `<(command)`. It is read
//! within a bound.
//!
//! Deliberately not here: folders, and what the bytes mean.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use trimaran_model::error_code;

use crate::error::CliError;

/// The name of a path that means stdin.
pub(crate) const STDIN: &str = "-";

/// How long a named pipe may have no writer; one that the shell makes has its own before we start.
const WRITER: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A source that is read as far as it is asked to.
pub(crate) struct Input {
    source: Box<dyn Read>,
    /// Of a file on disk.
    length: Option<u64>,
    bytes: Vec<u8>,
}

impl Input {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new(STDIN) {
            return Ok(Self { source: Box::new(io::stdin().lock()), length: None, bytes: Vec::new() });
        }
        open(path)
    }

    /// Whether there are more than `bytes_max` bytes, as far as that is known without reading them.
    pub(crate) fn is_over(&self, bytes_max: usize) -> bool {
        self.bytes.len() > bytes_max || self.length.is_some_and(|length| length > bytes_max as u64)
    }

    /// The first bytes, or all: one more than `bytes_max` at most, which tells that there are too many.
    pub(crate) fn read_to(&mut self, bytes_max: usize) -> io::Result<&[u8]> {
        let more = (bytes_max + 1).saturating_sub(self.bytes.len());
        self.source.by_ref().take(more as u64).read_to_end(&mut self.bytes)?;
        Ok(&self.bytes)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The error of a command that needs what `name` names, with its position.
pub(crate) fn unreadable(name: &str, error: &io::Error) -> CliError {
    let found = CliError::new(error_code::UNREADABLE, format!("`{name}` can't be read"))
        .cause(error.to_string())
        .at(name, 1, 1);
    match error.kind() {
        io::ErrorKind::NotFound if name == "trimaran.yaml" => {
            found.help("name the file, or write a first one with `trimaran init`")
        }
        io::ErrorKind::NotFound => found.help("check the path; it starts at the current directory"),
        io::ErrorKind::PermissionDenied => found.help("make the file readable for you"),
        io::ErrorKind::IsADirectory => found.help("name the files in it"),
        _ => found,
    }
}

/// Opens a file or a pipe. Nothing else is read: a device has no end.
fn open(path: &Path) -> io::Result<Input> {
    // A named pipe opens without waiting for a writer this way.
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    let found = file.metadata()?;
    let kind = found.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    if kind.is_char_device() || kind.is_block_device() {
        return Err(io::Error::other("it is a device, not a file"));
    }
    if !kind.is_fifo() {
        return Ok(Input { source: Box::new(file), length: Some(found.len()), bytes: Vec::new() });
    }
    let bytes = first_byte(&mut file)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? & !OFlags::NONBLOCK)?;
    Ok(Input { source: Box::new(file), length: None, bytes })
}

/// What a pipe holds already, a byte at most; an error when it has no writer and gets none.
fn first_byte(pipe: &mut File) -> io::Result<Vec<u8>> {
    let mut byte = vec![0];
    match pipe.read(&mut byte) {
        Ok(0) => {
            // The end: its writer is gone, which is known at once, or there was never one.
            if poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&WRITER))? == 0 {
                return Err(io::Error::other("it is a pipe that no process writes to"));
            }
            Ok(Vec::new())
        }
        Ok(_) => Ok(byte),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn fifo(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("made");
        path
    }

    fn cause(path: &Path) -> String {
        Input::open(path).err().expect("refused").to_string()
    }

    #[test]
    fn a_pipe_without_a_writer_and_a_device_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(cause(&fifo(folder.path())), "it is a pipe that no process writes to");
        assert_eq!(cause(Path::new("/dev/zero")), "it is a device, not a file");
        assert_eq!(cause(folder.path()), "it is a folder");
    }

    #[test]
    fn a_slow_writer_of_a_pipe_is_read_to_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = fifo(folder.path());
        // Both ends at once: opening a pipe only for writing waits for its reader.
        let mut writer = OpenOptions::new().read(true).write(true).open(&path).expect("a writer");
        let mut input = Input::open(&path).expect("it has a writer");
        let late = std::thread::spawn(move || writer.write_all(b"late"));
        assert_eq!(input.read_to(100).expect("read"), b"late");
        late.join().expect("a writer").expect("written");
    }

    #[test]
    fn no_more_is_read_than_was_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, b"0123456789").expect("written");
        let mut input = Input::open(&path).expect("opened");
        assert!(input.is_over(9) && !input.is_over(10));
        assert_eq!(input.read_to(3).expect("read"), b"0123", "one byte more tells that there is more");
        assert!(input.is_over(3));
        assert_eq!(input.read_to(100).expect("read"), b"0123456789");
        assert_eq!(input.into_bytes(), b"0123456789");
    }

    #[test]
    fn what_to_do_depends_on_what_failed() {
        let help = |name: &str| unreadable(name, &io::ErrorKind::NotFound.into()).more.help.expect("help");
        assert!(help("trimaran.yaml").contains("trimaran init"));
        assert!(!help("other.yaml").contains("trimaran init"));
    }
}
