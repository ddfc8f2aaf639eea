//! Rules as data: which rule speaks for a kind, and what it says.
//!
//! A rule is a reviewed file, see `ops/docs/kubernetes/rules.md`. Rules of the same kind replace each other,
//! the later one wins; a rule that names the kind wins over one that matches many.

mod evaluate;
mod file;
mod states;
mod template;

use std::sync::{Arc, LazyLock};

use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, WallTime};
use trimaran_model::verdict::Verdict;

use self::states::States;
use self::template::Template;
use super::expression::Expression;
use super::subject::Subject;
use crate::judgment::Judgment;

/// Why a rule file is refused. Line and column start at 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {what}")]
pub struct RuleError {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub what: String,
    /// What to do; never empty.
    pub help: String,
}

/// The rules of one judge.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    builtin: bool,
    added: Vec<Arc<Rule>>,
}

#[derive(Debug)]
pub(super) struct Rule {
    file: String,
    group: Pattern,
    kinds: Vec<Pattern>,
    /// Empty: all.
    versions: Vec<String>,
    observed_generation: ObservedGeneration,
    /// Asked before the generation: a controller that was switched off observes nothing more.
    suspended: Option<Expression>,
    clauses: Vec<Clause>,
    otherwise: Option<Outcome>,
    states: States,
}

/// How the controller says which generation it has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObservedGeneration {
    /// An integer, always.
    Int,
    /// A text of an integer, always.
    String,
    /// Either, or not at all.
    Optional,
    /// Not read: the field means something else.
    None,
}

#[derive(Debug)]
struct Clause {
    cel: Expression,
    /// The clause holds only once this time is so long ago.
    age: Option<Age>,
    /// The failure stays one although the message speaks of another try.
    is_final: bool,
    /// What deserves attention beside the verdict.
    warning: Option<Template>,
    outcome: Outcome,
}

#[derive(Debug)]
struct Age {
    since: Expression,
    after: Millis,
}

#[derive(Debug)]
enum Outcome {
    /// The judgment of kinds without a rule.
    Generic,
    Verdict {
        verdict: Verdict,
        reason: ReasonCode,
        message: Option<Template>,
    },
}

/// A group or kind: exact, everything, or everything below a domain (`*.crossplane.io`).
#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Below(String),
    Any,
}

impl Pattern {
    fn new(text: &str) -> Self {
        match text.strip_prefix('*') {
            Some("") => Self::Any,
            Some(domain) => Self::Below(domain.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    /// How exactly it matches; `None` when it does not.
    fn matches(&self, text: &str) -> Option<u8> {
        match self {
            Self::Exact(exact) => (exact == text).then_some(2),
            Self::Below(domain) => text.ends_with(domain.as_str()).then_some(1),
            Self::Any => Some(0),
        }
    }
}

impl Rule {
    /// Whether it is made for this very kind, and not for all kinds of a group.
    pub(super) fn names_kind(&self, subject: &Subject<'_>) -> bool {
        self.kinds.iter().any(|kind| matches!(kind, Pattern::Exact(exact) if exact == subject.kind))
    }

    pub(super) fn judge(&self, subject: &Subject<'_>, now: WallTime) -> Judgment {
        evaluate::judge(self, subject, now)
    }

    /// How exactly the rule matches: group before kind, a version last.
    fn matches(&self, subject: &Subject<'_>) -> Option<(u8, u8, bool)> {
        let version = self.versions.is_empty() || self.versions.iter().any(|known| known == subject.version);
        let group = self.group.matches(subject.group)?;
        let kind = self.kinds.iter().filter_map(|kind| kind.matches(subject.kind)).max()?;
        version.then_some((group, kind, !self.versions.is_empty()))
    }
}

// `BUILTIN_FILES`: the rule files that come with Trimaran, name and text of each, as they are in `rules/`.
include!(concat!(env!("OUT_DIR"), "/builtin_rules.rs"));

/// Compiled when the first custom resource is judged, not before.
static BUILTIN: LazyLock<Vec<Arc<Rule>>> = LazyLock::new(|| {
    let rules = BUILTIN_FILES.iter().map(|(name, text)| {
        let (rule, _) = file::read(name, text).expect("a test reads every built-in rule");
        Arc::new(rule)
    });
    rules.collect()
});

impl RuleSet {
    /// The rules that come with Trimaran; more can be added.
    pub fn builtin() -> Self {
        Self { builtin: true, added: Vec::new() }
    }

    /// All rules in the order of adding, the built-in ones first.
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        let builtin = self.builtin.then(|| BUILTIN.iter()).into_iter().flatten();
        builtin.chain(&self.added).map(AsRef::as_ref)
    }

    /// Adds the rule of one file; it wins over those that were added before for the same kinds. Its examples
    /// are judged, and the file is refused when one of them is judged otherwise than it says.
    ///
    /// # Errors
    /// The first thing in the file that is wrong.
    pub fn add(&mut self, file_name: &str, text: &str) -> Result<(), RuleError> {
        let (rule, examples) = file::read(file_name, text)?;
        if self.added.len() >= limits::RULES_MAX {
            let (what, help) = (format!("more than {} rules", limits::RULES_MAX), "remove some".to_owned());
            return Err(RuleError { file: file_name.to_owned(), line: 1, column: 1, what, help });
        }
        let mut with_rule = self.clone();
        with_rule.added.push(Arc::new(rule));
        if let Some(wrong) = examples.check(file_name, &with_rule).into_iter().next() {
            return Err(wrong);
        }
        *self = with_rule;
        Ok(())
    }

    /// The rule of the object's kind; `None` when there is none.
    pub(super) fn find(&self, subject: &Subject<'_>) -> Option<&Rule> {
        let matching = self.rules().filter_map(|rule| Some((rule.matches(subject)?, rule)));
        matching.max_by_key(|(exactness, _)| *exactness).map(|(_, rule)| rule)
    }
}

#[cfg(test)]
mod tests;
