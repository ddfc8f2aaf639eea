//! `workload.host`: an archive, one process in it, one probe.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::pipeline::{
    HealthCheck, HostWorkload, ProbeUrl, Process, Restart, RestartOn, Stop, StopSignal,
};
use trimaran_model::time::Millis;

use super::{Uses, Wants};
use crate::decode::{
    Fields, choice, count, duration, each, expression, map, or_default, positive_duration, text, text_of,
    wrong_type,
};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::tree::{Entry, NodeKind};

const LATER: &[&str] = &["root", "keep_releases", "user", "hooks", "secrets"];
const PROCESS_LATER: &[&str] = &["user", "secrets"];

/// What Trimaran sets for each process itself (INTERFACE 1).
const OWN_VARIABLES: &[&str] =
    &["TRIMARAN_HOST", "TRIMARAN_ADDRESS", "TRIMARAN_RELEASE", "TRIMARAN_RUN", "TRIMARAN_ATTEMPT"];

pub(super) fn lower(entry: &Entry, uses: &mut Uses, sink: &mut Sink) -> Option<HostWorkload> {
    let Some(it) = Fields::below(entry, sink) else {
        uses.complete = false;
        return None;
    };
    let mut it = it.later(LATER);
    let unpack = it.required("unpack");
    uses.complete &= unpack.is_some();
    let sections = HostSections::take(&mut it);
    it.finish(sink);
    let unpack = unpack.and_then(|entry| uses.artifact(&entry.value, "`unpack`", Wants::File, sink));
    let (process, health) = sections.lower(sink);
    Some(HostWorkload { unpack: unpack?, process: process?, health: health? })
}

/// `process` and `health`, which SPEC files of single hosts share.
pub(crate) struct HostSections<'a> {
    process: Option<&'a Entry>,
    health: Option<&'a Entry>,
}

impl<'a> HostSections<'a> {
    pub(crate) fn take(it: &mut Fields<'a>) -> Self {
        Self { process: it.required("process"), health: it.required("health") }
    }

    pub(crate) fn lower(self, sink: &mut Sink) -> (Option<Process>, Option<HealthCheck>) {
        let process = self.process.and_then(|entry| process(entry, sink));
        (process, self.health.and_then(|entry| health(entry, sink)))
    }
}

fn process(entry: &Entry, sink: &mut Sink) -> Option<Process> {
    let mut it = Fields::below(entry, sink)?.later(PROCESS_LATER);
    let command = it.required("command");
    let environment = it.optional("environment");
    let stop = it.optional("stop");
    let restart = it.optional("restart");
    it.finish(sink);
    let command = command.and_then(|entry| command_list(entry, sink));
    let environment = or_default(environment, BTreeMap::new(), |entry| variables(entry, sink));
    // TERM and ten seconds unless the file says otherwise.
    let stop_default = Stop { signal: StopSignal::Term, grace: Millis::seconds(10) };
    let stop = or_default(stop, stop_default, |entry| stop_rule(entry, sink));
    let restart_default =
        Restart { on: RestartOn::Failure, delay: Millis::seconds(1), max: 5, per: Millis::minutes(10) };
    let restart =
        or_default(restart, restart_default.clone(), |entry| restart_rule(entry, restart_default, sink));
    Some(Process { command: command?, environment: environment?, stop: stop?, restart: restart? })
}

fn command_list(entry: &Entry, sink: &mut Sink) -> Option<Vec<String>> {
    let items = match &entry.value.kind {
        NodeKind::Seq(items) => items,
        NodeKind::Map(_) => {
            wrong_type(&entry.value, "`command` has to be a list", sink);
            return None;
        }
        NodeKind::Scalar { text, .. } => {
            if !expression(text, entry.value.span, "`command`", sink) {
                let message = "`command` has to be a list; there is no shell that would split a text";
                let help = "write it like [bin/web, \"--port\", \"8080\"]";
                sink.error(error_code::COMMAND_LIST, entry.value.span, message, help);
            }
            return None;
        }
    };
    let words = each(items, |item| text_of(item, "a word of the command", sink))?;
    if words.first().is_none_or(|program| program.is_empty()) {
        let message = "`command` names no program";
        sink.error(error_code::COMMAND_LIST, entry.value.span, message, "name the program first");
        return None;
    }
    Some(words)
}

fn variables(entry: &Entry, sink: &mut Sink) -> Option<BTreeMap<String, String>> {
    let pairs = each(map(entry, sink)?, |variable| {
        let key = &variable.key;
        let value = text(variable, sink);
        if expression(key, variable.key_span, "a key", sink) {
            return None;
        }
        let why = if OWN_VARIABLES.contains(&key.as_str()) {
            "is set by Trimaran itself"
        } else if key.is_empty() || key.contains(['=', '\0']) || key.contains(char::is_whitespace) {
            "is not a variable's name"
        } else {
            return Some((key.clone(), value?));
        };
        let message = format!("`{}` {why}", shown(key));
        sink.error(error_code::VARIABLE_NAME, variable.key_span, message, "choose another name");
        None
    })?;
    Some(pairs.into_iter().collect())
}

fn stop_rule(entry: &Entry, sink: &mut Sink) -> Option<Stop> {
    let mut it = Fields::below(entry, sink)?;
    let (signal, grace) = (it.optional("signal"), it.optional("grace"));
    it.finish(sink);
    let words = StopSignal::ALL.map(|it| (it.as_str(), it));
    let signal = or_default(signal, StopSignal::Term, |entry| choice(&entry.value, "`signal`", &words, sink));
    let grace = or_default(grace, Millis::seconds(10), |entry| duration(entry, sink));
    Some(Stop { signal: signal?, grace: grace? })
}

fn restart_rule(entry: &Entry, default: Restart, sink: &mut Sink) -> Option<Restart> {
    let mut it = Fields::below(entry, sink)?;
    let [on, delay, max, per] = ["on", "delay", "max", "per"].map(|key| it.optional(key));
    it.finish(sink);
    let words = RestartOn::ALL.map(|it| (it.as_str(), it));
    let on = or_default(on, default.on, |entry| choice(&entry.value, "`on`", &words, sink));
    let delay = or_default(delay, default.delay, |entry| duration(entry, sink));
    let max = or_default(max, default.max, |entry| count(entry, sink));
    let per = or_default(per, default.per, |entry| positive_duration(entry, sink));
    Some(Restart { on: on?, delay: delay?, max: max?, per: per? })
}

fn health(entry: &Entry, sink: &mut Sink) -> Option<HealthCheck> {
    let mut it = Fields::below(entry, sink)?;
    let http = it.required("http");
    let lengths = ["interval", "timeout", "min_healthy", "deadline"].map(|key| it.optional(key));
    it.finish(sink);
    let http = http.and_then(|entry| probe_url(entry, sink));
    let [interval_at, timeout_at, healthy_at, deadline_at] = lengths;
    let interval = or_default(interval_at, Millis::seconds(1), |entry| positive_duration(entry, sink));
    let timeout = or_default(timeout_at, Millis::seconds(2), |entry| positive_duration(entry, sink));
    let min_healthy = or_default(healthy_at, Millis::seconds(10), |entry| duration(entry, sink));
    let deadline = or_default(deadline_at, Millis::minutes(5), |entry| positive_duration(entry, sink));
    let place = |own: Option<&Entry>| deadline_at.or(own).map_or(entry.key_span, |it| it.value.span);
    match (interval, min_healthy, deadline) {
        (_, Some(min_healthy), Some(deadline)) if deadline <= min_healthy => {
            let message = format!(
                "`deadline` ({deadline}) is not longer than `min_healthy` ({min_healthy}): no host could succeed"
            );
            sink.error(error_code::HEALTH_DEADLINE, place(healthy_at), message, "make `deadline` longer");
        }
        (Some(interval), _, Some(deadline)) if deadline <= interval => {
            let message = format!(
                "`interval` ({interval}) is not shorter than `deadline` ({deadline}): there would be one probe"
            );
            let place = interval_at.map_or(place(None), |it| it.value.span);
            sink.error(error_code::HEALTH_INTERVAL, place, message, "make `interval` shorter");
        }
        _ => {}
    }
    Some(HealthCheck {
        http: http?,
        interval: interval?,
        timeout: timeout?,
        min_healthy: min_healthy?,
        deadline: deadline?,
    })
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
    let rest = url.strip_prefix("http://");
    let full = rest.is_some();
    let rest = rest.unwrap_or(url);
    let (authority, path) = match rest.find('/') {
        Some(slash) => (&rest[..slash], &rest[slash..]),
        None => (rest, "/"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port.parse().ok()?),
        Some(_) => return None,
        None => (authority, 80),
    };
    let bad = |c: char| c.is_whitespace() || c.is_control();
    let bad_host = host.contains(|c: char| bad(c) || matches!(c, '@' | '?' | '#'));
    // A host without `http://` would be a path or a scheme that is not known.
    let shape = if full { !host.is_empty() } else { authority.starts_with(':') };
    if port == 0 || bad_host || path.contains(bad) || !shape {
        return None;
    }
    Some(ProbeUrl { host: full.then(|| host.to_owned()), port, path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_name_a_port_and_maybe_a_host() {
        for (url, shown) in [
            (":8080/healthz", ":8080/healthz"),
            (":8080", ":8080/"),
            ("http://10.0.0.1:81/a/b?c=d", "http://10.0.0.1:81/a/b?c=d"),
            ("http://db/", "http://db:80/"),
        ] {
            assert_eq!(parse_probe_url(url).map(|it| it.to_string()).as_deref(), Some(shown), "{url}");
        }
        for bad in [
            "",
            "/healthz",
            "8080",
            "db:80/x",
            "http://",
            "http://:80/",
            "https://db/",
            ":0/",
            ":99999/",
            ":+8/",
            ":80/a b",
        ] {
            assert_eq!(parse_probe_url(bad), None, "{bad}");
        }
    }
}
