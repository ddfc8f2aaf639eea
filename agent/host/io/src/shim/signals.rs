//! Signals to a shim as a file that `poll(2)` waits for (signalfd(2)), and signals as a service expects them.

use std::fs::File;
use std::io::{self, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _};

/// Blocked signals. A child inherits that: it calls [`unblock`].
pub(super) struct Signals {
    file: File,
}

/// Everything that a terminal, a service manager or a child may send.
const BLOCKED: [libc::c_int; 8] = [
    libc::SIGCHLD,
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGPIPE,
];
/// Bytes of one `signalfd_siginfo`; the first four are the signal's number.
const RECORD_BYTES: usize = 128;

impl Signals {
    pub(super) fn block() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the set is initialised by the first call before the others use it.
        let descriptor = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in BLOCKED {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and owned here.
        Ok(Self { file: unsafe { File::from_raw_fd(descriptor) } })
    }

    /// Takes what came; true when the shim itself is asked to end.
    pub(super) fn end_requested(&mut self) -> bool {
        let mut requested = false;
        let mut records = [0; 16 * RECORD_BYTES];
        while let Ok(count @ 1..) = self.file.read(&mut records) {
            requested |= records[..count].chunks_exact(RECORD_BYTES).any(|record| {
                let number = record.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
                matches!(number, Some(libc::SIGTERM | libc::SIGINT | libc::SIGQUIT))
            });
        }
        requested
    }
}

/// Default actions and nothing blocked. What the runner ignored (`nohup`) must reach the service.
pub(super) fn reset() -> io::Result<()> {
    for signal in 1..=64 {
        // SAFETY: the default action is no pointer to code; kinds that can't be set are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock()
}

/// Lets every signal through. May be called between fork and exec.
pub(super) fn unblock() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is written by the first call and only read by the second.
    let result = unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
