//! `target:` documents.

use trimaran_model::error_code;
use trimaran_model::limits::TARGET_PARALLEL;
use trimaran_model::target::{Target, TargetClass, TargetPlatform};

use super::document::{fields, first_place, written_name};
use super::{DocumentKind, OutlineKind, Platform};
use crate::decode::{
    Fields, Union, choice, each, list, name, or_default, positive_count, text, text_of, texts,
};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::tree::{Entry, Node, Span};

const PLATFORMS: [Platform; 3] = ["hosts", "kubernetes", "flink"];

pub(super) fn lower(
    node: &Node,
    sink: &mut Sink,
) -> (Option<DocumentKind>, Option<(String, Span)>, OutlineKind) {
    let mut class = None;
    let found = target(node, &mut class, sink).map(DocumentKind::Target);
    let mut platforms = PLATFORMS.into_iter().filter(|platform| node.get(platform).is_some());
    let platform = platforms.next().filter(|_| platforms.next().is_none());
    let written = node.get("target").and_then(written_name);
    (found, written, OutlineKind::Target { class, platform })
}

fn target(node: &Node, class: &mut Option<TargetClass>, sink: &mut Sink) -> Option<Target> {
    let mut it = fields(node, sink)?.later(&["labels"]);
    let title = it.required("target");
    let agent = it.required("agent");
    let written_class = it.required("class");
    let parallel = it.optional("parallel");
    let platforms = PLATFORMS.map(|platform| it.optional(platform));
    it.finish(sink);
    let title = title.and_then(|entry| name(&entry.value, "`target`", sink));
    let agent = agent.and_then(|entry| name(&entry.value, "`agent`", sink));
    let words = [("staging", TargetClass::Staging), ("prod", TargetClass::Prod)];
    *class = written_class.and_then(|entry| choice(&entry.value, "`class`", &words, sink));
    let parallel = or_default(parallel, TARGET_PARALLEL, |entry| positive_count(entry, sink));
    let platform = platform(node, platforms, sink);
    Some(Target { name: title?, agent: agent?, class: (*class)?, platform: platform?, parallel: parallel? })
}

fn platform(node: &Node, found: [Option<&Entry>; 3], sink: &mut Sink) -> Option<TargetPlatform> {
    let mut given: Vec<&Entry> = found.into_iter().flatten().collect();
    given.sort_by_key(|entry| entry.key_span);
    if given.is_empty() {
        let message = "the target has no platform: one of hosts, kubernetes, flink is missing";
        let help = "add `hosts: { select: { LABEL: VALUE } }`";
        sink.error(error_code::MISSING_KEY, first_place(node), message, help);
    }
    if let Some(second) = given.get(1) {
        let message = "exactly one of hosts, kubernetes, flink is allowed";
        sink.error(error_code::EXACTLY_ONE, second.key_span, message, "keep one of them");
    }
    let read = each(&given, |entry| match entry.key.as_str() {
        "hosts" => hosts(entry, sink),
        "kubernetes" => kubernetes(entry, sink),
        _ => flink(entry, sink),
    });
    match read?.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

fn hosts(entry: &Entry, sink: &mut Sink) -> Option<TargetPlatform> {
    let select = Union::of(entry, &["select"], sink).one()?;
    let labels = texts(select, sink)?;
    if labels.is_empty() {
        let message = "`select` names no label, so it would select every host";
        sink.error(error_code::EMPTY_SELECT, select.key_span, message, "");
        return None;
    }
    Some(TargetPlatform::Hosts { select: labels })
}

fn kubernetes(entry: &Entry, sink: &mut Sink) -> Option<TargetPlatform> {
    let mut it = Fields::below(entry, sink)?;
    let namespace = it.required("namespace");
    let kubeconfig = it.optional("kubeconfig");
    it.finish(sink);
    let namespace = namespace.and_then(|entry| namespace_name(entry, sink));
    let kubeconfig = or_default(kubeconfig, None, |entry| text(entry, sink).map(Some));
    Some(TargetPlatform::Kubernetes { namespace: namespace?, kubeconfig: kubeconfig? })
}

/// An RFC 1123 label, as Kubernetes demands.
fn namespace_name(entry: &Entry, sink: &mut Sink) -> Option<String> {
    let text = text(entry, sink)?;
    if trimaran_model::id::name_error(&text).is_some() || text.contains(['_', '.']) {
        let message = format!("`{}` is not a namespace", shown(&text));
        let help = "namespaces have 1 to 63 lower-case letters, digits and `-`";
        sink.error(error_code::BAD_NAME, entry.value.span, message, help);
        return None;
    }
    Some(text)
}

fn flink(entry: &Entry, sink: &mut Sink) -> Option<TargetPlatform> {
    let mut it = Fields::below(entry, sink)?;
    let urls = it.required("urls");
    let savepoints = it.required("savepoints");
    it.finish(sink);
    let urls = urls.and_then(|entry| {
        let items = list(entry, sink)?;
        if items.is_empty() {
            sink.error(
                error_code::MISSING_KEY,
                entry.value.span,
                "`urls` names no job manager",
                "name at least one",
            );
            return None;
        }
        each(items, |item| url(item, sink))
    });
    let savepoints = savepoints.and_then(|entry| text(entry, sink));
    Some(TargetPlatform::Flink { urls: urls?, savepoints: savepoints? })
}

fn url(node: &Node, sink: &mut Sink) -> Option<String> {
    let text = text_of(node, "a URL", sink)?;
    if !text.starts_with("http://") && !text.starts_with("https://") {
        let message = format!("`{}` is not an http or https URL", shown(&text));
        sink.error(error_code::BAD_URL, node.span, message, "write it like http://HOST:8081");
        return None;
    }
    Some(text)
}
