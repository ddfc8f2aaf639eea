//! `environments:`: targets, gates, strategy and the way back of each.

use std::collections::BTreeSet;

use trimaran_model::error_code;
use trimaran_model::id::EnvironmentName;
use trimaran_model::limits::{ENVIRONMENTS_MAX, TARGETS_PER_ENVIRONMENT_MAX, WAVES_MAX};
use trimaran_model::pipeline::{
    Amount, Approve, ApproveOption, Batches, Environment, RollbackOn, RollbackPolicy, RollbackScope, Strategy,
};
use trimaran_model::time::Millis;

use super::Places;
use crate::decode::{Fields, amount_of, choice, duration, list, parsed, union, wrong_type};
use crate::diagnostic::Sink;
use crate::suggest::nearest;
use crate::tree::{Entry, Node, NodeKind, Span};

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
    "preview",
    "freeze",
];
const STRATEGY_LATER: &[&str] = &["rolling", "canary", "blue_green", "recreate", "savepoint", "members"];
const BATCHES_LATER: &[&str] = &["size", "parallel_max", "spread"];
const APPROVE_LATER: &[&str] = &["by", "count", "not_author", "on_timeout"];
const ROLLBACK_LATER: &[&str] = &["to", "mode", "unless", "max_age"];

/// An environment that was named, with the names that it waits for.
struct Named {
    name: EnvironmentName,
    after: Vec<(EnvironmentName, Span)>,
}

pub(super) fn lower_all(entry: &Entry, places: &mut Places, sink: &mut Sink) -> Vec<Environment> {
    let Some(items) = list(entry, sink) else { return Vec::new() };
    if items.is_empty() {
        let message = "the pipeline has no environment";
        sink.error(
            error_code::MISSING_KEY,
            entry.value.span,
            message,
            "add `- name: staging` with its targets",
        );
    }
    if items.len() > ENVIRONMENTS_MAX {
        let message = format!("the pipeline has more than {ENVIRONMENTS_MAX} environments");
        sink.error(error_code::OVER_LIMIT, entry.key_span, message, "");
    }
    let mut environments = Vec::new();
    let mut named: Vec<Named> = Vec::new();
    for item in items {
        let environment = lower(item, &mut named, places, sink);
        environments.extend(environment);
    }
    check_graph(&named, sink);
    environments
}

fn lower(node: &Node, named: &mut Vec<Named>, places: &mut Places, sink: &mut Sink) -> Option<Environment> {
    let mut it = Fields::of(node, node.span, "an environment", sink)?.later(LATER);
    let name = it.required("name", sink);
    let after = it.optional("after");
    let approve = it.optional("approve");
    let targets = it.required("targets", sink);
    let strategy = it.optional("strategy");
    let rollback = it.optional("rollback");
    it.finish(sink);
    let name: Option<EnvironmentName> = name.and_then(|entry| {
        let name: EnvironmentName = parsed(&entry.value, "`name`", error_code::BAD_NAME, sink)?;
        places.environments.push((name.to_string(), entry.value.span));
        if named.iter().any(|other| other.name == name) {
            let message = format!("there are two environments called `{name}`");
            sink.error(error_code::ENVIRONMENT_TWICE, entry.value.span, message, "rename one of the two");
        }
        Some(name)
    });
    let previous = named.last().map(|last| last.name.clone());
    let after = after_names(after, previous, sink);
    if let Some(name) = &name {
        named.push(Named { name: name.clone(), after: after.clone().unwrap_or_default() });
    }
    let targets = targets.and_then(|entry| target_names(entry, name.as_ref(), places, sink));
    let approve = match approve {
        Some(entry) => Some(approval(entry, sink)?),
        None => None,
    };
    let strategy = strategy_of(strategy, sink);
    let rollback = match rollback {
        Some(entry) => policy(entry, sink),
        None => Some(RollbackPolicy::default()),
    };
    let after = after?.into_iter().map(|(name, _)| name).collect();
    Some(Environment {
        name: name?,
        after,
        approve,
        targets: targets?,
        strategy: Strategy::Batches(strategy?),
        rollback: rollback?,
    })
}

/// As written; without the key the environment before.
fn after_names(
    entry: Option<&Entry>,
    previous: Option<EnvironmentName>,
    sink: &mut Sink,
) -> Option<Vec<(EnvironmentName, Span)>> {
    let Some(entry) = entry else {
        return Some(previous.into_iter().map(|name| (name, Span::default())).collect());
    };
    let mut names = Vec::new();
    for item in list(entry, sink)? {
        let name = parsed(item, "a name in `after`", error_code::BAD_NAME, sink)?;
        names.push((name, item.span));
    }
    Some(names)
}

/// Unknown names and cycles.
fn check_graph(named: &[Named], sink: &mut Sink) {
    for (name, span) in named.iter().flat_map(|it| &it.after).filter(|(_, span)| *span != Span::default()) {
        if !named.iter().any(|other| other.name == *name) {
            let help = match nearest(name.as_str(), named.iter().map(|other| other.name.to_string())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name an environment of this pipeline".to_owned(),
            };
            sink.error(
                error_code::ENVIRONMENT_UNKNOWN,
                *span,
                format!("there is no environment `{name}`"),
                help,
            );
        }
    }
    let reaches = |from: &EnvironmentName, to: &EnvironmentName| {
        let mut seen = BTreeSet::from([from.clone()]);
        let mut open = vec![from.clone()];
        while let Some(name) = open.pop() {
            for (next, _) in named.iter().filter(|it| it.name == name).flat_map(|it| &it.after) {
                if next == to {
                    return true;
                }
                if seen.insert(next.clone()) {
                    open.push(next.clone());
                }
            }
        }
        false
    };
    for it in named {
        for (name, span) in it.after.iter().filter(|(_, span)| *span != Span::default()) {
            if *name == it.name || reaches(name, &it.name) {
                let message = format!("`{}` and `{name}` wait for each other", it.name);
                sink.error(error_code::CYCLE, *span, message, "remove one of the two names from `after`");
            }
        }
    }
}

fn target_names(
    entry: &Entry,
    environment: Option<&EnvironmentName>,
    places: &mut Places,
    sink: &mut Sink,
) -> Option<Vec<trimaran_model::id::TargetName>> {
    if let NodeKind::Map(_) = &entry.value.kind {
        let message = "`targets` by selection are not part of this version";
        sink.error(error_code::NOT_YET, entry.value.span, message, "list the targets by name");
        return None;
    }
    let items = list(entry, sink)?;
    if items.is_empty() {
        sink.error(
            error_code::MISSING_KEY,
            entry.value.span,
            "the environment has no target",
            "name at least one",
        );
        return None;
    }
    if items.len() > TARGETS_PER_ENVIRONMENT_MAX {
        let message = format!("an environment has at most {TARGETS_PER_ENVIRONMENT_MAX} targets");
        sink.error(error_code::OVER_LIMIT, entry.key_span, message, "");
    }
    let mut targets = Vec::new();
    for item in items {
        let target: trimaran_model::id::TargetName = parsed(item, "a target", error_code::BAD_NAME, sink)?;
        if targets.contains(&target) {
            let message = format!("target `{target}` is here twice");
            sink.error(error_code::TARGET_TWICE, item.span, message, "remove one of the two");
        }
        if let Some(environment) = environment {
            places.targets.push((environment.to_string(), target.to_string(), item.span));
        }
        targets.push(target);
    }
    Some(targets)
}

/// Options default to promote or roll back, for three days.
fn approval(entry: &Entry, sink: &mut Sink) -> Option<Approve> {
    let mut it = Fields::of(&entry.value, entry.key_span, "`approve`", sink)?.later(APPROVE_LATER);
    let (options, timeout) = (it.optional("options"), it.optional("timeout"));
    it.finish(sink);
    let words = ApproveOption::ALL.map(|option| (option.as_str(), option));
    let options = match options {
        None => vec![ApproveOption::Promote, ApproveOption::RollBack],
        Some(entry) => {
            let items = list(entry, sink)?;
            let mut options = Vec::new();
            for item in items {
                let option = choice(item, "an option", &words, sink)?;
                if options.contains(&option) {
                    let message = format!("option `{}` is here twice", option.as_str());
                    sink.error(error_code::BAD_CHOICE, item.span, message, "remove one of the two");
                }
                options.push(option);
            }
            if options.is_empty() {
                let message = "an approval without options could never be given";
                sink.error(error_code::MISSING_KEY, entry.value.span, message, "name `promote` at least");
                return None;
            }
            options
        }
    };
    let timeout = match timeout {
        Some(entry) => duration(entry, sink)?,
        None => Millis::hours(72),
    };
    Some(Approve { options, timeout })
}

/// One host, then all; one down at once; no failure.
fn strategy_of(entry: Option<&Entry>, sink: &mut Sink) -> Option<Batches> {
    let mut batches = Batches {
        sizes: vec![Amount::Count(1), Amount::Percent(100)],
        max_unavailable: Amount::Count(1),
        max_failures: Amount::Count(0),
        pause_between: Millis::ZERO,
    };
    let Some(entry) = entry else { return Some(batches) };
    if let Some(later) = entry.value.entries().iter().find(|it| STRATEGY_LATER.contains(&it.key.as_str())) {
        let message = format!("strategy `{}` is part of the language but not of this version", later.key);
        sink.error(error_code::NOT_YET, later.key_span, message, "use `batches`");
        return None;
    }
    let one = union(entry, &["batches"], sink)?;
    let mut it = Fields::of(&one.value, one.key_span, "`batches`", sink)?.later(BATCHES_LATER);
    let (sizes, unavailable) = (it.optional("sizes"), it.optional("max_unavailable"));
    let (failures, pause) = (it.optional("max_failures"), it.optional("pause_between"));
    it.finish(sink);
    let mut whole = true;
    if let Some(entry) = sizes {
        match wave_sizes(entry, sink) {
            Some(sizes) => batches.sizes = sizes,
            None => whole = false,
        }
    }
    if let Some(entry) = unavailable {
        match amount_of(&entry.value, "`max_unavailable`", sink) {
            Some(amount) => {
                if matches!(amount, Amount::Count(0) | Amount::Percent(0)) {
                    let message = "`max_unavailable` of nothing: no host could ever be updated";
                    sink.error(error_code::BUDGET, entry.value.span, message, "allow at least 1");
                }
                batches.max_unavailable = amount;
            }
            None => whole = false,
        }
    }
    if let Some(entry) = failures {
        match amount_of(&entry.value, "`max_failures`", sink) {
            Some(amount) => {
                if amount == Amount::Percent(100) {
                    let message = "`max_failures` of 100%: a failing release would never be stopped";
                    sink.error(error_code::BUDGET, entry.value.span, message, "allow fewer failures");
                }
                batches.max_failures = amount;
            }
            None => whole = false,
        }
    }
    if let Some(entry) = pause {
        match duration(entry, sink) {
            Some(pause) => batches.pause_between = pause,
            None => whole = false,
        }
    }
    whole.then_some(batches)
}

/// Growing, and the last one is all hosts.
fn wave_sizes(entry: &Entry, sink: &mut Sink) -> Option<Vec<Amount>> {
    let items = list(entry, sink)?;
    if items.len() > WAVES_MAX {
        let message = format!("a stage has at most {WAVES_MAX} waves");
        sink.error(error_code::OVER_LIMIT, entry.key_span, message, "");
    }
    let mut sizes: Vec<(Amount, Span)> = Vec::new();
    for item in items {
        sizes.push((amount_of(item, "a size", sink)?, item.span));
    }
    for pair in sizes.windows(2) {
        let grows = match (pair[0].0, pair[1].0) {
            (Amount::Count(a), Amount::Count(b)) => b > a,
            (Amount::Percent(a), Amount::Percent(b)) => b > a,
            (Amount::Count(_), Amount::Percent(_)) | (Amount::Percent(_), Amount::Count(_)) => true,
        };
        if !grows {
            let message = format!("size `{}` is not larger than `{}` before it", pair[1].0, pair[0].0);
            sink.error(error_code::SIZES, pair[1].1, message, "sizes count all hosts since the start");
        }
    }
    if let Some((_, span)) =
        sizes.iter().find(|(size, _)| matches!(size, Amount::Count(0) | Amount::Percent(0)))
    {
        sink.error(error_code::SIZES, *span, "a wave of no hosts", "start with 1");
    }
    if sizes.last().map(|(size, _)| *size) != Some(Amount::Percent(100)) {
        let message = "`sizes` has to end with 100%, or hosts would be left behind";
        sink.error(error_code::SIZES_END, entry.value.span, message, "add `100%` as the last size");
    }
    Some(sizes.into_iter().map(|(size, _)| size).collect())
}

fn policy(entry: &Entry, sink: &mut Sink) -> Option<RollbackPolicy> {
    if let NodeKind::Scalar { .. } | NodeKind::Seq(_) = &entry.value.kind {
        wrong_type(&entry.value, "`rollback` has to be a map", sink);
        return None;
    }
    let mut it = Fields::of(&entry.value, entry.key_span, "`rollback`", sink)?.later(ROLLBACK_LATER);
    let (on, scope, bake) = (it.optional("on"), it.optional("scope"), it.optional("bake"));
    it.finish(sink);
    let mut policy = RollbackPolicy::default();
    if let Some(entry) = on {
        policy.on.clear();
        for item in list(entry, sink)? {
            policy.on.insert(choice(item, "`on`", &[("health", RollbackOn::Health)], sink)?);
        }
    }
    if let Some(entry) = scope {
        let words = [
            ("target", RollbackScope::Target),
            ("environment", RollbackScope::Environment),
            ("run", RollbackScope::Run),
        ];
        policy.scope = choice(&entry.value, "`scope`", &words, sink)?;
    }
    if let Some(entry) = bake {
        policy.bake = Some(duration(entry, sink)?);
    }
    Some(policy)
}
