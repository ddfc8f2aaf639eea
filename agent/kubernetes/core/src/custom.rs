//! The judgment of custom resources: by the rule of the kind, else by what most controllers write.
//!
//! A rule is data ([`RuleSet`]); the general judgment is code and knows no kind. Both are pure: an object, the
//! rules and a time. Deliberately not here: the objects below a custom resource; whoever has them combines.

mod busy;
mod condition;
mod configuration;
mod explanation;
mod expression;
pub(crate) mod failure_text;
mod generic;
pub(crate) mod polarity;
mod rules;
mod status_vocabulary;
mod subject;
mod suspension;
mod view;

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Wall;

pub use self::rules::{RuleError, RuleSet};
use self::subject::Subject;
use crate::judgment::{Judgment, quote};
use crate::object::{Object, time_of};

/// What a judgment knows besides the object and the rules.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    pub now: Wall,
    /// The start of the deploy.
    pub since: Option<Wall>,
    /// Whether the definition of the kind declares a status, where the definition is known.
    pub declares_status: Option<bool>,
}

impl Circumstances {
    /// Nothing but the time is known.
    pub fn at(now: Wall) -> Self {
        Self { now, since: None, declares_status: None }
    }
}

/// Judges the object itself. What no rule and no common sign explains is `unknown`, never healthy.
pub fn judge_custom(object: &Value, rules: &RuleSet, known: Circumstances) -> Judgment {
    let subject = Subject::new(object, known.since);
    if let Some(judgment) = deletion(&subject) {
        return judgment;
    }
    if let Some(judgment) = suspension::by_marker(&subject) {
        return judgment;
    }
    let rule = rules.find(&subject);
    // A rule that names the kind knows it better than the table of kinds without a status.
    if !rule.is_some_and(|rule| rule.names_kind(&subject))
        && let Some(judgment) = configuration::judge(&subject, known.declares_status)
    {
        return judgment;
    }
    match rule {
        Some(rule) => rule.judge(&subject, known.now),
        None => generic::judge(&subject, known.now),
    }
}

fn deletion(subject: &Subject<'_>) -> Option<Judgment> {
    let object = Object::new(subject.object);
    let since = object.at("metadata.deletionTimestamp")?;
    let finalizers = object.list("metadata.finalizers").iter();
    let names: Vec<&str> = finalizers.filter_map(Value::as_str).collect();
    let message = if names.is_empty() {
        "it is being deleted".to_owned()
    } else {
        format!("it is being deleted and waits for its finalizers: {}", quote(&names.join(", ")))
    };
    let evidence = subject.evidence("metadata.deletionTimestamp", since, time_of(Some(since)));
    Some(Judgment::progressing(ReasonCode::NotReady, message).with(evidence))
}
