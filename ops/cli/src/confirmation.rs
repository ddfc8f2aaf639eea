//! The question in front of what can't be taken back by another command: the name has to be typed.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use trimaran_model::error_code;

use crate::error::CliError;

/// Shows what would happen and asks for `name`; `what` says what needs a confirmation where no one can be asked.
pub(crate) fn confirm(
    what: &str,
    name: &str,
    lines: impl FnOnce() -> Result<Vec<String>, CliError>,
) -> Result<(), CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::new(error_code::CONFIRMATION, what.to_owned()));
    }
    lines()?.iter().for_each(|line| eprintln!("{line}"));
    eprint!("type `{name}` to continue: ");
    // A terminal that can't be written to can't be asked either; the read below then fails.
    let _ = std::io::stderr().flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == name {
        return Ok(());
    }
    Err(CliError::new(error_code::CONFIRMATION, "not confirmed; nothing was changed")
        .cause("The answer was not the name that was asked for.")
        .help("type the name, or add `--yes`"))
}
