//! Progress while a run is followed: a picture redrawn in place on a terminal, one line a change elsewhere.
//!
//! Deliberately not here: what a run looks like ([`crate::ui`]), and the result at the end.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};

use terminal_size::{Height, Width, terminal_size_of};
use trimaran_wire::document::RunDocument;
use unicode_width::UnicodeWidthStr as _;

use crate::ui::{Global, OutputForm, on_terminal, paint, reason_line, run_lines};

/// Of a terminal that does not tell its size.
const SIZE: (usize, usize) = (80, 24);

/// Progress on stderr. A program that asked for a document gets nothing there but an error, which is a document too.
#[derive(Default)]
pub(super) struct Screen {
    silent: bool,
    /// Rows of the terminal that the last picture takes.
    drawn: usize,
    said: BTreeMap<String, String>,
}

impl Screen {
    pub(super) fn of(global: &Global) -> Self {
        let watched = global.output == OutputForm::Table || std::io::stderr().is_terminal();
        Self { silent: !watched, ..Self::default() }
    }

    pub(super) fn show(&mut self, run: &RunDocument) {
        if self.silent {
            return;
        }
        if std::io::stderr().is_terminal() && on_terminal() {
            self.draw(run);
            return;
        }
        for stage in &run.stages {
            let why =
                stage.reasons.first().map(|reason| format!("  {}", reason_line(reason))).unwrap_or_default();
            let wave = stage.wave.as_ref().filter(|_| !stage.status.contains("pending"));
            let wave = wave.map(|wave| format!(" {}/{}", wave.done, wave.total)).unwrap_or_default();
            self.say(&stage.name, format!("{}{wave}{why}", stage.status));
        }
        self.say(&run.run, run.status.clone());
    }

    fn draw(&mut self, run: &RunDocument) {
        self.clear();
        let size = terminal_size_of(std::io::stderr());
        let (width, height) = size.map_or(SIZE, |(Width(w), Height(h))| (w.into(), h.into()));
        let bare = run_lines(run, &|_, text| text);
        let fitting = Fitting::of(&bare, width, height);
        let mut lines = run_lines(run, &|status, text| paint(status, text));
        lines.truncate(fitting.lines);
        if fitting.lines < bare.len() {
            let left = bare.len() - fitting.lines;
            lines.push(format!("({left} more lines)"));
        }
        self.drawn = fitting.rows;
        eprintln!("{}", lines.join("\n"));
    }

    fn say(&mut self, name: &str, text: String) {
        if self.said.get(name) != Some(&text) {
            eprintln!("{name}: {text}");
            self.said.insert(name.to_owned(), text);
        }
    }

    /// Removes what was drawn, so that the next picture takes its place.
    pub(super) fn clear(&mut self) {
        if self.drawn > 0 {
            let mut err = std::io::stderr().lock();
            // A terminal that can't be written to shows nothing; there is nobody to tell.
            let _ = write!(err, "\u{1b}[{}A\u{1b}[J", self.drawn);
            self.drawn = 0;
        }
    }
}

/// How much of a picture fits a terminal. What has scrolled out at the top can't be removed any more, so a picture is
/// never higher than the terminal.
#[derive(Debug, PartialEq, Eq)]
struct Fitting {
    /// So many lines of the picture; when that is not all of them, a last one says so.
    lines: usize,
    /// Rows of the terminal, since a long line takes more than one.
    rows: usize,
}

impl Fitting {
    fn of(lines: &[String], width: usize, height: usize) -> Self {
        let rows = |line: &String| line.width().div_ceil(width.max(1)).max(1);
        let all: usize = lines.iter().map(rows).sum();
        // The cursor stands below the picture.
        let room = height.saturating_sub(1).max(1);
        if all <= room {
            return Self { lines: lines.len(), rows: all };
        }
        let mut fitting = Self { lines: 0, rows: 1 };
        for line in lines {
            if fitting.rows + rows(line) > room {
                break;
            }
            fitting.lines += 1;
            fitting.rows += rows(line);
        }
        fitting
    }
}

#[cfg(test)]
mod tests {
    use super::Fitting;

    fn fitting(widths: &[usize], width: usize, height: usize) -> (usize, usize) {
        let lines: Vec<String> = widths.iter().map(|width| "x".repeat(*width)).collect();
        let it = Fitting::of(&lines, width, height);
        (it.lines, it.rows)
    }

    #[test]
    fn long_lines_take_more_than_one_row() {
        assert_eq!(fitting(&[10, 67, 5], 60, 24), (3, 4));
        assert_eq!(fitting(&[60, 120, 0], 60, 24), (3, 4), "an empty line is a row");
        assert_eq!(Fitting::of(&["\u{65e5}".repeat(40)], 60, 24).rows, 2, "wide characters take two columns");
    }

    #[test]
    fn a_picture_is_never_higher_than_the_terminal() {
        assert_eq!(fitting(&[5; 9], 60, 10), (9, 9));
        assert_eq!(fitting(&[5; 10], 60, 10), (8, 9), "the last row says how many are left");
        assert_eq!(fitting(&[5, 600, 5], 60, 10), (1, 2));
        assert_eq!(fitting(&[5; 3], 0, 0), (0, 1), "a terminal without a size");
    }
}
