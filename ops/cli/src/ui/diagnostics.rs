//! Findings in files for people: each with its line, a mark below it and what to do, then a count.
//!
//! How a finding looks is the work of `annotate-snippets`, which also makes control characters visible and shows of a
//! long line the part around the mark. Not here: what is wrong.

use std::collections::BTreeMap;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use trimaran_language::{Diagnostic, Severity, SourceFile};

use super::View;
use super::style::style_of;
use super::text::printable;

/// Columns of a line that are shown in a pipe; a terminal has its own.
const COLUMNS_MAX: usize = 160;
/// Bytes of a line that is shown at all; a longer one was not written by a human.
const LINE_BYTES_MAX: usize = 4096;

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
    let renderer = renderer(view);
    let mut text = String::new();
    for it in diagnostics {
        let line = lines.get(it.file.as_str()).and_then(|lines| lines.get(it.line as usize - 1));
        let line = line.copied().filter(|line| line.len() <= LINE_BYTES_MAX);
        text.push_str(&finding(it, line, &renderer));
        text.push('\n');
    }
    let count = |severity| diagnostics.iter().filter(|it| it.severity == severity).count();
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    text.push_str(&plural(count(Severity::Error), "error"));
    text.push_str(", ");
    text.push_str(&plural(count(Severity::Warning), "warning"));
    text
}

/// In the colours of this program, as wide as the terminal.
fn renderer(view: &View) -> Renderer {
    let columns = if view.is_terminal { view.columns } else { COLUMNS_MAX };
    let renderer = Renderer::plain().term_width(columns.min(COLUMNS_MAX));
    if !view.colours {
        return renderer;
    }
    let colour = |status| style_of(status).expect("the status has a colour");
    renderer.error(colour("failed")).warning(colour("warned"))
}

/// One finding; without its line where that is not at hand or was not written by a human.
fn finding(it: &Diagnostic, line: Option<&[u8]>, renderer: &Renderer) -> String {
    let level = match it.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let (file, number) = (printable(&it.file), it.line as usize);
    let title = level.primary_title(printable(&it.message)).id(it.code.to_string());
    let group = Group::with_title(title);
    let group = match line {
        Some(line) => {
            let (line, mark) = marked(line, it.column as usize - 1, it.length as usize);
            let mark = AnnotationKind::Primary.span(mark);
            group.element(Snippet::source(line).path(file).line_start(number).annotation(mark))
        }
        None => group.element(Origin::path(file).line(number).char_column(it.column as usize)),
    };
    renderer.render(&[group.element(Level::HELP.message(printable(&it.help)))])
}

/// The line, and the bytes of it that are marked. `at` and `length` count characters; a mark behind the end stands
/// where the characters would be.
fn marked(line: &[u8], at: usize, length: usize) -> (String, Range<usize>) {
    // The crate shows the control characters of ASCII, and not those of Latin 1.
    let shown = |c: char| if c.is_control() && !c.is_ascii() { '?' } else { c };
    let mut line: String = String::from_utf8_lossy(line).trim_end_matches('\r').chars().map(shown).collect();
    let missing = at.saturating_sub(line.chars().count());
    line.extend(std::iter::repeat_n(' ', missing));
    let byte_of = |character: usize| line.char_indices().nth(character).map_or(line.len(), |(byte, _)| byte);
    let mark = byte_of(at)..byte_of(at.saturating_add(length));
    (line, mark)
}

#[cfg(test)]
mod tests {
    use trimaran_model::error_code::USAGE;

    use super::*;

    fn shown(line: &[u8], column: u32, length: u32, view: &View) -> String {
        let it = Diagnostic {
            code: USAGE,
            severity: Severity::Error,
            message: "a\u{1b}[2Jb".to_owned(),
            file: "x.yaml".to_owned(),
            line: 1,
            column,
            length,
            help: "Fix it.".to_owned(),
        };
        render(&[SourceFile { name: "x.yaml", bytes: line }], &[it], view)
    }

    /// The line and its mark, without what surrounds them.
    fn excerpt(line: &[u8], at: u32, length: u32) -> String {
        let text = shown(line, at + 1, length, &View::pipe());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].ends_with(&format!("x.yaml:1:{}", at + 1)), "{text}");
        format!("{}\n{}", lines[3], lines[4])
    }

    #[test]
    fn marks_stand_below_what_they_mean() {
        assert_eq!(excerpt(b"after: [stagin]", 8, 6), "1 | after: [stagin]\n  |         ^^^^^^");
        assert_eq!(excerpt("owner: チーム x".as_bytes(), 11, 1), "1 | owner: チーム x\n  |               ^");
        assert_eq!(excerpt("a: 青い".as_bytes(), 3, 2), "1 | a: 青い\n  |    ^^^^");
        assert_eq!(excerpt(b"\tx: 1\r", 1, 1), "1 |     x: 1\n  |     ^");
        assert_eq!(excerpt(b"a\x1b[2Jb\xff", 5, 2), "1 | a␛[2Jb\u{fffd}\n  |      ^^");
    }

    #[test]
    fn what_is_missing_is_marked_at_the_end() {
        assert_eq!(excerpt(b"owner: [a", 9, 1), "1 | owner: [a\n  |          ^");
        assert_eq!(excerpt(b"a", 7, 3).lines().last(), Some("  |        ^"));
        assert!(excerpt(b"", 0, 1).ends_with("  | ^"));
    }

    #[test]
    fn long_lines_show_the_part_around_the_mark() {
        let line = format!("{}MARK{}", "a".repeat(500), "b".repeat(500));
        for columns in [60, 100, 200] {
            let text = shown(line.as_bytes(), 501, 4, &View::terminal(columns));
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{text}");
            let at = text.lines().nth(3).expect("the line").find("MARK").expect("the mark is shown");
            let below = text.lines().nth(4).expect("the mark's line");
            assert_eq!(below.find("^^^^"), Some(at), "{text}");
        }
        let text = shown(&vec![b'['; 10_000_000], 9_999_999, 1, &View::pipe());
        assert!(text.contains("x.yaml:1:9999999\n") && text.len() < 200, "{text}");
    }

    #[test]
    fn nothing_of_a_file_controls_the_terminal() {
        let text = shown(b"k: \x1b[2J\xc2\x9b\xe2\x80\xae", 1, 1, &View::pipe());
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n') && !text.contains('\u{202e}'),
            "{text}"
        );
    }
}
