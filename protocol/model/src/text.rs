//! Text from outside within its bounds, and errors as text.

use std::error::Error;

/// `text` when it has at most `bytes_max` bytes, otherwise as much of its beginning as whole characters fit. The memory of
/// the rest is freed.
pub fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        // What was sent may be a thousand times longer than what is kept.
        text.shrink_to_fit();
    }
    text
}

/// What stands for words that were left out.
pub const LEFT_OUT: char = '…';

/// `text` when its characters measure at most `max` together, otherwise its beginning and its end with [`LEFT_OUT`] between,
/// which measures `max` and the mark at most. Both are cut at words: errors that wrap others begin with what failed and
/// end with the cause. A text without a word that fits its end keeps its beginning alone.
pub fn shorten(text: &str, max: usize, measure: fn(char) -> usize) -> String {
    let size = |text: &str| text.chars().map(measure).sum::<usize>();
    if size(text) <= max {
        return text.to_owned();
    }
    let end = last_words(text, max * 2 / 5, measure);
    let beginning_max = max - size(end) - if end.is_empty() { 0 } else { measure(' ') };
    let mut left = beginning_max;
    let fits = |c: &char| {
        let fits = measure(*c) <= left;
        left = left.saturating_sub(measure(*c));
        fits
    };
    let length: usize = text.chars().take_while(fits).map(char::len_utf8).sum();
    let whole = &text[..length];
    // A word that is longer than half of the beginning is cut.
    let words = whole.rfind(char::is_whitespace).map_or(whole, |at| &whole[..at]);
    let is_word_end = text[length..].starts_with(char::is_whitespace);
    let beginning = if is_word_end || size(words) < beginning_max / 2 { whole } else { words };
    let mut short = beginning.trim_end().to_owned();
    if end.is_empty() {
        short.push(LEFT_OUT);
        return short;
    }
    // The spaces around the mark are those that stood around the words.
    short.push(' ');
    short.push(LEFT_OUT);
    short.push_str(end);
    short
}

/// As many whole words of the end, with the space before them, as fit.
fn last_words(text: &str, max: usize, measure: fn(char) -> usize) -> &str {
    let mut left = max;
    let mut end = "";
    for (at, c) in text.char_indices().rev() {
        let Some(rest) = left.checked_sub(measure(c)) else { break };
        left = rest;
        if c.is_whitespace() {
            end = &text[at..];
        }
    }
    end
}

/// An error with its sources on one line.
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(text: &str, max: usize) -> String {
        shorten(text, max, |_| 1)
    }

    #[test]
    fn a_text_that_is_too_long_keeps_its_beginning_and_its_end_at_words() {
        assert_eq!(short("it was not found", 16), "it was not found");
        let text = "failed to pull image registry.corp/shop/web: registry.corp/shop/web: not found";
        assert_eq!(short(text, 60), "failed to pull image registry.corp/shop/web: … not found");
        assert_eq!(short(text, 40), "failed to pull image … not found");
        assert_eq!(short(text, 20), "failed to … found");
        for max in 0..=text.len() {
            let it = shorten(text, max, char::len_utf8);
            assert!(it.len() <= max + LEFT_OUT.len_utf8(), "{max}: {it}");
        }
    }

    #[test]
    fn a_word_that_fits_nowhere_is_cut_between_characters() {
        assert_eq!(short("üüüüüü", 4), "üüüü…");
        assert_eq!(shorten("üüüüüü", 5, char::len_utf8), "üü…");
        assert_eq!(short("a üüüüüüüüü", 6), "a üüüü…", "most of it would be lost otherwise");
    }

    #[test]
    fn a_cut_keeps_whole_characters() {
        assert_eq!(cut("grün".to_owned(), 5), "grün");
        assert_eq!(cut("grün".to_owned(), 4), "grü");
        assert_eq!(cut("grün".to_owned(), 3), "gr");
        assert_eq!(cut("ü".to_owned(), 1), "");
        assert!(cut("x".repeat(1 << 20), 100).capacity() < 1000, "nothing of the rest is kept");
    }
}
