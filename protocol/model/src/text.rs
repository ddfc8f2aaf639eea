//! Text from outside within its bounds, and errors as text.

use std::error::Error;

/// `text` when it has at most `bytes_max` bytes, otherwise as much of its beginning as whole characters fit.
pub fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
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

    #[test]
    fn a_cut_keeps_whole_characters() {
        assert_eq!(cut("grün".to_owned(), 5), "grün");
        assert_eq!(cut("grün".to_owned(), 4), "grü");
        assert_eq!(cut("grün".to_owned(), 3), "gr");
        assert_eq!(cut("ü".to_owned(), 1), "");
    }
}
