//! `target:` documents.

use std::collections::BTreeMap;

use trimaran_model::amount::IntOrPercent;
use trimaran_model::error_code;
use trimaran_model::limits::{HOST_LOST_AFTER, TARGET_PARALLEL};
use trimaran_model::target::{FlinkAccess, HostSettings, OnLeave, Target, TargetClass, TargetPlatform};
use trimaran_model::time::Millis;

use super::head::{fields, first_place, written_name};
use super::secret::secret;
use crate::decode::{
    Fields, amount_of, boolean, choice, duration, each, list, map, name, or_default, positive_count, text,
    text_of, texts,
};
use crate::diagnostic::Sink;
use crate::document::{DocumentKind, OutlineKind, Platform};
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
    let require_user = matches!(
        &found,
        Some(DocumentKind::Target(Target { platform: TargetPlatform::Hosts { require_user: true, .. }, .. }))
    );
    (found, written, OutlineKind::Target { class, platform, require_user })
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
    let mut it = Fields::below(entry, sink)?;
    let select = it.required("select");
    let [require_user, lost_after, join_parallel, on_leave] =
        ["require_user", "lost_after", "join_parallel", "on_leave"].map(|key| it.optional(key));
    it.finish(sink);
    let require_user = or_default(require_user, false, |entry| boolean(entry, sink));
    let default = HostSettings::default();
    let lost_after = or_default(lost_after, default.lost_after, |entry| lost_after_of(entry, sink));
    let join_parallel = or_default(join_parallel, default.join_parallel, |entry| {
        let amount = amount_of(&entry.value, "`join_parallel`", sink)?;
        if matches!(amount, IntOrPercent::Count(0) | IntOrPercent::Percent(0)) {
            let message = "`join_parallel` of nothing: no host that joins could ever get its release";
            sink.error(error_code::BUDGET, entry.value.span, message, "allow at least 1");
            return None;
        }
        Some(amount)
    });
    let words = OnLeave::ALL.map(|it| (it.as_str(), Some(it)));
    let on_leave = or_default(on_leave, None, |entry| choice(&entry.value, "`on_leave`", &words, sink));
    let select = select?;
    let labels = texts(select, sink)?;
    if labels.is_empty() {
        let message = "`select` names no label, so it would select every host";
        sink.error(error_code::EMPTY_SELECT, select.key_span, message, "");
        return None;
    }
    let settings =
        HostSettings { lost_after: lost_after?, join_parallel: join_parallel?, on_leave: on_leave? };
    Some(TargetPlatform::Hosts { select: labels, require_user: require_user?, settings })
}

/// A host is silent for a while before it is lost, and longer before it is out.
fn lost_after_of(entry: &Entry, sink: &mut Sink) -> Option<Millis> {
    let found = duration(entry, sink)?;
    if found < HOST_LOST_AFTER {
        let message = format!("`lost_after` is at least {HOST_LOST_AFTER}: until then a host may come back");
        sink.error(error_code::BAD_DURATION, entry.value.span, message, "write it like 10m");
        return None;
    }
    Some(found)
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
    let [ca, headers, client_cert] = ["ca", "headers", "client_cert"].map(|key| it.optional(key));
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
    let ca = or_default(ca, None, |entry| text(entry, sink).map(Some));
    let headers = or_default(headers, BTreeMap::new(), |entry| headers_of(entry, sink));
    let client_cert = or_default(client_cert, None, |entry| secret(entry, sink).map(Some));
    let access = FlinkAccess { ca: ca?, headers: headers?, client_cert: client_cert? };
    Some(TargetPlatform::Flink { urls: urls?, savepoints: savepoints?, access })
}

/// Names of headers, each with the secret of its value.
fn headers_of(entry: &Entry, sink: &mut Sink) -> Option<BTreeMap<String, String>> {
    let pairs = each(map(entry, sink)?, |header| {
        let value = secret(header, sink);
        let name = header.key.clone();
        // A token of RFC 9110.
        let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || name.len() > 128 || !name.chars().all(is_token) {
            let message = format!("`{}` is not the name of a header", shown(&name));
            let help = "names of headers have letters, digits and `-`";
            sink.error(error_code::BAD_NAME, header.key_span, message, help);
            return None;
        }
        Some((name, value?))
    })?;
    Some(pairs.into_iter().collect())
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
