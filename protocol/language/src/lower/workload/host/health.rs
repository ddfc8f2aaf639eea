//! `health`: probes by condition, or one probe beside the two lengths of time.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::limits::HOST_PROBES_MAX;
use trimaran_model::pipeline::{
    Condition, HealthCheck, HttpExpect, HttpProbe, Probe, ProbeAddress, ProbeCheck, ProbeTls, ProbeUrl,
};
use trimaran_model::time::Millis;

use super::command::command_list;
use crate::decode::{
    Fields, choice, duration, each, list, map, or_default, positive_count, positive_duration, text,
};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::tree::{Entry, Node, Span};

/// A probe is one of these.
const CHECKS: [&str; 3] = ["http", "tcp", "command"];
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "OPTIONS"];

pub(super) fn lower(entry: &Entry, sink: &mut Sink) -> Option<HealthCheck> {
    let mut it = Fields::below(entry, sink)?;
    let lists = Condition::ALL.map(|condition| it.optional(condition.as_str()));
    let single = ProbeKeys::read(&mut it);
    let lengths = ["min_healthy", "deadline"].map(|key| it.optional(key));
    it.finish(sink);
    let conditions = match (lists.iter().flatten().next(), single.first()) {
        (Some(_), Some(key)) => {
            let message = "a probe beside lists of probes belongs to none of them";
            let help = "move it into `readiness: [ … ]`, or keep the one probe alone";
            sink.error(error_code::EXACTLY_ONE, key.key_span, message, help);
            None
        }
        (Some(_), None) => {
            let all = lists.map(|list| or_default(list, Vec::new(), |entry| probes(entry, sink)));
            not_none(entry, &all, sink);
            let [startup, readiness, liveness] = all;
            Some([startup?, readiness?, liveness?])
        }
        (None, _) => single.lower(entry.key_span, sink).map(|one| [Vec::new(), vec![one], Vec::new()]),
    };
    let [healthy_at, deadline_at] = lengths;
    let min_healthy = or_default(healthy_at, Millis::seconds(10), |entry| duration(entry, sink));
    let deadline = or_default(deadline_at, Millis::minutes(5), |entry| positive_duration(entry, sink));
    let (min_healthy, deadline) = (min_healthy?, deadline?);
    if deadline <= min_healthy {
        let message = format!(
            "`deadline` ({deadline}) is not longer than `min_healthy` ({min_healthy}): no host could succeed"
        );
        let place = deadline_at.or(healthy_at).map_or(entry.key_span, |it| it.value.span);
        sink.error(error_code::HEALTH_DEADLINE, place, message, "make `deadline` longer");
    }
    let [startup, readiness, liveness] = conditions?;
    // Something has to say for how long it has been healthy.
    let readiness = if readiness.is_empty() && liveness.is_empty() { startup.clone() } else { readiness };
    let health = HealthCheck { startup, readiness, liveness, min_healthy, deadline };
    if let Some((_, probe)) =
        health.probes().find(|(_, probe)| deadline > min_healthy && probe.interval >= deadline)
    {
        let message = format!(
            "`interval` ({}) is not shorter than `deadline` ({deadline}): there would be one probe",
            probe.interval
        );
        let place = it_or(single.interval, deadline_at, entry);
        sink.error(error_code::HEALTH_INTERVAL, place, message, "make `interval` shorter");
    }
    Some(health)
}

/// The place of the first of two values that is there.
fn it_or(first: Option<&Entry>, second: Option<&Entry>, otherwise: &Entry) -> Span {
    first.or(second).map_or(otherwise.key_span, |it| it.value.span)
}

/// Without any probe nothing would ever be healthy; with very many a host would do nothing else.
fn not_none(entry: &Entry, all: &[Option<Vec<Probe>>; 3], sink: &mut Sink) {
    let count: usize = all.iter().flatten().map(Vec::len).sum();
    if count == 0 && all.iter().all(Option::is_some) {
        sink.error(error_code::MISSING_KEY, entry.key_span, "`health` names no probe", "name at least one");
    } else if count > HOST_PROBES_MAX {
        let message = format!("`health` has {count} probes, more than {HOST_PROBES_MAX}");
        sink.error(error_code::BAD_AMOUNT, entry.key_span, message, "keep those that find something out");
    }
}

fn probes(entry: &Entry, sink: &mut Sink) -> Option<Vec<Probe>> {
    each(list(entry, sink)?, |item| probe(item, sink))
}

fn probe(node: &Node, sink: &mut Sink) -> Option<Probe> {
    let mut it = Fields::of(node, node.span, "a probe", sink)?;
    let keys = ProbeKeys::read(&mut it);
    it.finish(sink);
    keys.lower(node.span, sink)
}

/// The keys of one probe.
struct ProbeKeys<'a> {
    checks: [Option<&'a Entry>; 3],
    /// `method`, `host`, `headers`, `tls`, `expect`: of http alone.
    http: [Option<&'a Entry>; 5],
    interval: Option<&'a Entry>,
    timeout: Option<&'a Entry>,
    successes: Option<&'a Entry>,
    failures: Option<&'a Entry>,
}

impl<'a> ProbeKeys<'a> {
    fn read(it: &mut Fields<'a>) -> Self {
        Self {
            checks: CHECKS.map(|key| it.optional(key)),
            http: ["method", "host", "headers", "tls", "expect"].map(|key| it.optional(key)),
            interval: it.optional("interval"),
            timeout: it.optional("timeout"),
            successes: it.optional("successes"),
            failures: it.optional("failures"),
        }
    }

    /// One of the keys, if there is any.
    fn first(&self) -> Option<&'a Entry> {
        let rest = [self.interval, self.timeout, self.successes, self.failures];
        self.checks.iter().chain(&self.http).chain(&rest).copied().flatten().next()
    }

    /// `place`: of the probe as a whole.
    fn lower(&self, place: Span, sink: &mut Sink) -> Option<Probe> {
        let mut given: Vec<&Entry> = self.checks.into_iter().flatten().collect();
        given.sort_by_key(|entry| entry.key_span);
        if given.is_empty() {
            let message = format!("the probe asks nothing: one of {} is missing", CHECKS.join(", "));
            sink.error(error_code::MISSING_KEY, place, message, "add `http: \":8080/healthz\"`");
        }
        if let Some(second) = given.get(1) {
            let message = format!("exactly one of {} is allowed", CHECKS.join(", "));
            sink.error(error_code::EXACTLY_ONE, second.key_span, message, "keep one of them");
        }
        let [http, tcp, command] = self.checks;
        if http.is_none()
            && given.len() == 1
            && let Some(other) = self.http.iter().flatten().next()
        {
            let message = format!("`{}` belongs to probes by http", other.key);
            sink.error(error_code::UNKNOWN_KEY, other.key_span, message, "remove it");
        }
        let http = http.map(|entry| self.http(entry, sink).map(ProbeCheck::Http));
        let tcp = tcp.map(|entry| tcp_address(entry, sink).map(ProbeCheck::Tcp));
        let command = command.map(|entry| command_list(entry, sink).map(ProbeCheck::Command));
        let interval = or_default(self.interval, Probe::INTERVAL, |entry| positive_duration(entry, sink));
        let timeout = or_default(self.timeout, Probe::TIMEOUT, |entry| positive_duration(entry, sink));
        let successes = or_default(self.successes, Probe::SUCCESSES, |entry| positive_count(entry, sink));
        let failures = or_default(self.failures, Probe::FAILURES, |entry| positive_count(entry, sink));
        let mut checks = [http, tcp, command].into_iter().flatten();
        let check = checks.next().filter(|_| given.len() == 1).flatten();
        Some(Probe {
            check: check?,
            interval: interval?,
            timeout: timeout?,
            successes: successes?,
            failures: failures?,
        })
    }

    fn http(&self, entry: &Entry, sink: &mut Sink) -> Option<HttpProbe> {
        let [method, host, headers, tls, expect] = self.http;
        let words = METHODS.map(|it| (it, it));
        let method = or_default(method, "GET", |entry| choice(&entry.value, "`method`", &words, sink));
        let host = or_default(host, None, |entry| header_value(entry, sink).map(Some));
        let headers = or_default(headers, BTreeMap::new(), |entry| header_map(entry, sink));
        let secured = tls.is_some();
        let tls = or_default(tls, None, |entry| certificates(entry, sink).map(Some));
        let expect = or_default(expect, HttpExpect::default(), |entry| expected(entry, sink));
        Some(HttpProbe {
            url: probe_url(entry, secured, sink)?,
            method: method?.to_owned(),
            host: host?,
            headers: headers?,
            tls: tls?,
            expect: expect?,
        })
    }
}

fn header_map(entry: &Entry, sink: &mut Sink) -> Option<BTreeMap<String, String>> {
    let pairs = each(map(entry, sink)?, |header| {
        let value = header_value(header, sink);
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let own = ["host", "connection", "content-length", "transfer-encoding"];
        let lower = header.key.to_ascii_lowercase();
        let why = if header.key.is_empty() || !header.key.chars().all(token) {
            "is not the name of a header"
        } else if own.contains(&lower.as_str()) {
            "is set by the probe itself"
        } else {
            return Some((header.key.clone(), value?));
        };
        let message = format!("`{}` {why}", shown(&header.key));
        sink.error(
            error_code::BAD_NAME,
            header.key_span,
            message,
            "choose another one; `host` has a key of its own",
        );
        None
    })?;
    Some(pairs.into_iter().collect())
}

fn header_value(entry: &Entry, sink: &mut Sink) -> Option<String> {
    let value = text(entry, sink)?;
    if !value.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte)) {
        let message = format!("`{}` can't be the value of a header", shown(&value));
        sink.error(error_code::BAD_NAME, entry.value.span, message, "write it in printable ASCII characters");
        return None;
    }
    Some(value)
}

fn certificates(entry: &Entry, sink: &mut Sink) -> Option<ProbeTls> {
    let mut it = Fields::below(entry, sink)?;
    let ca = it.required("ca");
    it.finish(sink);
    Some(ProbeTls { ca: text(ca?, sink)? })
}

fn expected(entry: &Entry, sink: &mut Sink) -> Option<HttpExpect> {
    let mut it = Fields::below(entry, sink)?;
    let [status, contains] = ["status", "contains"].map(|key| it.optional(key));
    it.finish(sink);
    let status = or_default(status, HttpExpect::default().status, |entry| status_range(entry, sink));
    let contains = or_default(contains, None, |entry| text(entry, sink).map(Some));
    Some(HttpExpect { status: status?, contains: contains? })
}

/// `204` or `200-299`.
fn status_range(entry: &Entry, sink: &mut Sink) -> Option<(u16, u16)> {
    let written = text(entry, sink)?;
    let (from, to) = written.split_once('-').unwrap_or((&written, &written));
    let number = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|it| it.is_ascii_digit());
        text.parse::<u16>().ok().filter(|status| digits && (100..=599).contains(status))
    };
    let found = number(from.trim()).zip(number(to.trim())).filter(|(from, to)| from <= to);
    if found.is_none() {
        let message = format!("`{}` is not a range of statuses from 100 to 599", shown(&written));
        sink.error(error_code::BAD_AMOUNT, entry.value.span, message, "write it like 204 or \"200-299\"");
    }
    found
}

/// `:5432` or `HOST:5432`.
fn tcp_address(entry: &Entry, sink: &mut Sink) -> Option<ProbeAddress> {
    let written = text(entry, sink)?;
    let found = parse_authority(&written, None);
    if found.is_none() {
        let message = format!("`{}` is not a port of a host", shown(&written));
        sink.error(error_code::BAD_URL, entry.value.span, message, "write it like :5432, or HOST:5432");
    }
    found
}

/// `:8080/healthz`, or `http://HOST:PORT/PATH`; with `secured` the scheme is https.
pub(super) fn probe_url(entry: &Entry, secured: bool, sink: &mut Sink) -> Option<ProbeUrl> {
    let url = text(entry, sink)?;
    let parsed = parse_probe_url(&url, secured);
    if parsed.is_none() {
        let message = format!("`{}` is not a probe's URL", shown(&url));
        let help = match (url.starts_with("https://"), url.starts_with("http://")) {
            (true, _) if !secured => "say whose certificate is believed: `tls: { ca: FILE }`",
            (_, true) if secured => "with `tls` write https://",
            _ if secured => "write it like :8443/healthz, or https://HOST:PORT/PATH",
            _ => "write it like :8080/healthz, or http://HOST:PORT/PATH",
        };
        sink.error(error_code::BAD_URL, entry.value.span, message, help);
    }
    parsed
}

fn parse_probe_url(url: &str, secured: bool) -> Option<ProbeUrl> {
    let (scheme, default) = if secured { ("https://", 443) } else { ("http://", 80) };
    let rest = url.strip_prefix(scheme);
    let full = rest.is_some();
    let rest = rest.unwrap_or(url);
    let (authority, path) = match rest.find('/') {
        Some(slash) => (&rest[..slash], &rest[slash..]),
        None => (rest, "/"),
    };
    // A host without a scheme would be a path or a scheme that is not known.
    let shape =
        if full { !authority.is_empty() && !authority.starts_with(':') } else { authority.starts_with(':') };
    if path.contains(is_blank) || !shape {
        return None;
    }
    let address = parse_authority(authority, Some(default))?;
    Some(ProbeUrl { address, path: path.to_owned() })
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// `HOST:PORT` or `:PORT`; without a port the default one, where there is one.
fn parse_authority(authority: &str, default: Option<u16>) -> Option<ProbeAddress> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, port.parse().ok()?)
        }
        // The colons of an IPv6 address in brackets.
        Some(_) if !authority.ends_with(']') => return None,
        _ => (authority, default?),
    };
    let bare = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').filter(|it| it.parse::<core::net::Ipv6Addr>().is_ok())?,
        None if host.contains(':') => return None,
        None => host,
    };
    if port == 0 || bare.contains(|c: char| is_blank(c) || matches!(c, '@' | '?' | '#' | '/')) {
        return None;
    }
    Some(ProbeAddress { host: (!bare.is_empty()).then(|| bare.to_owned()), port })
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
            ("http://[::1]:81/", "http://[::1]:81/"),
            ("http://[::1]/x", "http://[::1]:80/x"),
        ] {
            let parsed = parse_probe_url(url, false);
            assert_eq!(parsed.map(|it| it.to_string()).as_deref(), Some(shown), "{url}");
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
            "http://[::1/",
            "http://::1/",
        ] {
            assert_eq!(parse_probe_url(bad, false), None, "{bad}");
        }
        let secured = parse_probe_url("https://db/", true).expect("a URL");
        assert_eq!((secured.address.port, secured.path.as_str()), (443, "/"));
        assert_eq!(parse_probe_url("http://db/", true), None);
    }

    #[test]
    fn a_port_is_named_with_or_without_a_host() {
        let address = |text: &str| parse_authority(text, None).map(|it| (it.host, it.port));
        assert_eq!(address(":5432"), Some((None, 5432)));
        assert_eq!(address("db:1"), Some((Some("db".to_owned()), 1)));
        assert_eq!(address("[::1]:1"), Some((Some("::1".to_owned()), 1)));
        for bad in ["", "db", ":0", ":x", "::1:5", "a b:1", "db:1/x"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }
}
