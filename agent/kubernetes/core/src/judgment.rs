//! What a judge says of one object: a verdict with its reason, in words, with the evidence it rests on.

use trimaran_model::limits::EVIDENCE_CHARS_MAX;
use trimaran_model::reason::ReasonCode;
use trimaran_model::text::shorten;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::{Fault, Verdict};

/// The judgment of one object. `reason` is `None` when, and only when, the verdict is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgment {
    pub verdict: Verdict,
    pub reason: Option<ReasonCode>,
    /// One sentence; quotes the platform's own words where there are any.
    pub message: String,
    pub evidence: Vec<Evidence>,
    /// Whose fault a bad verdict is. Starts as the reason's own and may be changed by better evidence.
    pub fault: Option<Fault>,
    /// What deserves attention although it does not change the verdict.
    pub warnings: Vec<String>,
    /// When time alone can change the verdict; `None` when only a change of the objects can.
    pub next_check_at: Option<WallTime>,
    /// It waits for another controller on purpose, as behind a scheduling gate: no deadline applies.
    pub(crate) is_held: bool,
    /// Whose fault it will be when what is suspected turns out to be true.
    pub(crate) suspected_fault: Option<Fault>,
}

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// `Kind/name`.
    pub object: String,
    pub source: Source,
    /// As it is in the object, shortened.
    pub value: String,
    /// When it happened, where the object has a time.
    pub at: Option<WallTime>,
}

/// Where the evidence was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path such as `status.conditions[Available].status`.
    Field(String),
    /// An event's reason.
    Event(String),
}

impl Judgment {
    pub fn healthy() -> Self {
        Self {
            verdict: Verdict::Healthy,
            reason: None,
            message: String::new(),
            evidence: Vec::new(),
            fault: None,
            warnings: Vec::new(),
            next_check_at: None,
            is_held: false,
            suspected_fault: None,
        }
    }

    pub fn progressing(reason: ReasonCode, message: impl Into<String>) -> Self {
        Self::of(Verdict::Progressing, reason, message)
    }

    /// Degraded; the fault is the reason's own.
    pub fn degraded(reason: ReasonCode, message: impl Into<String>) -> Self {
        Self { fault: reason.fault(), ..Self::of(Verdict::Degraded, reason, message) }
    }

    pub fn suspended(message: impl Into<String>) -> Self {
        Self::of(Verdict::Suspended, ReasonCode::Paused, message)
    }

    pub fn missing(message: impl Into<String>) -> Self {
        Self::of(Verdict::Missing, ReasonCode::Missing, message)
    }

    /// Nothing that this crate knows understands the object.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::of(Verdict::Unknown, ReasonCode::NoRule, message)
    }

    fn of(verdict: Verdict, reason: ReasonCode, message: impl Into<String>) -> Self {
        Self { verdict, reason: Some(reason), message: message.into(), ..Self::healthy() }
    }

    #[must_use]
    pub fn with(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    #[must_use]
    pub fn warn(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }

    /// To be judged again at `at`, or earlier when an earlier time was given already.
    #[must_use]
    pub fn recheck_at(mut self, at: WallTime) -> Self {
        self.next_check_at = Some(self.next_check_at.map_or(at, |known| known.min(at)));
        self
    }
}

/// The text of others on one line and shortened: its end, which often is the cause, stays.
pub(crate) fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    shorten(&line, EVIDENCE_CHARS_MAX, |_| 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_one_line_and_cut_between_characters() {
        assert_eq!(quote(" a\n  b "), "a b");
        let text = "ü".repeat(EVIDENCE_CHARS_MAX);
        assert_eq!(quote(&text), text);
        assert_eq!(quote(&format!("{text}x")), format!("{text}…"));
    }
}
