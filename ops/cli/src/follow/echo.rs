//! A terminal that does not show what is typed while a picture is drawn: keys would move the picture's rows.

use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

/// Echo is off until this is dropped. A process that is killed leaves it off, as every full-screen program does;
/// Ctrl-C is answered by the command itself.
pub(super) struct NoEcho(Termios);

impl NoEcho {
    /// `None` when stdin is no terminal, or belongs to another job: one in the background would be stopped.
    pub(super) fn start() -> Option<Self> {
        if tcgetpgrp(std::io::stdin()).ok()? != getpgrp() {
            return None;
        }
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet).ok()?;
        Some(Self(before))
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
