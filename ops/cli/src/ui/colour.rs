//! Colours: only on a terminal, and only when nobody asked for none.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

use super::table::on_terminal;

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// Paints the text of a status for stdout.
pub(crate) fn paint(status: &str, text: String) -> String {
    paint_on(Stream::Out, status, text)
}

/// Paints the text of a status when the stream is a terminal that wants colours.
pub(crate) fn paint_on(stream: Stream, status: &str, text: String) -> String {
    let terminal = match stream {
        Stream::Out => on_terminal(),
        Stream::Err => std::io::stderr().is_terminal(),
    };
    if asked_for(terminal) { painted(status, text) } else { text }
}

/// Whether stdout is a terminal that wants colours.
pub(crate) fn colours_wanted() -> bool {
    asked_for(on_terminal())
}

fn asked_for(terminal: bool) -> bool {
    let (no_color, term) = (std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
    wanted(terminal, no_color.as_deref(), term.as_deref())
}

/// `NO_COLOR` with any text, and a terminal that calls itself dumb, want none.
fn wanted(terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty) && term.is_none_or(|term| term != "dumb")
}

/// What a status tells at a glance; each has one colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    /// It went back, or waits for somebody.
    Held,
    Moving,
}

impl Tone {
    /// Of a status, verdict or state; most words have none.
    pub(crate) fn of(status: &str) -> Option<Self> {
        match status {
            "succeeded" | "healthy" | "connected" | "alive" => Some(Self::Good),
            "failed" | "broken" | "rollback_failed" | "stopped" | "degraded" | "lost" => Some(Self::Bad),
            "rolled_back" | "rolling_back" | "warned" | "waiting" | "blocked" | "disconnected" => {
                Some(Self::Held)
            }
            "running" | "progressing" => Some(Self::Moving),
            _ => None,
        }
    }
}

fn painted(status: &str, text: String) -> String {
    let colour = match Tone::of(status) {
        Some(Tone::Good) => "32",
        Some(Tone::Bad) => "31",
        Some(Tone::Held) => "33",
        Some(Tone::Moving) => "36",
        None => return text,
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_that_wants_them() {
        let none = None;
        assert!(wanted(true, none, Some(OsStr::new("xterm"))));
        assert!(wanted(true, Some(OsStr::new("")), none), "an empty NO_COLOR says nothing");
        assert!(!wanted(true, Some(OsStr::new("1")), none));
        assert!(!wanted(true, none, Some(OsStr::new("dumb"))));
        assert!(!wanted(false, none, none));
        assert_eq!(painted("failed", "x".to_owned()), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(painted("odd", "x".to_owned()), "x");
    }
}
