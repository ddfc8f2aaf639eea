//! `approve` and `rollback` of an environment.

use std::collections::BTreeSet;

use trimaran_model::error_code;
use trimaran_model::pipeline::{Approve, ApproveOption, RollbackOn, RollbackPolicy, RollbackScope};
use trimaran_model::time::Millis;

use crate::decode::{Fields, choice, duration, each, list, or_default};
use crate::diagnostic::Sink;
use crate::tree::Entry;

const APPROVE_LATER: &[&str] = &["by", "count", "not_author", "on_timeout"];
const ROLLBACK_LATER: &[&str] = &["to", "mode", "unless", "max_age", "restore"];

/// Options default to promote or roll back, for three days.
pub(super) fn approval(entry: &Entry, sink: &mut Sink) -> Option<Approve> {
    let mut it = Fields::below(entry, sink)?.later(APPROVE_LATER);
    let (options, timeout) = (it.optional("options"), it.optional("timeout"));
    it.finish(sink);
    let default = vec![ApproveOption::Promote, ApproveOption::RollBack];
    let options = or_default(options, default, |entry| options_of(entry, sink));
    let timeout = or_default(timeout, Millis::hours(72), |entry| {
        let timeout = duration(entry, sink)?;
        if timeout == Millis::ZERO {
            let message = "an approval without any time: no one could ever choose";
            sink.error(error_code::APPROVE_OPTIONS, entry.value.span, message, "write it like 1h or 3d");
            return None;
        }
        Some(timeout)
    });
    Some(Approve { options: options?, timeout: timeout? })
}

fn options_of(entry: &Entry, sink: &mut Sink) -> Option<Vec<ApproveOption>> {
    let words = ApproveOption::ALL.map(|option| (option.as_str(), option));
    let mut seen = BTreeSet::new();
    let options = each(list(entry, sink)?, |item| {
        let option = choice(item, "an option", &words, sink)?;
        if !seen.insert(option) {
            let message = format!("option `{}` is here twice", option.as_str());
            sink.error(error_code::BAD_CHOICE, item.span, message, "remove one of the two");
            return None;
        }
        Some(option)
    })?;
    if !options.contains(&ApproveOption::Promote) {
        let message = "`options` lacks `promote`: the environment could never start";
        sink.error(error_code::APPROVE_OPTIONS, entry.value.span, message, "add `promote`");
        return None;
    }
    Some(options)
}

/// `rollback`: what is rolled back automatically, how far, and how long after success.
pub(super) fn rollback(entry: &Entry, sink: &mut Sink) -> Option<RollbackPolicy> {
    let default = RollbackPolicy::default();
    let mut it = Fields::below(entry, sink)?.later(ROLLBACK_LATER);
    let [on, scope, bake] = ["on", "scope", "bake"].map(|key| it.optional(key));
    it.finish(sink);
    let causes = [("health", RollbackOn::Health)];
    let on = or_default(on, default.on, |entry| {
        let on = each(list(entry, sink)?, |item| choice(item, "`on`", &causes, sink))?;
        Some(on.into_iter().collect())
    });
    let words = RollbackScope::ALL.map(|it| (it.as_str(), it));
    let scope = or_default(scope, default.scope, |entry| choice(&entry.value, "`scope`", &words, sink));
    let bake = or_default(bake, default.bake, |entry| duration(entry, sink).map(Some));
    Some(RollbackPolicy { on: on?, scope: scope?, bake: bake? })
}
