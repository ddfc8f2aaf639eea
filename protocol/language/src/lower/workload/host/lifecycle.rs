//! `may_stop`, `drain`, `undrain` and `hooks`: what is done around the stop and the start of the process.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::limits::HOST_HOOKS_MAX;
use trimaran_model::pipeline::{Drain, DrainBy, Hook, HookEvent, Lifecycle, MayStop};
use trimaran_model::time::Millis;

use super::command::command_list;
use super::health::probe_url;
use crate::decode::{Fields, each, list, or_default, positive_duration, text};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::tree::{Entry, Node};

/// What a drain is done by.
const DRAIN_BY: [&str; 3] = ["command", "http", "file"];

/// The four keys, which may be missing.
pub(super) struct LifecycleKeys<'a>([Option<&'a Entry>; 4]);

impl<'a> LifecycleKeys<'a> {
    pub(super) fn read(it: &mut Fields<'a>) -> Self {
        Self(["may_stop", "drain", "undrain", "hooks"].map(|key| it.optional(key)))
    }

    pub(super) fn lower(self, sink: &mut Sink) -> Option<Lifecycle> {
        let [may_stop, drain_at, undrain_at, hooks_at] = self.0;
        let may_stop = or_default(may_stop, None, |entry| permission(entry, sink).map(Some));
        let drained = or_default(drain_at, None, |entry| drain(entry, sink).map(Some));
        let undrain = or_default(undrain_at, None, |entry| drain(entry, sink).map(Some));
        let hooks = or_default(hooks_at, BTreeMap::new(), |entry| hooks(entry, sink));
        Some(Lifecycle { may_stop: may_stop?, drain: drained?, undrain: undrain?, hooks: hooks? })
    }
}

fn permission(entry: &Entry, sink: &mut Sink) -> Option<MayStop> {
    let mut it = Fields::below(entry, sink)?;
    let http = it.required("http");
    let [every, deadline] = ["every", "deadline"].map(|key| it.optional(key));
    it.finish(sink);
    let http = http.and_then(|entry| probe_url(entry, false, sink));
    let every = or_default(every, MayStop::INTERVAL, |entry| positive_duration(entry, sink));
    let deadline = or_default(deadline, MayStop::DEADLINE, |entry| positive_duration(entry, sink));
    Some(MayStop { http: http?, every: every?, deadline: deadline? })
}

fn drain(entry: &Entry, sink: &mut Sink) -> Option<Drain> {
    let mut it = Fields::below(entry, sink)?;
    let by = DRAIN_BY.map(|key| it.optional(key));
    let wait = it.optional("wait");
    it.finish(sink);
    let wait = or_default(wait, Drain::WAIT, |entry| positive_duration(entry, sink));
    let mut given: Vec<&Entry> = by.into_iter().flatten().collect();
    given.sort_by_key(|entry| entry.key_span);
    if given.is_empty() {
        let message = format!("one of {} is missing", DRAIN_BY.join(", "));
        sink.error(error_code::MISSING_KEY, entry.key_span, message, "add `command: [bin/leave-balancer]`");
    }
    if let Some(second) = given.get(1) {
        let message = format!("exactly one of {} is allowed", DRAIN_BY.join(", "));
        sink.error(error_code::EXACTLY_ONE, second.key_span, message, "keep one of them");
    }
    let [one] = given.as_slice() else { return None };
    let by = match one.key.as_str() {
        "command" => DrainBy::Command(command_list(one, sink)?),
        "http" => DrainBy::Http(probe_url(one, false, sink)?),
        _ => DrainBy::File(file_path(one, sink)?),
    };
    Some(Drain { by, wait: wait? })
}

/// Absolute, or relative to the service's run directory without leaving it.
fn file_path(entry: &Entry, sink: &mut Sink) -> Option<String> {
    let path = text(entry, sink)?;
    let is_bad = path.is_empty()
        || path.ends_with('/')
        || path.contains('\0')
        || path.split('/').any(|part| part == "..");
    if is_bad {
        let message = format!("`{}` is not the path of a file", shown(&path));
        let help = "write it like drained, in the service's run directory, or /run/web/drained";
        sink.error(error_code::BAD_NAME, entry.value.span, message, help);
        return None;
    }
    Some(path)
}

fn hooks(entry: &Entry, sink: &mut Sink) -> Option<BTreeMap<HookEvent, Vec<Hook>>> {
    let mut it = Fields::below(entry, sink)?;
    let events = HookEvent::ALL.map(|event| (event, it.optional(event.as_str())));
    it.finish(sink);
    let mut found = BTreeMap::new();
    for (event, entry) in events {
        let hooks = or_default(entry, Vec::new(), |entry| {
            let items = list(entry, sink)?;
            if items.len() > HOST_HOOKS_MAX {
                let message = format!("more than {HOST_HOOKS_MAX} hooks at one place");
                sink.error(error_code::BAD_AMOUNT, entry.key_span, message, "let one call the others");
            }
            each(items, |item| hook(item, sink))
        });
        if let Some(hooks) = hooks.filter(|hooks| !hooks.is_empty()) {
            found.insert(event, hooks);
        }
    }
    Some(found)
}

fn hook(node: &Node, sink: &mut Sink) -> Option<Hook> {
    let mut it = Fields::of(node, node.span, "a hook", sink)?;
    let (command, timeout) = (it.required("command"), it.optional("timeout"));
    it.finish(sink);
    let command = command.and_then(|entry| command_list(entry, sink));
    let timeout: Option<Millis> = or_default(timeout, Hook::TIMEOUT, |entry| positive_duration(entry, sink));
    Some(Hook { command: command?, timeout: timeout? })
}
