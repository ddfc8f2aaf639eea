//! One rule over one object: suspension, generation, clauses in their order, then what holds otherwise.

use std::collections::BTreeSet;

use trimaran_model::limits::STRIKE_AGE;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Wall;
use trimaran_model::verdict::Verdict;

use super::{Age, Clause, ObservedGeneration, Outcome, Rule};
use crate::custom::condition::Conditions;
use crate::custom::expression::{Answer, Expression};
use crate::custom::generic;
use crate::custom::object::{self, Observed, Status, Subject};
use crate::custom::view::View;
use crate::judgment::{Evidence, Judgment};

pub(super) fn judge(rule: &Rule, subject: &Subject<'_>, now: Wall) -> Judgment {
    if matches!(subject.status, Status::Odd) {
        return Judgment::unknown("its status is not a map, so nobody can read it");
    }
    let case = Case { rule, subject, view: View::new(subject, &roots(rule)), now };
    case.judge()
}

fn roots(rule: &Rule) -> BTreeSet<&'static str> {
    let clauses = rule.clauses.iter();
    let of_clauses = clauses.flat_map(|clause| {
        let since = clause.age.iter().map(|age| &age.since);
        std::iter::once(&clause.cel).chain(since).chain(outcome_expressions(&clause.outcome))
    });
    let others = rule.suspended.iter().chain(rule.otherwise.iter().flat_map(outcome_expressions));
    of_clauses.chain(others).flat_map(|expression| expression.roots.iter().copied()).collect()
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
    At(Wall),
}

struct Case<'a> {
    rule: &'a Rule,
    subject: &'a Subject<'a>,
    view: View,
    now: Wall,
}

impl Case<'_> {
    fn judge(&self) -> Judgment {
        self.decide().unwrap_or_else(|unknown| unknown)
    }

    /// `Err` when an expression can't answer: then the rule knows nothing, and says so.
    fn decide(&self) -> Result<Judgment, Judgment> {
        if let Some(suspended) = &self.rule.suspended
            && self.holds(suspended)?
        {
            return Ok(self.seen(Judgment::suspended(self.sentence(suspended)), suspended));
        }
        if let Some(judgment) = self.generation() {
            return Ok(judgment);
        }
        let mut later: Option<Wall> = None;
        let with_later = |judgment: Judgment, later: Option<Wall>| match later {
            Some(at) => judgment.again_at(at),
            None => judgment,
        };
        for clause in &self.rule.clauses {
            match self.clause(clause)? {
                Held::Yes => return Ok(with_later(self.outcome(&clause.outcome, Some(&clause.cel)), later)),
                Held::At(at) => later = Some(later.map_or(at, |known| known.min(at))),
                Held::No => {}
            }
        }
        let judgment = match (&self.rule.otherwise, self.subject.status) {
            (_, Status::None) => {
                Judgment::progressing(ReasonCode::NotReady, "its controller has not written a status yet")
            }
            (Some(outcome), _) => self.outcome(outcome, None),
            (None, _) => Judgment::unknown(format!("the rule {} does not know this status", self.rule.file)),
        };
        Ok(with_later(judgment, later))
    }

    fn generation(&self) -> Option<Judgment> {
        if self.rule.observed_generation == ObservedGeneration::None {
            return None;
        }
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
            Observed::Absent => wait("the controller has not said yet which generation it has seen"),
            Observed::Odd => wait(
                "status.observedGeneration is no number, so the controller's generation can't be compared",
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
        let degrades = matches!(&clause.outcome, Outcome::Verdict { verdict: Verdict::Degraded, .. });
        match (age, self.evidence_time(&clause.cel)) {
            (Held::Yes, Some(at)) if degrades && at + STRIKE_AGE > self.now => Ok(Held::At(at + STRIKE_AGE)),
            (held, _) => Ok(held),
        }
    }

    fn age(&self, age: &Age) -> Result<Held, Judgment> {
        let time = match age.since.evaluate(&self.view) {
            Answer::Value(cel::Value::String(text)) => object::time(&text.as_str().into()),
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
        let text = object::shortened(&expression.text);
        let error = object::shortened(error);
        Judgment::unknown(format!("the rule {} can't be applied to this status", self.rule.file))
            .warn(format!("rule {}: `{text}`: {error}", self.rule.file))
    }

    fn outcome(&self, outcome: &Outcome, cel: Option<&Expression>) -> Judgment {
        let Outcome::Verdict { verdict, reason, message } = outcome else {
            return generic::judge(self.subject, self.now);
        };
        let message = match (message, cel) {
            (Some(message), _) => message.fill(&self.view),
            (None, Some(cel)) => self.sentence(cel),
            (None, None) => "its status says neither healthy nor failed".to_owned(),
        };
        let judgment = match verdict {
            Verdict::Healthy => Judgment { message: String::new(), ..Judgment::healthy() },
            Verdict::Progressing => Judgment::progressing(*reason, message),
            Verdict::Degraded => Judgment::degraded(*reason, message),
            Verdict::Suspended => Judgment::suspended(message),
            Verdict::Missing => Judgment::missing(message),
            Verdict::Unknown => Judgment::unknown(message),
        };
        match cel {
            Some(cel) => self.seen(judgment, cel),
            None => judgment,
        }
    }

    /// What an expression read, as evidence.
    fn evidence(&self, expression: &Expression) -> Vec<Evidence> {
        let conditions = Conditions::read(self.subject, self.subject.status("conditions"));
        let named = expression.conditions.iter().filter_map(|name| conditions.get(name));
        let named = named.filter(|condition| !condition.stale).map(|condition| {
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
        self.evidence(expression).into_iter().fold(judgment, Judgment::with)
    }

    /// The latest change of the conditions that an expression reads.
    fn evidence_time(&self, expression: &Expression) -> Option<Wall> {
        let conditions = Conditions::read(self.subject, self.subject.status("conditions"));
        let named = expression.conditions.iter().filter_map(|name| conditions.get(name));
        named.filter(|condition| !condition.stale).filter_map(|condition| condition.at).max()
    }

    /// What an expression read, in words.
    fn sentence(&self, expression: &Expression) -> String {
        let conditions = Conditions::read(self.subject, self.subject.status("conditions"));
        let named = expression.conditions.iter().filter_map(|name| conditions.get(name));
        let mut parts: Vec<String> = named.map(|condition| condition.sentence()).collect();
        for path in &expression.paths {
            if let Some(value) = self.at(path).filter(|value| !(value.is_object() || value.is_array())) {
                parts.push(format!("{} is {}", path.join("."), object::shown(value)));
            }
        }
        if parts.is_empty() {
            parts.push(format!("`{}` holds", object::shortened(&expression.text)));
        }
        object::shortened(&parts.join("; "))
    }
}
