//! `environments:`: targets, order, and what each has of gates, strategy and rollback.

mod gates;
mod order;
mod strategy;

use std::collections::BTreeSet;

use trimaran_model::error_code;
use trimaran_model::id::{EnvironmentName, TargetName};
use trimaran_model::limits::{ENVIRONMENTS_MAX, TARGETS_PER_ENVIRONMENT_MAX};
use trimaran_model::pipeline::{Environment, RollbackPolicy, Strategy};

use crate::decode::{Fields, each, list, name, or_default};
use crate::diagnostic::Sink;
use crate::document::EnvironmentOutline;
use crate::tree::{Entry, Node, NodeKind, Span};
use order::Named;

const LATER: &[&str] = &[
    "hosts",
    "vars",
    "window",
    "order",
    "test",
    "analysis",
    "overrides",
    "auto",
    "on_agent_loss",
    "on_failure",
    "on_new_host",
    "preview",
    "freeze",
];

pub(super) fn lower_all(
    entry: &Entry,
    outline: &mut Vec<EnvironmentOutline>,
    sink: &mut Sink,
) -> Vec<Environment> {
    let Some(items) = list(entry, sink) else { return Vec::new() };
    if items.is_empty() {
        let message = "the pipeline has no environment";
        let help = "add `- name: staging` with its targets";
        sink.error(error_code::MISSING_KEY, entry.value.span, message, help);
    }
    if items.len() > ENVIRONMENTS_MAX {
        let message = format!("the pipeline has more than {ENVIRONMENTS_MAX} environments");
        sink.error(error_code::OVER_LIMIT, entry.key_span, message, "");
    }
    let mut named: Vec<Named> = Vec::new();
    let mut environments = Vec::new();
    for item in items.iter().take(ENVIRONMENTS_MAX) {
        environments.extend(lower(item, &mut named, outline, sink));
    }
    let all_named = named.len() == items.len();
    order::check(&named, all_named, sink);
    environments
}

fn lower(
    node: &Node,
    named: &mut Vec<Named>,
    outline: &mut Vec<EnvironmentOutline>,
    sink: &mut Sink,
) -> Option<Environment> {
    let mut it = Fields::of(node, node.span, "an environment", sink)?.later(LATER);
    let title = it.required("name");
    let after = it.optional("after");
    let approve = it.optional("approve");
    let targets = it.required("targets");
    let strategy = it.optional("strategy");
    let rollback = it.optional("rollback");
    it.finish(sink);
    let mut own = EnvironmentOutline {
        name: String::new(),
        span: title.map_or(node.span, |entry| entry.value.span),
        approved: approve.is_some(),
        targets: Vec::new(),
    };
    let title: Option<EnvironmentName> = title.and_then(|entry| {
        let title: EnvironmentName = name(&entry.value, "`name`", sink)?;
        if named.iter().any(|other| other.name == title) {
            let message = format!("there are two environments called `{title}`");
            sink.error(error_code::ENVIRONMENT_TWICE, entry.value.span, message, "rename one of the two");
        }
        own.name = title.to_string();
        Some(title)
    });
    // Without the key the environment before; an implied edge has no place.
    let previous: Vec<_> = named.last().map(|last| (last.name.clone(), None)).into_iter().collect();
    let after = or_default(after, previous, |entry| after_names(entry, sink));
    if let Some(name) = &title {
        named.push(Named { name: name.clone(), after: after.clone().unwrap_or_default() });
    }
    let targets = targets.and_then(|entry| target_names(entry, &mut own.targets, sink));
    outline.push(own);
    let approve = or_default(approve, None, |entry| gates::approval(entry, sink).map(Some));
    let batches = or_default(strategy, strategy::one_then_all(), |entry| strategy::batches(entry, sink));
    let rollback = or_default(rollback, RollbackPolicy::default(), |entry| gates::rollback(entry, sink));
    Some(Environment {
        name: title?,
        after: after?.into_iter().map(|(name, _)| name).collect(),
        approve: approve?,
        targets: targets?,
        strategy: Strategy::Batches(batches?),
        rollback: rollback?,
    })
}

fn after_names(entry: &Entry, sink: &mut Sink) -> Option<Vec<(EnvironmentName, Option<Span>)>> {
    let items = list(entry, sink)?;
    if items.len() > ENVIRONMENTS_MAX {
        let message = format!("`after` names more than {ENVIRONMENTS_MAX} environments");
        sink.error(error_code::OVER_LIMIT, entry.key_span, message, "");
        return None;
    }
    let mut seen = BTreeSet::new();
    each(items, |item| {
        let name: EnvironmentName = name(item, "a name in `after`", sink)?;
        if !seen.insert(name.clone()) {
            let message = format!("environment `{name}` is here twice");
            sink.error(error_code::BAD_CHOICE, item.span, message, "remove one of the two");
            return None;
        }
        Some((name, Some(item.span)))
    })
}

fn target_names(
    entry: &Entry,
    outline: &mut Vec<(String, Span)>,
    sink: &mut Sink,
) -> Option<Vec<TargetName>> {
    if let NodeKind::Map(_) = &entry.value.kind {
        let message = "`targets` by selection are not supported by this version yet";
        sink.error(error_code::NOT_YET, entry.key_span, message, "list the targets by name");
        return None;
    }
    let items = list(entry, sink)?;
    if items.is_empty() {
        let message = "the environment has no target";
        sink.error(error_code::MISSING_KEY, entry.value.span, message, "name at least one");
        return None;
    }
    if items.len() > TARGETS_PER_ENVIRONMENT_MAX {
        let message = format!("an environment has at most {TARGETS_PER_ENVIRONMENT_MAX} targets");
        sink.error(error_code::OVER_LIMIT, entry.key_span, message, "");
    }
    let mut seen = BTreeSet::new();
    each(items.iter().take(TARGETS_PER_ENVIRONMENT_MAX), |item| {
        let target: TargetName = name(item, "a target", sink)?;
        if !seen.insert(target.clone()) {
            let message = format!("target `{target}` is here twice");
            sink.error(error_code::TARGET_TWICE, item.span, message, "remove one of the two");
            return None;
        }
        outline.push((target.to_string(), item.span));
        Some(target)
    })
}
