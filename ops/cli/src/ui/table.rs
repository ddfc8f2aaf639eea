//! Tables: aligned columns that fit a terminal, tab-separated lines in a pipe.
//!
//! On a terminal no cell is broken: columns that do not fit are left out from the right, and a long text such as a
//! cause stands on lines of its own below its row.

use unicode_width::UnicodeWidthStr as _;

use super::View;
use super::text::{printable, wrapped};

/// Columns between two columns of a table.
const GAP: usize = 2;

/// One field of a row.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Text(String),
    /// A status, verdict or state, in its colour.
    Status(String),
    /// RFC 3339; an age on a terminal.
    Time(Option<String>),
}

impl Cell {
    /// An optional text; `-` when there is none.
    pub(crate) fn maybe(text: Option<&str>) -> Self {
        Self::Text(text.unwrap_or("-").to_owned())
    }

    fn shown(&self, view: &View) -> String {
        match self {
            Self::Text(text) | Self::Status(text) => printable(text),
            Self::Time(None) => "-".to_owned(),
            Self::Time(Some(time)) => view.time(time),
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// Rows below their head, the most important columns first.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    /// The title of a long text that each row may have.
    note: Option<&'static str>,
    rows: Vec<(Vec<Cell>, Option<String>)>,
}

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), note: None, rows: Vec::new() }
    }

    /// A last column of long texts.
    pub(crate) fn with_note(head: &[&'static str], note: &'static str) -> Self {
        Self { note: Some(note), ..Self::new(head) }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.row_with_note(cells, None);
    }

    pub(crate) fn row_with_note(&mut self, cells: impl IntoIterator<Item = Cell>, note: Option<&str>) {
        let cells: Vec<Cell> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.head.len(), "a row has a cell for each column");
        self.rows.push((cells, note.map(printable)));
    }

    /// Whether a column is shown, which has no place on a narrow terminal.
    pub(crate) fn shows(&self, title: &str, view: &View) -> bool {
        let fitting = fitting(&self.widths(view), view.columns);
        !view.is_terminal || self.head.iter().position(|it| *it == title).is_some_and(|index| index < fitting)
    }

    /// The text of the table, without a line end behind its last line.
    pub(crate) fn text(&self, view: &View) -> String {
        let lines = if view.is_terminal { self.aligned(view) } else { self.separated(view) };
        lines.join("\n")
    }

    /// For programs that read lines: every column.
    fn separated(&self, view: &View) -> Vec<String> {
        let head = self.head.iter().chain(&self.note).copied().collect::<Vec<_>>().join("\t");
        let row = |(cells, note): &(Vec<Cell>, Option<String>)| {
            let mut fields: Vec<String> = cells.iter().map(|cell| cell.shown(view)).collect();
            fields.extend(self.note.map(|_| note.clone().unwrap_or_else(|| "-".to_owned())));
            fields.join("\t")
        };
        std::iter::once(head).chain(self.rows.iter().map(row)).collect()
    }

    fn shown(&self, view: &View) -> Vec<Vec<String>> {
        self.rows.iter().map(|(cells, _)| cells.iter().map(|cell| cell.shown(view)).collect()).collect()
    }

    /// Of the columns, without the gaps between them.
    fn widths(&self, view: &View) -> Vec<usize> {
        let shown = self.shown(view);
        let widest = |column: usize| {
            let cells = shown.iter().map(|row| row[column].width());
            cells.chain([self.head[column].width()]).max().unwrap_or(0)
        };
        (0..self.head.len()).map(widest).collect()
    }

    fn aligned(&self, view: &View) -> Vec<String> {
        let shown = self.shown(view);
        let widths = self.widths(view);
        let fitting = fitting(&widths, view.columns);
        let head: Vec<String> = self.head.iter().map(|title| (*title).to_owned()).collect();
        let mut lines = vec![line(&head, &head, &widths[..fitting])];
        for ((cells, note), row) in self.rows.iter().zip(&shown) {
            let painted: Vec<String> = cells
                .iter()
                .zip(row)
                .map(|(cell, text)| match cell {
                    Cell::Status(status) => view.paint(status, text),
                    Cell::Text(_) | Cell::Time(_) => text.clone(),
                })
                .collect();
            lines.push(line(row, &painted, &widths[..fitting]));
            lines.extend(note.iter().flat_map(|note| wrapped("    ", "    ", note, view.columns)));
        }
        lines
    }
}

/// How many columns fit, the first one always.
fn fitting(widths: &[usize], columns: usize) -> usize {
    let mut taken = 0;
    let fits = widths.iter().take_while(|width| {
        taken += *width + if taken > 0 { GAP } else { 0 };
        taken <= columns
    });
    fits.count().max(1)
}

/// Cells at their columns without blanks at the end. `plain` has the widths that `painted` has without its colours.
fn line(plain: &[String], painted: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (index, width) in widths.iter().enumerate() {
        line.push_str(&painted[index]);
        if index + 1 < widths.len() {
            line.push_str(&" ".repeat(width - plain[index].width() + GAP));
        }
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::with_note(&["PIPELINE", "HEALTH", "SINCE"], "CAUSE");
        let time = |second: u8| Cell::Time(Some(format!("2026-01-01T00:00:{second:02}.000Z")));
        table.row(["web".into(), Cell::Status("healthy".to_owned()), time(20)]);
        let cause = Some("host-3: HTTP 404 (last of 48 probes)");
        table.row_with_note(["checkout".into(), Cell::Status("odd".to_owned()), time(5)], cause);
        table
    }

    #[test]
    fn a_status_has_its_colour_and_takes_no_more_columns_for_it() {
        let view = View { colours: true, ..View::terminal(60) };
        let painted = table().text(&view);
        assert!(painted.contains("\u{1b}[32mhealthy\u{1b}[0m"), "{painted:?}");
        let bare = table().text(&View::terminal(60));
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), bare);
    }

    #[test]
    fn columns_that_do_not_fit_are_left_out_from_the_right_and_no_cell_is_broken() {
        let wide = "\
PIPELINE  HEALTH   SINCE
web       healthy  10s ago
checkout  odd      25s ago
    host-3: HTTP 404 (last of 48 probes)";
        assert_eq!(table().text(&View::terminal(60)), wide);
        let narrow = "\
PIPELINE  HEALTH
web       healthy
checkout  odd
    host-3: HTTP 404
    (last of 48 probes)";
        assert_eq!(table().text(&View::terminal(24)), narrow);
        assert!(table().text(&View::terminal(5)).starts_with("PIPELINE\nweb\ncheckout\n"));
    }

    /// Files below `folder` with their texts.
    fn sources(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).expect("a source is read")));
            }
        }
    }

    /// A table that is added without one is found here.
    #[test]
    fn every_table_and_picture_has_a_snapshot_at_each_width() {
        let mut files = Vec::new();
        sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        let mut tables = 0;
        for (name, text) in files.iter().filter(|(name, _)| name != "table.rs") {
            let made = text.matches("Table::new(").count() + text.matches("Table::with_note(").count();
            let tested = text.matches("assert_snapshot!(samples::at_widths(").count();
            assert!(tested >= made, "{name} makes {made} tables and tests {tested} at each width");
            tables += made;
        }
        assert!(tables >= 8, "only {tables} tables were found");
    }

    #[test]
    fn a_pipe_gets_lines_of_fields() {
        let lines = "\
PIPELINE\tHEALTH\tSINCE\tCAUSE
web\thealthy\t2026-01-01T00:00:20.000Z\t-
checkout\todd\t2026-01-01T00:00:05.000Z\thost-3: HTTP 404 (last of 48 probes)";
        assert_eq!(table().text(&View::pipe()), lines);
    }
}
