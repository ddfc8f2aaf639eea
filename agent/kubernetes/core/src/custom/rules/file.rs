//! A rule file as text, and the checks that make it a rule.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::{Location, Spanned};
use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, WallTime};
use trimaran_model::verdict::Verdict;

use super::states::{Listed, States};
use super::template::Template;
use super::{Age, Clause, ObservedGeneration, Outcome, Pattern, Rule, RuleError, RuleSet};
use crate::custom::expression::{Expression, Fault};
use crate::custom::{Circumstances, judge_custom};
use crate::judgment::quote;
use crate::object::time_of;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(rename = "match")]
    matching: Spanned<MatchFile>,
    observed_generation: Option<Spanned<String>>,
    suspended: Option<Spanned<String>>,
    #[serde(default)]
    states: BTreeMap<String, Spanned<Value>>,
    when: Spanned<Vec<ClauseFile>>,
    otherwise: Option<Spanned<OutcomeFile>>,
    examples: Option<ExamplesFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MatchFile {
    group: Spanned<String>,
    kind: Option<String>,
    kinds: Option<Vec<String>>,
    #[serde(default)]
    versions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClauseFile {
    cel: Spanned<String>,
    since: Option<Spanned<String>>,
    after: Option<Spanned<String>>,
    #[serde(rename = "final", default)]
    is_final: bool,
    verdict: Spanned<String>,
    reason: Option<Spanned<String>>,
    message: Option<Spanned<String>>,
    warning: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeFile {
    verdict: Spanned<String>,
    reason: Option<Spanned<String>>,
    message: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExamplesFile {
    now: Option<Spanned<String>>,
    #[serde(default)]
    good: Vec<Spanned<Value>>,
    #[serde(default)]
    progressing: Vec<Spanned<Value>>,
    #[serde(default)]
    bad: Vec<Spanned<Value>>,
    #[serde(default)]
    suspended: Vec<Spanned<Value>>,
    #[serde(default)]
    unknown: Vec<Spanned<Value>>,
}

/// Objects of a rule file with the verdicts that they must get.
#[derive(Debug, Default)]
pub(super) struct Examples {
    pub now: WallTime,
    pub cases: Vec<Example>,
}

#[derive(Debug)]
pub(super) struct Example {
    pub verdict: Verdict,
    pub object: Value,
    line: u32,
    column: u32,
}

impl Examples {
    /// The examples that are judged otherwise than they say.
    pub(super) fn check(&self, file: &str, rules: &RuleSet) -> Vec<RuleError> {
        let wrong = self.cases.iter().filter_map(|example| {
            let judgment = judge_custom(&example.object, rules, Circumstances::at(self.now));
            let because = [vec![judgment.message], judgment.warnings].concat().join("; ");
            let what = format!(
                "this example of {} is judged {}: {because}",
                example.verdict.as_str(),
                judgment.verdict.as_str()
            );
            (judgment.verdict != example.verdict).then(|| RuleError {
                file: file.to_owned(),
                line: example.line,
                column: example.column,
                what,
                help: "correct the rule or the example".to_owned(),
            })
        });
        wrong.collect()
    }
}

/// Reads one file.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub(super) fn read(file: &str, text: &str) -> Result<(Rule, Examples), RuleError> {
    Reader { file }.read(text)
}

struct Reader<'a> {
    file: &'a str,
}

const KEYS_HELP: &str = "a rule file has match, observed_generation, suspended, states, when, otherwise and examples; \
    see the page on rules";

/// The clock of examples that name none.
const DEFAULT_NOW: &str = "2026-01-01T12:00:00Z";

impl Reader<'_> {
    fn error(&self, place: Location, what: impl Into<String>, help: impl Into<String>) -> RuleError {
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
        RuleError {
            file: self.file.to_owned(),
            line: number(place.line()),
            column: number(place.column()),
            what: what.into(),
            help: help.into(),
        }
    }

    fn read(&self, text: &str) -> Result<(Rule, Examples), RuleError> {
        if text.len() > limits::RULE_FILE_BYTES_MAX {
            let what = format!("the file is larger than {} bytes", limits::RULE_FILE_BYTES_MAX);
            return Err(self.error(
                Location::UNKNOWN,
                what,
                "a rule and its examples are small; split the file",
            ));
        }
        let file: RuleFile = serde_saphyr::from_str(text).map_err(|error| {
            let place = error.location().unwrap_or(Location::UNKNOWN);
            let words = error.without_snippet().to_string();
            let what = words.lines().next().unwrap_or("this can't be read").to_owned();
            self.error(place, what, KEYS_HELP)
        })?;
        let clauses = file.when.value.iter().map(|clause| self.clause(clause));
        let mut rule = Rule {
            file: self.file.to_owned(),
            group: Pattern::new(&file.matching.value.group.value),
            kinds: self.kinds(&file.matching)?,
            versions: file.matching.value.versions.clone(),
            observed_generation: self.observed_generation(file.observed_generation.as_ref())?,
            suspended: file.suspended.as_ref().map(|cel| self.expression(cel)).transpose()?,
            clauses: clauses.collect::<Result<_, _>>()?,
            otherwise: file.otherwise.as_ref().map(|otherwise| self.otherwise(otherwise)).transpose()?,
            states: States::default(),
        };
        let length = rule.clauses.len();
        if length == 0 || length > limits::RULE_CLAUSES_MAX {
            let what = format!("`when` has {length} clauses, and may have 1 to {}", limits::RULE_CLAUSES_MAX);
            return Err(self.error(
                file.when.referenced,
                what,
                "write a clause for each thing the status can say",
            ));
        }
        rule.states = States::new(&rule.clauses, rule.suspended.as_ref(), &self.states(&file.states)?);
        Ok((rule, self.examples(file.examples)?))
    }

    fn states(
        &self,
        lists: &BTreeMap<String, Spanned<Value>>,
    ) -> Result<BTreeMap<Vec<String>, Listed>, RuleError> {
        let read = lists.iter().map(|(path, list)| {
            let names: Vec<String> = path.split('.').map(str::to_owned).collect();
            let what = if names.len() < 2 || names[0] != "status" || names.iter().any(String::is_empty) {
                format!("`{}` is not a field of the status", quote(path))
            } else if let Some(listed) = Listed::read(&list.value) {
                return Ok((names, listed));
            } else {
                format!("the states of `{}` are no list of words", quote(path))
            };
            let help = "write `status.phase: [Pending, Running]`, or `status.phase: any` for an open list";
            Err(self.error(list.referenced, what, help))
        });
        read.collect()
    }

    fn kinds(&self, matching: &Spanned<MatchFile>) -> Result<Vec<Pattern>, RuleError> {
        let MatchFile { kind, kinds, group, .. } = &matching.value;
        if !group.value.contains('.') && group.value != "*" {
            let what =
                "a group without a dot belongs to Kubernetes itself, whose kinds are not judged by rules";
            return Err(self.error(group.referenced, what, "write the part of apiVersion before the slash"));
        }
        let kinds = match (kind, kinds) {
            (Some(kind), None) => vec![Pattern::new(kind)],
            (None, Some(kinds)) if (1..=limits::RULE_CLAUSES_MAX).contains(&kinds.len()) => {
                kinds.iter().map(|kind| Pattern::new(kind)).collect()
            }
            _ => {
                let what = "`match` needs either `kind` or a list of `kinds`";
                return Err(self.error(matching.referenced, what, "write `kind: Name`, or `kinds: [A, B]`"));
            }
        };
        Ok(kinds)
    }

    fn observed_generation(&self, mode: Option<&Spanned<String>>) -> Result<ObservedGeneration, RuleError> {
        let Some(mode) = mode else { return Ok(ObservedGeneration::Optional) };
        match mode.value.as_str() {
            "int" => Ok(ObservedGeneration::Int),
            "string" => Ok(ObservedGeneration::String),
            "optional" => Ok(ObservedGeneration::Optional),
            "none" => Ok(ObservedGeneration::None),
            other => {
                let what = format!("`{}` is no way to observe a generation", quote(other));
                Err(self.error(mode.referenced, what, "write int, string, optional or none"))
            }
        }
    }

    fn clause(&self, clause: &ClauseFile) -> Result<Clause, RuleError> {
        let age = match (&clause.since, &clause.after) {
            (None, None) => None,
            (Some(since), Some(after)) => {
                Some(Age { since: self.expression(since)?, after: self.duration(after)? })
            }
            (Some(only), None) | (None, Some(only)) => {
                let what = "`since` and `after` belong together";
                let help = "`since` is an expression that gives a time, `after` a length such as 10m";
                return Err(self.error(only.referenced, what, help));
            }
        };
        Ok(Clause {
            cel: self.expression(&clause.cel)?,
            age,
            is_final: clause.is_final,
            warning: clause.warning.as_ref().map(|warning| self.template(warning)).transpose()?,
            outcome: self.outcome(&clause.verdict, clause.reason.as_ref(), clause.message.as_ref())?,
        })
    }

    fn otherwise(&self, otherwise: &Spanned<OutcomeFile>) -> Result<Outcome, RuleError> {
        let OutcomeFile { verdict, reason, message, .. } = &otherwise.value;
        if verdict.value == Verdict::Healthy.as_str() {
            let what = "`otherwise` must not be healthy: a status that was not foreseen is no good news";
            return Err(self.error(verdict.referenced, what, "write a clause that says when it is healthy"));
        }
        self.outcome(verdict, reason.as_ref(), message.as_ref())
    }

    fn outcome(
        &self,
        verdict: &Spanned<String>,
        reason: Option<&Spanned<String>>,
        message: Option<&Spanned<String>>,
    ) -> Result<Outcome, RuleError> {
        if let Some(extra) = reason.or(message).filter(|_| verdict.value == GENERIC) {
            let what = "the general judgment has its own reason and message";
            return Err(self.error(extra.referenced, what, "remove this line"));
        }
        if verdict.value == GENERIC {
            return Ok(Outcome::Generic);
        }
        let Some(known) = Verdict::from_name(&verdict.value) else {
            let what = format!("`{}` is not a verdict", quote(&verdict.value));
            let names: Vec<&str> = Verdict::ALL.iter().map(|verdict| verdict.as_str()).collect();
            return Err(self.error(
                verdict.referenced,
                what,
                format!("write {} or {GENERIC}", names.join(", ")),
            ));
        };
        let message = message.map(|message| self.template(message));
        Ok(Outcome::Verdict {
            verdict: known,
            reason: self.reason(known, reason)?,
            message: message.transpose()?,
        })
    }

    fn reason(&self, verdict: Verdict, reason: Option<&Spanned<String>>) -> Result<ReasonCode, RuleError> {
        let Some(reason) = reason else {
            return Ok(match verdict {
                Verdict::Healthy | Verdict::Progressing => ReasonCode::NotReady,
                Verdict::Degraded => ReasonCode::ConditionFailed,
                Verdict::Suspended => ReasonCode::Paused,
                Verdict::Missing => ReasonCode::Missing,
                Verdict::Unknown => ReasonCode::NoRule,
            });
        };
        let what = match (ReasonCode::from_name(&reason.value), verdict) {
            (Some(code), Verdict::Progressing | Verdict::Degraded) => return Ok(code),
            (Some(_), _) => "only progressing and degraded take a reason".to_owned(),
            (None, _) => format!("`{}` is not a reason", quote(&reason.value)),
        };
        let help = "leave it out, or take one of the table of reasons, such as condition_failed or not_ready";
        Err(self.error(reason.referenced, what, help))
    }

    fn template(&self, text: &Spanned<String>) -> Result<Template, RuleError> {
        Template::parse(&text.value).map_err(|fault| self.fault(text, fault))
    }

    fn expression(&self, cel: &Spanned<String>) -> Result<Expression, RuleError> {
        Expression::compile(&cel.value).map_err(|fault| self.fault(cel, fault))
    }

    /// A fault inside of a text: exact where the text is one line, else its first line.
    fn fault(&self, text: &Spanned<String>, fault: Fault) -> RuleError {
        let mut error = self.error(text.referenced, fault.what, fault.help);
        if fault.line == 1 && !text.value.contains('\n') {
            error.column = error.column.saturating_add(fault.column - 1);
        } else {
            error.line = error.line.saturating_add(fault.line);
            error.column = fault.column;
        }
        error
    }

    fn duration(&self, text: &Spanned<String>) -> Result<Millis, RuleError> {
        let length = text.value.parse::<jiff::SignedDuration>().ok();
        let length = length.and_then(|length| u64::try_from(length.as_millis()).ok());
        length.map(Millis).ok_or_else(|| {
            let what = format!("`{}` is not a length of time", quote(&text.value));
            self.error(text.referenced, what, "write it like 90s, 10m or 1h30m")
        })
    }

    fn examples(&self, file: Option<ExamplesFile>) -> Result<Examples, RuleError> {
        let Some(file) = file else { return Ok(Examples::default()) };
        let now = match &file.now {
            Some(text) => time_of(Some(&text.value.as_str().into())).ok_or_else(|| {
                self.error(text.referenced, "this is not a time", format!("write it like {DEFAULT_NOW}"))
            })?,
            None => time_of(Some(&DEFAULT_NOW.into())).expect("a constant time"),
        };
        let lists = [
            (Verdict::Healthy, file.good),
            (Verdict::Progressing, file.progressing),
            (Verdict::Degraded, file.bad),
            (Verdict::Suspended, file.suspended),
            (Verdict::Unknown, file.unknown),
        ];
        let cases = lists.into_iter().flat_map(|(verdict, list)| {
            list.into_iter().map(move |example| {
                let place = Reader { file: "" }.error(example.referenced, "", "");
                Example { verdict, object: example.value, line: place.line, column: place.column }
            })
        });
        Ok(Examples { now, cases: cases.collect() })
    }
}

/// The verdict of a clause that leaves the word to the general judgment.
const GENERIC: &str = "generic";
