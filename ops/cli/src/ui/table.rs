//! Tables for people: aligned columns on a terminal, tab-separated lines in a pipe.

use std::io::IsTerminal as _;

use comfy_table::{ContentArrangement, Table};

use super::output::print_text;

/// Whether stdout is a terminal.
pub(crate) fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Prints rows below their head. Control characters of what a host or user wrote are shown as `?`.
pub(crate) fn print_table(head: &[&str], rows: Vec<Vec<String>>) {
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    if !on_terminal() {
        let mut text = head.join("\t");
        text.push('\n');
        for row in rows {
            text.push_str(&row.join("\t"));
            text.push('\n');
        }
        return print_text(&text);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    print_text(&table.to_string());
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
    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(super::printable("a\u{1b}[2Jb\nc\u{202e}d"), "a?[2Jb c?d");
    }
}
