//! `target:` documents.

use trimaran_model::error_code;
use trimaran_model::limits::TARGET_PARALLEL;
use trimaran_model::target::{Target, TargetClass, TargetPlatform};

use super::fields;
use crate::decode::{Fields, choice, count, list, parsed, text, text_of, texts, union};
use crate::diagnostic::Sink;
use crate::tree::{Entry, Node};

pub(super) fn lower(node: &Node, sink: &mut Sink) -> Option<Target> {
    let mut it = fields(node, sink)?;
    let name = it.required("target", sink);
    let agent = it.required("agent", sink);
    let class = it.required("class", sink);
    let parallel = it.optional("parallel");
    let platforms = [it.optional("hosts"), it.optional("kubernetes"), it.optional("flink")];
    it.finish(sink);
    let name = name.and_then(|entry| parsed(&entry.value, "`target`", error_code::BAD_NAME, sink));
    let agent = agent.and_then(|entry| parsed(&entry.value, "`agent`", error_code::BAD_NAME, sink));
    let words = [("staging", TargetClass::Staging), ("prod", TargetClass::Prod)];
    let class = class.and_then(|entry| choice(&entry.value, "`class`", &words, sink));
    let parallel = match parallel {
        Some(entry) => count(entry, sink).filter(|parallel| {
            if *parallel == 0 {
                sink.error(error_code::BAD_AMOUNT, entry.value.span, "`parallel` is at least 1", "");
            }
            *parallel > 0
        })?,
        None => TARGET_PARALLEL,
    };
    let platform = platform(node, platforms, sink);
    Some(Target { name: name?, agent: agent?, class: class?, platform: platform?, parallel })
}

fn platform(node: &Node, found: [Option<&Entry>; 3], sink: &mut Sink) -> Option<TargetPlatform> {
    let given: Vec<&Entry> = found.into_iter().flatten().collect();
    match given.as_slice() {
        [] => {
            let place = node.entries().first().map_or(node.span, |entry| entry.key_span);
            let message = "the target has no platform: one of hosts, kubernetes, flink is missing";
            sink.error(error_code::MISSING_KEY, place, message, "add `hosts: { select: { LABEL: VALUE } }`");
            None
        }
        [one] if one.key == "hosts" => hosts(one, sink),
        [one] if one.key == "kubernetes" => kubernetes(one, sink),
        [one] => flink(one, sink),
        [_, second, ..] => {
            let message = "exactly one of hosts, kubernetes, flink is allowed";
            sink.error(error_code::EXACTLY_ONE, second.key_span, message, "remove one of the two");
            None
        }
    }
}

fn hosts(entry: &Entry, sink: &mut Sink) -> Option<TargetPlatform> {
    let select = union(entry, &["select"], sink)?;
    let labels = texts(select, sink)?;
    if labels.is_empty() {
        let message = "`select` names no label, so it would select every host";
        sink.error(error_code::EMPTY_SELECT, select.key_span, message, "");
        return None;
    }
    Some(TargetPlatform::Hosts { select: labels })
}

fn kubernetes(entry: &Entry, sink: &mut Sink) -> Option<TargetPlatform> {
    let mut it = Fields::of(&entry.value, entry.key_span, "`kubernetes`", sink)?;
    let namespace = it.required("namespace", sink);
    let kubeconfig = it.optional("kubeconfig");
    it.finish(sink);
    let namespace = namespace.and_then(|entry| text(entry, sink));
    let kubeconfig = kubeconfig.map(|entry| text(entry, sink));
    Some(TargetPlatform::Kubernetes { namespace: namespace?, kubeconfig: kubeconfig.flatten() })
}

fn flink(entry: &Entry, sink: &mut Sink) -> Option<TargetPlatform> {
    let mut it = Fields::of(&entry.value, entry.key_span, "`flink`", sink)?;
    let urls = it.required("urls", sink);
    let savepoints = it.required("savepoints", sink);
    it.finish(sink);
    let urls = urls
        .and_then(|entry| list(entry, sink))
        .map(|items| items.iter().filter_map(|item| text_of(item, "a URL", sink)).collect());
    let savepoints = savepoints.and_then(|entry| text(entry, sink));
    Some(TargetPlatform::Flink { urls: urls?, savepoints: savepoints? })
}
