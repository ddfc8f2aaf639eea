//! The judgment of custom resources: by the rule of the kind, else by what most controllers write.
//!
//! A rule is data ([`RuleSet`]); the general judgment is code and knows no kind. Both are pure: an object, the
//! rules and a time. Deliberately not here: the objects below a custom resource; whoever has them combines.

mod condition;
mod expression;
mod generic;
mod rules;
mod status_vocabulary;
mod subject;
mod view;

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Wall;

pub use self::rules::{RuleError, RuleSet};
use self::subject::Subject;
use crate::judgment::{Judgment, quote};
use crate::object::{Object, time_of};

/// Judges the object itself. What no rule and no common sign explains is `unknown`, never healthy.
pub fn judge_custom(object: &Value, rules: &RuleSet, now: Wall) -> Judgment {
    let subject = Subject::new(object);
    if let Some(judgment) = deletion(&subject) {
        return judgment;
    }
    rules.judge(&subject, now).unwrap_or_else(|| generic::judge(&subject, now))
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
