//! A log that does not repeat itself while something is tried again and again.

/// Says a state once, when it changes.
#[derive(Debug, Default)]
pub(crate) struct LogOnChange(Option<String>);

impl LogOnChange {
    pub(crate) fn warn(&mut self, what: &str, why: &str) {
        let text = format!("{what}: {why}");
        if self.0.as_ref() != Some(&text) {
            tracing::warn!("{text}");
            self.0 = Some(text);
        }
    }

    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}
