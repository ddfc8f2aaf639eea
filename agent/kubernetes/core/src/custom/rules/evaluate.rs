//! One rule over one object: suspension, generation, clauses in their order, then what holds otherwise.

use std::collections::BTreeSet;

use trimaran_model::limits::STRIKE_AGE;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::WallTime;
use trimaran_model::verdict::Verdict;

use super::states::Unlisted;
use super::{Age, Clause, ObservedGeneration, Outcome, Rule};
use crate::custom::condition::{Condition, Conditions, Truth};
use crate::custom::expression::{Answer, Expression};
use crate::custom::subject::{self, Observed, Status, Subject};
use crate::custom::view::View;
use crate::custom::{busy, explanation, failure_text, generic, status_vocabulary, suspension};
use crate::judgment::{Evidence, Judgment, quote};
use crate::object::time_of;

pub(super) fn judge(rule: &Rule, subject: &Subject<'_>, now: WallTime) -> Judgment {
    if matches!(subject.status, Status::Odd) {
        return Judgment::unknown("its status is not a map, so it can not be read");
    }
    let roots = expressions(rule).flat_map(|expression| expression.roots.iter().copied()).collect();
    let conditions = Conditions::read(subject, subject.status("conditions"));
    let view = View::new(subject, &conditions, &roots);
    Case { rule, subject, view, conditions, now }.judge()
}

fn expressions(rule: &Rule) -> impl Iterator<Item = &Expression> {
    let clauses = rule.clauses.iter();
    let of_clauses = clauses.flat_map(|clause| {
        let since = clause.age.iter().map(|age| &age.since);
        let warning = clause.warning.iter().flat_map(super::Template::expressions);
        std::iter::once(&clause.cel).chain(since).chain(warning).chain(outcome_expressions(&clause.outcome))
    });
    of_clauses.chain(&rule.suspended).chain(rule.otherwise.iter().flat_map(outcome_expressions))
}

/// Those that decide, without the ones that only fill messages.
fn deciding(rule: &Rule) -> impl Iterator<Item = &Expression> {
    rule.clauses.iter().map(|clause| &clause.cel).chain(&rule.suspended)
}

fn outcome_expressions(outcome: &Outcome) -> impl Iterator<Item = &Expression> {
    let message = match outcome {
        Outcome::Verdict { message, .. } => message.as_ref(),
        Outcome::Generic => None,
    };
    message.into_iter().flat_map(super::Template::expressions)
}

/// Whether an expression holds.
enum Held {
    Yes,
    No,
    /// Not yet: time alone can change it.
    At(WallTime),
    /// It holds, and is a failure that may pass: at this time it does not any more, or never by time alone.
    Suspected(Option<WallTime>),
}

fn degrades(clause: &Clause) -> bool {
    matches!(&clause.outcome, Outcome::Verdict { verdict: Verdict::Degraded, .. })
}

fn with_rechecks(judgment: Judgment, times: Vec<WallTime>) -> Judgment {
    times.into_iter().fold(judgment, Judgment::recheck_at)
}

const UNREADABLE: &str = "status.conditions has entries that can't be read";

struct Case<'a> {
    rule: &'a Rule,
    subject: &'a Subject<'a>,
    view: View,
    conditions: Conditions<'a>,
    now: WallTime,
}

impl Case<'_> {
    fn judge(&self) -> Judgment {
        let judgment = self.with_unlisted(self.decide().unwrap_or_else(|unknown| unknown));
        if self.is_unreadable() { judgment.warn(UNREADABLE) } else { judgment }
    }

    /// `Err` when an expression can't answer: then the rule knows nothing, and says so.
    fn decide(&self) -> Result<Judgment, Judgment> {
        if let Some(suspended) = &self.rule.suspended
            && self.holds(suspended)?
        {
            return Ok(self.seen(Judgment::suspended(self.sentence(suspended)), suspended));
        }
        if let Some(suspended) = self.general_suspension() {
            return Ok(suspended);
        }
        if let Some(judgment) = self.generation() {
            return Ok(judgment);
        }
        let mut later: Vec<WallTime> = Vec::new();
        let mut suspicion: Option<Judgment> = None;
        for clause in &self.rule.clauses {
            match self.clause(clause)? {
                Held::No => {}
                Held::At(at) => later.push(at),
                Held::Suspected(at) => {
                    let judgment = Judgment::progressing(ReasonCode::NotReady, self.message(clause));
                    suspicion.get_or_insert_with(|| self.seen(judgment, &clause.cel));
                    later.extend(at);
                }
                // A failure that may pass keeps everything but another failure from being the verdict.
                Held::Yes if suspicion.is_some() && !degrades(clause) => break,
                Held::Yes => return Ok(self.settle(with_rechecks(self.outcome(clause), later))),
            }
        }
        let judgment = match (suspicion, &self.rule.otherwise, self.subject.status) {
            (Some(suspicion), ..) => suspicion,
            (None, _, Status::None) => {
                Judgment::progressing(ReasonCode::NotReady, "its controller has not written a status yet")
            }
            (None, Some(outcome), _) => self.otherwise(outcome),
            (None, None, _) => {
                Judgment::unknown(format!("the rule {} does not know this status", self.rule.file))
            }
        };
        Ok(self.settle(with_rechecks(judgment, later)))
    }

    /// What suspends objects of every kind, unless the rule names the field or condition itself.
    fn general_suspension(&self) -> Option<Judgment> {
        let names_path =
            |field: &str| deciding(self.rule).any(|it| it.paths.iter().any(|path| *path == ["spec", field]));
        let names_condition = |name: &str| deciding(self.rule).any(|it| it.conditions.contains(name));
        suspension::by_spec(self.subject, names_path)
            .or_else(|| suspension::by_condition(self.subject, &self.conditions, names_condition))
    }

    /// A reason may only name the step that failed (`ApplyingSchema`), with the error in its message: once it is old
    /// enough, that is a failure.
    fn settle(&self, judgment: Judgment) -> Judgment {
        if judgment.verdict != Verdict::Progressing || judgment.reason == Some(ReasonCode::Generation) {
            return judgment;
        }
        let names: BTreeSet<&String> = self.healthy_clauses().flat_map(|cel| &cel.conditions).collect();
        let lacking = names.into_iter().filter_map(|name| self.conditions.get(name));
        match busy::failure(lacking, self.now) {
            Some(busy::Failure::Now(condition)) => {
                let path = format!("status.conditions[{}].status", condition.name);
                let evidence = self.subject.evidence(path, &condition.truth.as_str().into(), condition.at);
                Judgment::degraded(ReasonCode::ConditionFailed, condition.sentence()).with(evidence)
            }
            Some(busy::Failure::From(at)) => judgment.recheck_at(at),
            None => judgment,
        }
    }

    fn generation(&self) -> Option<Judgment> {
        if self.rule.observed_generation == ObservedGeneration::None {
            return None;
        }
        let Status::Map(_) = self.subject.status else { return None };
        let required = self.rule.observed_generation != ObservedGeneration::Optional;
        let generation = self.subject.generation?;
        let wait = |words: &str| Some(Judgment::progressing(ReasonCode::Generation, words));
        let text = self.subject.status("observedGeneration").is_some_and(serde_json::Value::is_string);
        match self.subject.observed() {
            Observed::Generation(_) if text && self.rule.observed_generation == ObservedGeneration::Int => {
                wait("status.observedGeneration is a text, so the controller's generation can't be compared")
            }
            Observed::Generation(observed) if observed < generation => {
                Some(generic::behind(self.subject, observed, generation))
            }
            Observed::Generation(_) => None,
            Observed::Absent if !required => None,
            Observed::Absent => wait("the controller has not written yet which generation it has seen"),
            Observed::Odd => wait(
                "status.observedGeneration is not a number, so the controller's generation can't be compared",
            ),
        }
    }

    fn clause(&self, clause: &Clause) -> Result<Held, Judgment> {
        if !self.holds(&clause.cel)? {
            return Ok(Held::No);
        }
        let age = match &clause.age {
            Some(age) => self.age(age)?,
            None => Held::Yes,
        };
        if !matches!(age, Held::Yes) || !degrades(clause) {
            return Ok(age);
        }
        Ok(match self.evidence_time(&clause.cel).map(|at| at + STRIKE_AGE) {
            Some(at) if at > self.now => Held::Suspected(Some(at)),
            _ if clause.age.is_none() && !clause.is_final && self.is_transient(&clause.cel) => {
                Held::Suspected(None)
            }
            _ => Held::Yes,
        })
    }

    /// Whether all failures that the expression found are ones that the next try may overcome. An expression that asks
    /// all conditions in a loop found every bad one.
    fn is_transient(&self, expression: &Expression) -> bool {
        let loops = expression.conditions.is_empty()
            && expression.paths.iter().any(|path| *path == ["status", "conditions"]);
        let found: Vec<&Condition<'_>> = if loops {
            self.conditions.by_name.values().filter(|condition| !condition.stale).collect()
        } else {
            self.named(expression).collect()
        };
        let mut failures =
            found.into_iter().filter(|it| it.is_bad() && is_failure_text(it.reason, it.message)).peekable();
        failures.peek().is_some() && failures.all(|it| failure_text::is_transient(it.reason, it.message))
    }

    fn age(&self, age: &Age) -> Result<Held, Judgment> {
        let time = match age.since.evaluate(&self.view) {
            Answer::Value(cel::Value::String(text)) => time_of(Some(&text.as_str().into())),
            Answer::Value(_) | Answer::Missing => None,
            Answer::Error(error) => return Err(self.broken(&age.since, &error)),
        };
        Ok(match time.map(|time| time + age.after) {
            Some(at) if at <= self.now => Held::Yes,
            Some(at) => Held::At(at),
            None => Held::No,
        })
    }

    fn holds(&self, expression: &Expression) -> Result<bool, Judgment> {
        match expression.evaluate(&self.view) {
            Answer::Value(cel::Value::Bool(truth)) => Ok(truth),
            Answer::Missing => Ok(false),
            Answer::Value(_) => Err(self.broken(expression, "it answers neither true nor false")),
            Answer::Error(error) => Err(self.broken(expression, &error)),
        }
    }

    fn broken(&self, expression: &Expression, error: &str) -> Judgment {
        let text = quote(&expression.text);
        let error = quote(error);
        Judgment::unknown(format!("the rule {} can't be applied to this status", self.rule.file))
            .warn(format!("rule {}: `{text}`: {error}", self.rule.file))
    }

    fn outcome(&self, clause: &Clause) -> Judgment {
        let Outcome::Verdict { verdict, reason, .. } = &clause.outcome else {
            return generic::judge(self.subject, self.now);
        };
        let judgment = self.seen(self.judgment(*verdict, *reason, self.message(clause)), &clause.cel);
        let warning = clause.warning.as_ref().map(|warning| warning.fill(&self.view));
        warning.into_iter().filter(|warning| !warning.is_empty()).fold(judgment, Judgment::warn)
    }

    /// What the clause says, with the controller's own words where the clause has none of them.
    fn message(&self, clause: &Clause) -> String {
        let Outcome::Verdict { verdict, message, .. } = &clause.outcome else {
            return self.sentence(&clause.cel);
        };
        let filled = message.as_ref().map(|message| message.fill(&self.view));
        let filled = filled.filter(|message| !message.is_empty());
        let message = filled.unwrap_or_else(|| self.sentence(&clause.cel));
        match verdict {
            Verdict::Degraded => explanation::complete(self.subject, &self.conditions, message),
            _ => message,
        }
    }

    fn otherwise(&self, outcome: &Outcome) -> Judgment {
        let Outcome::Verdict { verdict, reason, message } = outcome else {
            return generic::judge(self.subject, self.now);
        };
        let filled = message.as_ref().map(|message| message.fill(&self.view));
        let message = filled.filter(|message| !message.is_empty()).unwrap_or_else(|| self.lacking());
        let unlisted = self.rule.states.unlisted(self.subject);
        let unlisted: Vec<String> = unlisted.iter().map(sentence_of).collect();
        let message = if unlisted.is_empty() { message } else { unlisted.join(", ") };
        let message = explanation::of_phase(self.subject, message);
        let waits = *reason == ReasonCode::NotReady;
        let reason = if waits && self.is_behind() { ReasonCode::Generation } else { *reason };
        let judgment = self.judgment(*verdict, reason, message);
        self.healthy_clauses().fold(judgment, |judgment, cel| self.seen(judgment, cel))
    }

    /// A warning for each state that the rule does not list. A failure and what waits for a person have their own
    /// words, and before the generation was seen the state is that of an earlier one.
    fn with_unlisted(&self, judgment: Judgment) -> Judgment {
        let speaks = matches!(judgment.verdict, Verdict::Healthy | Verdict::Progressing)
            && judgment.reason != Some(ReasonCode::Generation);
        let unlisted = self.rule.states.unlisted(self.subject).into_iter().filter(|_| speaks);
        unlisted.fold(judgment, |judgment, state| {
            let file = &self.rule.file;
            judgment.warn(format!("{}, a state that the rule {file} does not list", sentence_of(&state)))
        })
    }

    fn judgment(&self, verdict: Verdict, reason: ReasonCode, message: String) -> Judgment {
        match verdict {
            // What can't be read may be the condition that speaks against it.
            Verdict::Healthy if self.is_unreadable() => Judgment::unknown(UNREADABLE),
            Verdict::Healthy => Judgment::healthy(),
            Verdict::Progressing => Judgment::progressing(reason, message),
            Verdict::Degraded => Judgment::degraded(reason, message),
            Verdict::Suspended => Judgment::suspended(message),
            Verdict::Missing => Judgment::missing(message),
            Verdict::Unknown => Judgment::unknown(message),
        }
    }

    fn healthy_clauses(&self) -> impl Iterator<Item = &Expression> {
        let healthy =
            self.rule.clauses.iter().filter(|clause| {
                matches!(&clause.outcome, Outcome::Verdict { verdict: Verdict::Healthy, .. })
            });
        healthy.map(|clause| &clause.cel)
    }

    /// Whether a condition that healthy asks for describes an earlier generation.
    fn is_behind(&self) -> bool {
        let mut names = self.healthy_clauses().flat_map(|cel| &cel.conditions);
        names.any(|name| self.conditions.get(name).is_some_and(|condition| condition.stale))
    }

    /// What keeps the object from healthy, as far as the clauses of healthy show.
    fn lacking(&self) -> String {
        let names: BTreeSet<&String> = self.healthy_clauses().flat_map(|cel| &cel.conditions).collect();
        let mut parts = Vec::new();
        for condition in names.iter().filter_map(|name| self.conditions.get(name)) {
            if condition.stale {
                parts.push(format!("{} describes an earlier generation", condition.name));
            } else if condition.truth != Truth::True {
                parts.push(condition.sentence());
            }
        }
        for cel in self.healthy_clauses() {
            parts.extend(self.values(cel, &["status"]));
        }
        let absent = names.iter().find(|name| self.conditions.get(name).is_none());
        if let (true, Some(name)) = (parts.is_empty(), absent) {
            parts.push(format!("there is no condition {name}"));
        }
        parts.dedup();
        parts.truncate(PARTS_SHOWN);
        if parts.is_empty() {
            "its status does not say that it is healthy".to_owned()
        } else {
            parts.join("; ")
        }
    }

    /// Whether the rule asks conditions and not all of them can be read.
    fn is_unreadable(&self) -> bool {
        self.conditions.odd && expressions(self.rule).any(|expression| !expression.conditions.is_empty())
    }

    /// The fresh conditions that an expression names.
    fn named<'c>(&'c self, expression: &'c Expression) -> impl Iterator<Item = &'c Condition<'c>> {
        let named = expression.conditions.iter().filter_map(|name| self.conditions.get(name));
        named.filter(|condition| !condition.stale)
    }

    /// What an expression read, as evidence.
    fn evidence(&self, expression: &Expression) -> Vec<Evidence> {
        let named = self.named(expression).map(|condition| {
            let path = format!("status.conditions[{}].status", condition.name);
            self.subject.evidence(path, &condition.truth.as_str().into(), condition.at)
        });
        let paths = expression.paths.iter().filter_map(|path| {
            let value = self.at(path).filter(|value| !(value.is_object() || value.is_array()))?;
            Some(self.subject.evidence(path.join("."), value, None))
        });
        named.chain(paths).collect()
    }

    fn at(&self, path: &[String]) -> Option<&serde_json::Value> {
        let names = if path[0] == "object" { &path[1..] } else { path };
        names.iter().try_fold(self.subject.object, |value, name| value.get(name))
    }

    fn seen(&self, judgment: Judgment, expression: &Expression) -> Judgment {
        self.evidence(expression).into_iter().fold(judgment, |judgment, evidence| {
            if judgment.evidence.contains(&evidence) { judgment } else { judgment.with(evidence) }
        })
    }

    /// The latest change of the conditions that an expression reads.
    fn evidence_time(&self, expression: &Expression) -> Option<WallTime> {
        self.named(expression).filter_map(|condition| condition.at).max()
    }

    /// What an expression read, in words.
    fn sentence(&self, expression: &Expression) -> String {
        let mut parts: Vec<String> = self.named(expression).map(Condition::sentence).collect();
        parts.extend(self.values(expression, &["metadata", "spec", "status"]));
        if parts.is_empty() {
            parts.push(format!("`{}` holds", quote(&expression.text)));
        }
        quote(&parts.join("; "))
    }

    /// `status.phase is Failed` for each plain path below some roots that is there.
    fn values(&self, expression: &Expression, roots: &[&str]) -> Vec<String> {
        let paths = expression.paths.iter().filter(|path| roots.contains(&path[0].as_str()));
        let values = paths.filter_map(|path| {
            let value = self.at(path).filter(|value| !(value.is_object() || value.is_array()))?;
            Some(format!("{} is {}", path.join("."), subject::shown(value)))
        });
        values.collect()
    }
}

fn sentence_of(state: &Unlisted) -> String {
    format!("{} is {}", state.path, quote(&state.word))
}

/// Whether a condition fails by its reason or by its message.
fn is_failure_text(reason: &str, message: &str) -> bool {
    status_vocabulary::is_failure(reason)
        || failure_text::is_transient(reason, message)
        || failure_text::message_fails(reason, message)
}

/// Facts that one message names.
const PARTS_SHOWN: usize = 4;
