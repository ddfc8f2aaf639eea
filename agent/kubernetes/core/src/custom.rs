//! The judgment of custom resources: by the rule of the kind, else by what most controllers write.
//!
//! A rule is data ([`RuleSet`]); the general judgment is code and knows no kind. Both are pure: an object, the
//! rules and a time. Deliberately not here: the objects below a custom resource; whoever has them combines.

mod builtin;
mod condition;
mod expression;
mod generic;
mod object;
mod rules;
mod view;
mod words;

use serde_json::Value;
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Wall;

use self::object::Subject;
pub use self::rules::{RuleError, RuleSet};
use crate::judgment::Judgment;

/// Judges the object itself. What no rule and no common sign explains is `unknown`, never healthy.
pub fn judge_custom(object: &Value, rules: &RuleSet, now: Wall) -> Judgment {
    let subject = Subject::new(object);
    if let Some(judgment) = deletion(&subject) {
        return judgment;
    }
    rules.judge(&subject, now).unwrap_or_else(|| generic::judge(&subject, now))
}

fn deletion(subject: &Subject<'_>) -> Option<Judgment> {
    let metadata = subject.object.get("metadata")?;
    let since = metadata.get("deletionTimestamp").filter(|time| !time.is_null())?;
    let finalizers = metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = finalizers.filter_map(Value::as_str).collect();
    let message = if names.is_empty() {
        "it is being deleted".to_owned()
    } else {
        format!("it is being deleted and waits for its finalizers: {}", object::shortened(&names.join(", ")))
    };
    let evidence = subject.evidence("metadata.deletionTimestamp", since, object::time(since));
    Some(Judgment::progressing(ReasonCode::NotReady, message).with(evidence))
}
