//! Text that others wrote, made fit for a terminal: one line, no control characters, broken between words.

use unicode_width::UnicodeWidthStr as _;

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

/// Lines of at most `columns` columns, broken between words; `first` begins the first line and `next` all others. A
/// word that is wider than a line stands alone: a command or URL has to be copied whole.
pub(crate) fn wrapped(first: &str, next: &str, text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut has_words = false;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if has_words && visible_width(&line) + 1 + visible_width(word) > columns {
            lines.push(std::mem::replace(&mut line, next.to_owned()));
            has_words = false;
        }
        if has_words {
            line.push(' ');
        }
        line.push_str(word);
        has_words = true;
    }
    lines.push(line);
    lines
}

/// Columns of a text without its colours.
pub(crate) fn visible_width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d"), "a?[2Jb c?d");
    }

    #[test]
    fn lines_are_broken_between_words_only() {
        let lines = wrapped("- ", "  ", "one two https://example.com/a/long/path three", 12);
        assert_eq!(lines, ["- one two", "  https://example.com/a/long/path", "  three"]);
        assert_eq!(wrapped("", "", "", 10), [""]);
    }

    #[test]
    fn colours_take_no_columns() {
        assert_eq!(visible_width("\u{1b}[31mab\u{1b}[0m"), 2);
        assert_eq!(visible_width("\u{65e5}"), 2);
    }
}
