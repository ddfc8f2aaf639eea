//! `after`: unknown names and cycles.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::error_code;
use trimaran_model::id::EnvironmentName;

use crate::diagnostic::Sink;
use crate::suggest::did_you_mean;
use crate::tree::Span;

/// An environment that was named, with the names that it waits for. A place is missing where the name is
/// implied.
pub(super) struct Named {
    pub(super) name: EnvironmentName,
    pub(super) after: Vec<(EnvironmentName, Option<Span>)>,
}

/// Reports names that no environment has, unless some could not be read, and each cycle once.
pub(super) fn check(named: &[Named], all_named: bool, sink: &mut Sink) {
    // By name, the first of those that have the same one.
    let mut by_name: BTreeMap<&EnvironmentName, (usize, &Named)> = BTreeMap::new();
    for (index, it) in named.iter().enumerate() {
        by_name.entry(&it.name).or_insert((index, it));
    }
    if all_named {
        unknown(named, &by_name, sink);
    }
    let mut reported: BTreeSet<&EnvironmentName> = BTreeSet::new();
    for (index, it) in named.iter().enumerate() {
        for (name, span) in &it.after {
            // Each cycle has an edge to a later environment or to itself, and that edge is written out.
            let (Some(span), Some((to, _))) = (span, by_name.get(name)) else { continue };
            let known = reported.contains(&it.name) && reported.contains(name);
            if *to < index || known {
                continue;
            }
            let Some(path) = path(name, &it.name, &by_name) else { continue };
            reported.extend(path.iter().copied());
            let mut names = vec![it.name.as_str()];
            names.extend(path.iter().map(|name| name.as_str()));
            let message = format!("environments wait for each other: {}", names.join(" -> "));
            let help = format!("remove `{name}` here, or another of these names from its `after`");
            sink.error(error_code::CYCLE, *span, message, help);
        }
    }
}

fn unknown(named: &[Named], by_name: &BTreeMap<&EnvironmentName, (usize, &Named)>, sink: &mut Sink) {
    for (name, span) in named.iter().flat_map(|it| &it.after) {
        let Some(span) = span else { continue };
        if by_name.contains_key(name) {
            continue;
        }
        let names = by_name.keys().map(ToString::to_string);
        let help = did_you_mean(name.as_str(), names, || "name an environment of this pipeline".to_owned());
        sink.error(error_code::ENVIRONMENT_UNKNOWN, *span, format!("there is no environment `{name}`"), help);
    }
}

/// The shortest way along `after` from one name to another, both included.
fn path<'a>(
    from: &'a EnvironmentName,
    to: &'a EnvironmentName,
    by_name: &BTreeMap<&'a EnvironmentName, (usize, &'a Named)>,
) -> Option<Vec<&'a EnvironmentName>> {
    let mut came_from: BTreeMap<&EnvironmentName, &EnvironmentName> = BTreeMap::new();
    let mut open = vec![from];
    let mut next = 0;
    while let Some(name) = open.get(next).copied() {
        next += 1;
        if name == to {
            let mut path = vec![name];
            while let Some(before) =
                came_from.get(path[path.len() - 1]).filter(|_| path[path.len() - 1] != from)
            {
                path.push(before);
            }
            path.reverse();
            return Some(path);
        }
        for (other, _) in by_name.get(name).iter().flat_map(|(_, it)| &it.after) {
            if other != from && !came_from.contains_key(other) {
                came_from.insert(other, name);
                open.push(other);
            }
        }
    }
    None
}
