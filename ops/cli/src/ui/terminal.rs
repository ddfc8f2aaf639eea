//! What stdout and stderr lead to: a terminal with its size and colours, or a pipe.

use std::os::fd::AsFd;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use terminal_size::{Height, Width, terminal_size_of};

/// Columns and rows of a terminal that does not say its size.
const SIZE: (usize, usize) = (80, 24);

/// Where a stream leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terminal {
    pub(crate) is_terminal: bool,
    /// A terminal, and neither `NO_COLOR` nor its type speak against colours; `CI` speaks for them, but never on a
    /// terminal of the type `dumb`.
    pub(crate) colours: bool,
    /// It understands moves of the cursor; a terminal of the type `dumb` does not.
    pub(crate) redraws: bool,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Terminal {
    /// As the stream is now; a terminal may change its size at any time.
    pub(crate) fn of<S: RawStream + AsFd>(stream: &S) -> Self {
        let is_terminal = stream.is_terminal();
        let (columns, rows) =
            terminal_size_of(stream).map_or(SIZE, |(Width(w), Height(h))| (w.into(), h.into()));
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            is_terminal,
            colours: is_terminal && !dumb && AutoStream::choice(stream) != ColorChoice::Never,
            redraws: is_terminal && !dumb,
            columns,
            rows,
        }
    }
}
