//! Tables for people: aligned columns on a terminal, tab-separated lines in a pipe.

use std::io::IsTerminal as _;

use comfy_table::{Cell, Color, ContentArrangement, Table};

use super::colour::{Tone, colours_wanted};
use super::output::print_text;

/// Whether stdout is a terminal.
pub(crate) fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Columns whose words have the colour of a status on a terminal that wants colours.
const STATUS_COLUMNS: [&str; 3] = ["STATUS", "STATE", "HEALTH"];

/// Prints rows below their head. Control characters of what a host or user wrote are shown as `?`.
pub(crate) fn print_table(head: &[&str], rows: Vec<Vec<String>>) {
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    print_text(&if on_terminal() { aligned(head, rows, None, colours_wanted()) } else { plain(head, rows) });
}

/// For programs that read lines.
fn plain(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut text = head.join("\t");
    for row in rows {
        text.push('\n');
        text.push_str(&row.join("\t"));
    }
    text
}

/// For people. `width` in columns; that of the terminal when left out.
fn aligned(head: &[&str], rows: Vec<Vec<String>>, width: Option<u16>, colours: bool) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    if colours {
        table.enforce_styling();
    }
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(head.iter().zip(row).map(|(name, text)| {
            let colour = (colours && STATUS_COLUMNS.contains(name)).then(|| colour(&text)).flatten();
            let cell = Cell::new(text);
            colour.map_or(cell.clone(), |colour| cell.fg(colour))
        }));
    }
    table.to_string()
}

/// The colour of a status, the same that texts outside of tables have.
fn colour(status: &str) -> Option<Color> {
    match Tone::of(status)? {
        Tone::Good => Some(Color::DarkGreen),
        Tone::Bad => Some(Color::DarkRed),
        Tone::Held => Some(Color::DarkYellow),
        Tone::Moving => Some(Color::DarkCyan),
    }
}

/// `text` on one line without characters that control a terminal or turn the direction of a line around, so that no
/// host and no file can write to the terminal.
pub(crate) fn printable(text: &str) -> String {
    let one = |c: char| match c {
        '\n' | '\t' => ' ',
        // The bidirectional controls of Unicode (UAX 9).
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '?',
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(one).collect()
}

/// An optional cell; `-` when there is nothing.
pub(crate) fn cell(value: Option<&str>) -> String {
    value.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d"), "a?[2Jb c?d");
    }

    fn rows() -> Vec<Vec<String>> {
        vec![vec!["web".to_owned(), "healthy".to_owned()], vec!["two".to_owned(), "odd".to_owned()]]
    }

    #[test]
    fn a_status_has_its_colour_and_takes_no_more_room_for_it() {
        let head = ["PIPELINE", "HEALTH"];
        let painted = aligned(&head, rows(), Some(40), true);
        assert!(painted.contains("\u{1b}[38;5;2m healthy"), "{painted:?}");
        assert!(!painted.contains("\u{1b}[38;5;2m odd"), "{painted:?}");
        let bare = aligned(&head, rows(), Some(40), false);
        assert!(!bare.contains('\u{1b}'), "{bare:?}");
        let without: Vec<String> = painted
            .split('\u{1b}')
            .map(|part| part.split_once('m').map_or(part, |(_, text)| text))
            .map(str::to_owned)
            .collect();
        assert_eq!(without.concat(), bare);
    }

    #[test]
    fn a_pipe_gets_lines_of_fields() {
        assert_eq!(plain(&["A", "STATE"], rows()), "A\tSTATE\nweb\thealthy\ntwo\todd");
    }
}
