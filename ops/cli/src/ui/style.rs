//! Colours: what a status says at a glance.

use anstyle::{AnsiColor, Style};

/// The style of a status, verdict or state; most words have none.
pub(crate) fn style_of(status: &str) -> Option<Style> {
    let colour = match status {
        "succeeded" | "healthy" | "connected" | "alive" => AnsiColor::Green,
        "failed" | "broken" | "rollback_failed" | "stopped" | "degraded" | "lost" => AnsiColor::Red,
        "rolled_back" | "rolling_back" | "warned" | "waiting" | "blocked" | "disconnected" => {
            AnsiColor::Yellow
        }
        "running" | "progressing" => AnsiColor::Cyan,
        _ => return None,
    };
    Some(colour.on_default())
}

/// `text` in the style of a status.
pub(crate) fn painted(status: &str, text: &str) -> String {
    match style_of(status) {
        Some(style) => format!("{style}{text}{style:#}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_colour_and_other_words_have_none() {
        assert_eq!(painted("failed", "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(painted("odd", "x"), "x");
    }
}
