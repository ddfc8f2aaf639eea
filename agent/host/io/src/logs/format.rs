//! One record of a log file: `TIME KIND TEXT` and a line break, where TIME is wall time in milliseconds.

use std::io::Write as _;

use trimaran_model::id::Digest;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// `o` and `e`: one line of stdout or stderr, without its line break.
    Line { stderr: bool, text: &'a str },
    /// `r`: what follows belongs to this run, and to a release behind it ([`owner`]).
    Run(&'a str),
    /// `d`: so many lines could not be written here.
    Dropped(u64),
}

/// What an `r` record holds: the run, and the digest of the release where it is known.
pub(crate) fn owner(run: &str, release: Option<&str>) -> String {
    release.map_or_else(|| run.to_owned(), |release| format!("{run} {release}"))
}

/// Reads what [`owner`] writes.
pub(crate) fn split_owner(owner: &str) -> (&str, Option<[u8; 32]>) {
    let digest = |text: &str| text.parse::<Digest>().ok().map(|digest| digest.0);
    match owner.rsplit_once(' ').and_then(|(run, last)| Some((run, digest(last)?))) {
        Some((run, release)) => (run, Some(release)),
        None => (owner, None),
    }
}

/// Adds a record to `out`. `text` and run are one line.
pub(crate) fn encode(out: &mut Vec<u8>, at_ms: i64, record: &Record<'_>) {
    let written = match record {
        Record::Line { stderr: false, text } => writeln!(out, "{at_ms} o {text}"),
        Record::Line { stderr: true, text } => writeln!(out, "{at_ms} e {text}"),
        Record::Run(run) => writeln!(out, "{at_ms} r {run}"),
        Record::Dropped(count) => writeln!(out, "{at_ms} d {count}"),
    };
    written.expect("a vector takes everything");
}

/// Reads one record without its line break; `None` for what is none.
pub(crate) fn decode(line: &str) -> Option<(i64, Record<'_>)> {
    let (at, rest) = line.split_once(' ')?;
    let (kind, text) = rest.split_once(' ')?;
    let record = match kind {
        "o" => Record::Line { stderr: false, text },
        "e" => Record::Line { stderr: true, text },
        "r" => Record::Run(text),
        "d" => Record::Dropped(text.parse().ok()?),
        _ => return None,
    };
    Some((at.parse().ok()?, record))
}
