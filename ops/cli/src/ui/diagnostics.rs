//! Findings in files for people: each with its line, a mark below it and what to do, then a count.

use std::collections::BTreeMap;

use trimaran_language::{Diagnostic, Severity, SourceFile};
use unicode_width::UnicodeWidthChar as _;

use super::View;
use super::text::printable;

/// Columns of a line that are shown; of longer ones the part around the mark.
const COLUMNS_MAX: usize = 160;
/// Bytes of a line that is shown at all; a longer one was not written by a human.
const LINE_BYTES_MAX: usize = 4096;
/// Columns of a tab, here and in most terminals' half.
const TAB: usize = 4;

/// One finding in a document.
pub(crate) fn diagnostic_document(it: &Diagnostic) -> serde_json::Value {
    serde_json::json!({
        "code": it.code.to_string(), "severity": it.severity.as_str(), "message": it.message, "file": it.file,
        "line": it.line, "column": it.column, "length": it.length, "help": it.help,
    })
}

/// All findings, or nothing when there are none.
pub(crate) fn render(files: &[SourceFile<'_>], diagnostics: &[Diagnostic], view: &View) -> String {
    if diagnostics.is_empty() {
        return String::new();
    }
    let lines: BTreeMap<&str, Vec<&[u8]>> = files
        .iter()
        .map(|file| {
            let bytes = file.bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(file.bytes);
            (file.name, bytes.split(|byte| *byte == b'\n').collect())
        })
        .collect();
    let mut text = String::new();
    for it in diagnostics {
        let line = lines.get(it.file.as_str()).and_then(|lines| lines.get(it.line as usize - 1));
        let line = line.copied().filter(|line| line.len() <= LINE_BYTES_MAX);
        text.push_str(&finding(it, line, view));
    }
    let count = |severity| diagnostics.iter().filter(|it| it.severity == severity).count();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    text.push_str(&plural(count(Severity::Error), "error"));
    text.push_str(", ");
    text.push_str(&plural(count(Severity::Warning), "warning"));
    text
}

fn finding(it: &Diagnostic, line: Option<&[u8]>, view: &View) -> String {
    let colour = if it.severity == Severity::Error { "failed" } else { "warned" };
    let head = view.paint(colour, &format!("{}[{}]", it.severity.as_str(), it.code));
    let mut text = format!("{head}: {}\n", printable(&it.message));
    text.push_str(&format!("  --> {}:{}:{}\n", printable(&it.file), it.line, it.column));
    if let Some(line) = line {
        let (shown, before, marked) = excerpt(line, it.column as usize - 1, it.length as usize);
        let number = it.line.to_string();
        let gap = " ".repeat(number.len());
        let mark = view.paint(colour, &"^".repeat(marked));
        text.push_str(&format!("{number} | {shown}\n{gap} | {}{mark}\n", " ".repeat(before)));
    }
    text.push_str(&format!("  help: {}\n", printable(&it.help)));
    text
}

/// The line as it is shown, with the columns before the mark and those of the mark itself. `at` and `length` count
/// characters; a character may take no column, one, two, or a tab's.
fn excerpt(line: &[u8], at: usize, length: usize) -> (String, usize, usize) {
    let line = String::from_utf8_lossy(line);
    // A line of a generated file may have megabytes; what is far from the mark is skipped.
    let skipped = at.saturating_sub(COLUMNS_MAX);
    let mut near = line.trim_end_matches('\r').chars().skip(skipped);
    let mut shown: Vec<(String, usize)> = near
        .by_ref()
        .take(3 * COLUMNS_MAX)
        .map(|c| {
            let text = if c == '\t' { " ".repeat(TAB) } else { printable(c.encode_utf8(&mut [0; 4])) };
            let columns = text.chars().map(|c| c.width().unwrap_or(0)).sum();
            (text, columns)
        })
        .collect();
    let width = |part: &[(String, usize)]| part.iter().map(|(_, columns)| columns).sum::<usize>();
    let more = near.next().is_some();
    let at = (at - skipped).min(shown.len());
    let mut end = (at + length).min(shown.len());
    let mut start = 0;
    if width(&shown) > COLUMNS_MAX {
        while width(&shown[start..at]) > COLUMNS_MAX / 2 {
            start += 1;
        }
        let mut last = shown.len();
        while width(&shown[start..last]) > COLUMNS_MAX && last > at {
            last -= 1;
        }
        if last < shown.len() || more {
            shown.truncate(last);
            shown.push(("…".to_owned(), 1));
        }
        end = end.min(last);
    }
    let cut = if start > 0 || skipped > 0 { "…" } else { "" };
    let text: String = shown[start..].iter().map(|(text, _)| text.as_str()).collect();
    let before = width(&shown[start..at]) + cut.chars().count();
    (format!("{cut}{text}"), before, width(&shown[at..end.max(at)]).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_below_what_they_mean() {
        assert_eq!(excerpt(b"after: [stagin]", 8, 6), ("after: [stagin]".to_owned(), 8, 6));
        assert_eq!(excerpt("owner: チーム x".as_bytes(), 11, 1), ("owner: チーム x".to_owned(), 14, 1));
        assert_eq!(excerpt("a: 青い".as_bytes(), 3, 2), ("a: 青い".to_owned(), 3, 4));
        assert_eq!(excerpt(b"\tx: 1\r", 1, 1), ("    x: 1".to_owned(), 4, 1));
        assert_eq!(excerpt(b"a\x1b[2Jb\xff", 5, 2), ("a?[2Jb\u{fffd}".to_owned(), 5, 2));
    }

    #[test]
    fn what_is_missing_is_marked_at_the_end() {
        assert_eq!(excerpt(b"owner: [a", 9, 1), ("owner: [a".to_owned(), 9, 1));
        assert_eq!(excerpt(b"", 0, 1), (String::new(), 0, 1));
        assert_eq!(excerpt(b"a", 7, 3), ("a".to_owned(), 1, 1));
    }

    #[test]
    fn long_lines_show_the_part_around_the_mark() {
        let line = format!("{}MARK{}", "a".repeat(500), "b".repeat(500));
        let (shown, before, marked) = excerpt(line.as_bytes(), 500, 4);
        assert_eq!(marked, 4);
        assert_eq!(shown.chars().skip(before).take(4).collect::<String>(), "MARK");
        assert!(shown.starts_with('…') && shown.ends_with('…') && shown.chars().count() <= COLUMNS_MAX + 2);
        let long = vec![b'['; 10_000_000];
        assert_eq!(excerpt(&long, 9_999_999, 1).2, 1);
    }
}
