//! `workload:`: host, kubernetes or flink.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::id::ArtifactName;
use trimaran_model::pipeline::{
    FlinkWorkload, HealthCheck, HostWorkload, KubernetesWorkload, OnConflict, ProbeUrl, Process, Restart,
    RestartOn, Stop, StopSignal, Workload,
};
use trimaran_model::time::Millis;

use crate::decode::{Fields, choice, count, duration, list, parsed, text, text_of, texts, union, wrong_type};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::tree::{Entry, Node, NodeKind, Span};

/// A use of an artifact.
pub(crate) type Use = (ArtifactName, Span);

/// Keys of host workloads that come later.
const HOST_LATER: &[&str] = &["root", "keep_releases", "user", "hooks", "secrets"];
const FLINK_LATER: &[&str] = &["savepoints"];

pub(super) fn lower(entry: &Entry, sink: &mut Sink) -> Option<(Workload, Vec<Use>)> {
    let one = union(entry, &["host", "kubernetes", "flink"], sink)?;
    match one.key.as_str() {
        "host" => {
            let mut it = Fields::of(&one.value, one.key_span, "`host`", sink)?.later(HOST_LATER);
            let unpack = it.required("unpack", sink);
            let sections = HostSections::take(&mut it, sink);
            it.finish(sink);
            let unpack = unpack.and_then(|entry| artifact(&entry.value, "`unpack`", sink));
            let (process, health) = sections.lower(sink);
            let unpack = unpack?;
            let uses = vec![unpack.clone()];
            Some((
                Workload::Host(HostWorkload { unpack: unpack.0, process: process?, health: health? }),
                uses,
            ))
        }
        "kubernetes" => kubernetes(one, sink),
        _ => flink(one, sink),
    }
}

fn artifact(node: &Node, what: &str, sink: &mut Sink) -> Option<Use> {
    parsed(node, what, error_code::BAD_NAME, sink).map(|name| (name, node.span))
}

/// `process` and `health`, which SPEC files of single hosts share.
pub(crate) struct HostSections<'a> {
    process: Option<&'a Entry>,
    health: Option<&'a Entry>,
}

impl<'a> HostSections<'a> {
    pub(crate) fn take(it: &mut Fields<'a>, sink: &mut Sink) -> Self {
        Self { process: it.required("process", sink), health: it.required("health", sink) }
    }

    pub(crate) fn lower(self, sink: &mut Sink) -> (Option<Process>, Option<HealthCheck>) {
        let process = self.process.and_then(|entry| process(entry, sink));
        (process, self.health.and_then(|entry| health(entry, sink)))
    }
}

fn process(entry: &Entry, sink: &mut Sink) -> Option<Process> {
    let mut it = Fields::of(&entry.value, entry.key_span, "`process`", sink)?.later(&["user", "secrets"]);
    let command = it.required("command", sink);
    let environment = it.optional("environment");
    let stop = it.optional("stop");
    let restart = it.optional("restart");
    it.finish(sink);
    let command = command.and_then(|entry| command_list(entry, sink));
    let environment = environment.map_or(Some(BTreeMap::new()), |entry| texts(entry, sink));
    let stop = stop_rule(stop, sink);
    let restart = restart_rule(restart, sink);
    Some(Process { command: command?, environment: environment?, stop: stop?, restart: restart? })
}

fn command_list(entry: &Entry, sink: &mut Sink) -> Option<Vec<String>> {
    let NodeKind::Seq(items) = &entry.value.kind else {
        let message = "`command` has to be a list; there is no shell";
        let help = "write it like [bin/web, \"--port\", \"8080\"]";
        sink.error(error_code::COMMAND_LIST, entry.value.span, message, help);
        return None;
    };
    let words: Vec<String> =
        items.iter().filter_map(|item| text_of(item, "a word of the command", sink)).collect();
    if items.is_empty() {
        sink.error(
            error_code::COMMAND_LIST,
            entry.value.span,
            "`command` is empty",
            "name the program first",
        );
        return None;
    }
    (words.len() == items.len()).then_some(words)
}

/// TERM and ten seconds unless the file says otherwise.
fn stop_rule(entry: Option<&Entry>, sink: &mut Sink) -> Option<Stop> {
    let mut stop = Stop { signal: StopSignal::Term, grace: Millis::seconds(10) };
    let Some(entry) = entry else { return Some(stop) };
    let mut it = Fields::of(&entry.value, entry.key_span, "`stop`", sink)?;
    let (signal, grace) = (it.optional("signal"), it.optional("grace"));
    it.finish(sink);
    if let Some(entry) = signal {
        stop.signal = choice(&entry.value, "`signal`", &StopSignal::ALL.map(|it| (it.as_str(), it)), sink)?;
    }
    if let Some(entry) = grace {
        stop.grace = duration(entry, sink)?;
    }
    Some(stop)
}

fn restart_rule(entry: Option<&Entry>, sink: &mut Sink) -> Option<Restart> {
    let mut restart =
        Restart { on: RestartOn::Failure, delay: Millis::seconds(1), max: 5, per: Millis::minutes(10) };
    let Some(entry) = entry else { return Some(restart) };
    let mut it = Fields::of(&entry.value, entry.key_span, "`restart`", sink)?;
    let (on, delay, max, per) =
        (it.optional("on"), it.optional("delay"), it.optional("max"), it.optional("per"));
    it.finish(sink);
    if let Some(entry) = on {
        restart.on = choice(&entry.value, "`on`", &RestartOn::ALL.map(|it| (it.as_str(), it)), sink)?;
    }
    if let Some(entry) = delay {
        restart.delay = duration(entry, sink)?;
    }
    if let Some(entry) = max {
        restart.max = count(entry, sink)?;
    }
    if let Some(entry) = per {
        restart.per = duration(entry, sink)?;
    }
    Some(restart)
}

fn health(entry: &Entry, sink: &mut Sink) -> Option<HealthCheck> {
    let mut it = Fields::of(&entry.value, entry.key_span, "`health`", sink)?;
    let http = it.required("http", sink);
    let lengths = ["interval", "timeout", "min_healthy", "deadline"].map(|key| it.optional(key));
    it.finish(sink);
    let http = http.and_then(|entry| probe_url(entry, sink));
    let defaults = [Millis::seconds(1), Millis::seconds(2), Millis::seconds(10), Millis::minutes(5)];
    let mut values = defaults;
    let mut whole = true;
    for (value, entry) in values.iter_mut().zip(lengths) {
        match entry.map(|entry| duration(entry, sink)) {
            Some(Some(given)) => *value = given,
            Some(None) => whole = false,
            None => {}
        }
    }
    let [interval, timeout, min_healthy, deadline] = values;
    if whole && deadline <= min_healthy {
        let place = lengths[3].or(lengths[2]).map_or(entry.key_span, |entry| entry.value.span);
        let message = format!(
            "`deadline` ({deadline}) is not longer than `min_healthy` ({min_healthy}): no host could succeed"
        );
        sink.error(error_code::HEALTH_DEADLINE, place, message, "make `deadline` longer");
    }
    for (value, entry) in [(interval, lengths[0]), (timeout, lengths[1])] {
        if let Some(entry) = entry
            && value == Millis::ZERO
        {
            let message = format!("`{}` has to be longer than nothing", entry.key);
            sink.error(error_code::BAD_DURATION, entry.value.span, message, "write it like 500ms");
        }
    }
    whole.then_some(())?;
    Some(HealthCheck { http: http?, interval, timeout, min_healthy, deadline })
}

/// `:8080/healthz`, or `http://HOST:PORT/PATH`.
fn probe_url(entry: &Entry, sink: &mut Sink) -> Option<ProbeUrl> {
    let url = text(entry, sink)?;
    let parsed = parse_probe_url(&url);
    if parsed.is_none() {
        let message = format!("`{}` is not a probe's URL", shown(&url));
        let help = if url.starts_with("https://") {
            "probes speak plain http to the host itself"
        } else {
            "write it like :8080/healthz, or http://HOST:PORT/PATH"
        };
        sink.error(error_code::BAD_URL, entry.value.span, message, help);
    }
    parsed
}

fn parse_probe_url(url: &str) -> Option<ProbeUrl> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = match rest.find('/') {
        Some(slash) => (&rest[..slash], &rest[slash..]),
        None => (rest, "/"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, 80),
    };
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '@' | '/' | '?' | '#');
    let given = !host.is_empty();
    if port == 0 || host.contains(bad) || path.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    if (given && !url.starts_with("http://"))
        || (!given && url.starts_with("http://") && !authority.starts_with(':'))
    {
        return None;
    }
    Some(ProbeUrl { host: given.then(|| host.to_owned()), port, path: path.to_owned() })
}

fn kubernetes(entry: &Entry, sink: &mut Sink) -> Option<(Workload, Vec<Use>)> {
    let mut it = Fields::of(&entry.value, entry.key_span, "`kubernetes`", sink)?;
    let manifests = it.required("manifests", sink);
    let images = it.optional("images");
    let stability = it.optional("stability");
    let on_conflict = it.optional("on_conflict");
    it.finish(sink);
    let manifests = manifests.and_then(|entry| text(entry, sink));
    let mut uses = Vec::new();
    let mut named = BTreeMap::new();
    if let Some(images) = images {
        let NodeKind::Map(entries) = &images.value.kind else {
            wrong_type(&images.value, "`images` has to be a map", sink);
            return None;
        };
        for image in entries {
            if let Some(used) = artifact(&image.value, "an image's artifact", sink) {
                named.insert(image.key.clone(), used.0.clone());
                uses.push(used);
            }
        }
    }
    let words = [("refuse", OnConflict::Refuse), ("take", OnConflict::Take), ("leave", OnConflict::Leave)];
    let on_conflict = match on_conflict {
        Some(entry) => choice(&entry.value, "`on_conflict`", &words, sink)?,
        None => OnConflict::Refuse,
    };
    let stability = match stability {
        Some(entry) => duration(entry, sink)?,
        None => Millis::seconds(20),
    };
    let manifests = manifests?;
    if let Ok(name) = manifests.parse::<ArtifactName>() {
        uses.push((name, Span::default()));
    }
    uses.retain(|(name, span)| *span != Span::default() || !named.values().any(|other| other == name));
    let workload = KubernetesWorkload { manifests, images: named, stability, on_conflict };
    // `manifests` may name a directory: only then it is no use of an artifact.
    uses.retain(|(_, span)| *span != Span::default());
    Some((Workload::Kubernetes(workload), uses))
}

fn flink(entry: &Entry, sink: &mut Sink) -> Option<(Workload, Vec<Use>)> {
    let mut it = Fields::of(&entry.value, entry.key_span, "`flink`", sink)?.later(FLINK_LATER);
    let jar = it.required("jar", sink);
    let entry_class = it.required("entry_class", sink);
    let args = it.optional("args");
    let parallelism = it.optional("parallelism");
    for key in ["config", "bounded", "upgrade", "health", "rollback"] {
        it.optional(key);
    }
    it.finish(sink);
    let jar = jar.and_then(|entry| artifact(&entry.value, "`jar`", sink));
    let entry_class = entry_class.and_then(|entry| text(entry, sink));
    let args = match args.map(|entry| list(entry, sink)) {
        Some(items) => items?.iter().filter_map(|item| text_of(item, "an argument", sink)).collect(),
        None => Vec::new(),
    };
    let parallelism = match parallelism {
        Some(entry) => count(entry, sink)?,
        None => 1,
    };
    let jar = jar?;
    let uses = vec![jar.clone()];
    Some((Workload::Flink(FlinkWorkload { jar: jar.0, entry_class: entry_class?, args, parallelism }), uses))
}
