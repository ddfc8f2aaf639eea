//! `process`: what is started, as whom, with which environment and limits.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::error_code;
use trimaran_model::pipeline::{
    Account, Capability, Process, ProcessLimits, Reload, Restart, RestartOn, Stop, StopSignal,
};
use trimaran_model::time::Millis;

use super::command::command_list;
use crate::decode::{
    Fields, Union, boolean, bytes, choice, count, duration, each, expression, list, map, or_default, percent,
    positive_bytes, positive_count, positive_duration, quoted, text, text_of,
};
use crate::diagnostic::Sink;
use crate::lower::secret::secret;
use crate::parse::shown;
use crate::tree::{Entry, Node};

/// What Trimaran sets for each process itself (INTERFACE 1.1).
const OWN_VARIABLES: &[&str] = &[
    "TRIMARAN_HOST",
    "TRIMARAN_ADDRESS",
    "TRIMARAN_RELEASE",
    "TRIMARAN_RUN",
    "TRIMARAN_ATTEMPT",
    "TRIMARAN_STATE_DIR",
    "TRIMARAN_RUN_DIR",
    "TRIMARAN_SERVICE_MARK",
];

/// The longest name of a user or group that useradd(8) makes.
const ACCOUNT_NAME_BYTES_MAX: usize = 32;

pub(super) fn lower(entry: &Entry, sink: &mut Sink) -> Option<Process> {
    let mut it = Fields::below(entry, sink)?;
    let command = it.required("command");
    let environment = it.optional("environment");
    let environment_files = it.optional("environment_files");
    let secrets = it.optional("secrets");
    let [user, group, groups] = ["user", "group", "groups"].map(|key| it.optional(key));
    let [umask, directory] = ["umask", "working_directory"].map(|key| it.optional(key));
    let [limits, capabilities, privileges] =
        ["limits", "capabilities", "no_new_privileges"].map(|key| it.optional(key));
    let [stop, reload, restart] = ["stop", "reload", "restart"].map(|key| it.optional(key));
    it.finish(sink);
    let command = command.and_then(|entry| command_list(entry, sink));
    let environment = or_default(environment, BTreeMap::new(), |entry| variables(entry, sink));
    let environment_files = or_default(environment_files, Vec::new(), |entry| release_files(entry, sink));
    let secrets =
        or_default(secrets, BTreeMap::new(), |entry| secret_variables(entry, environment.as_ref(), sink));
    let account = account(user, group, groups, sink);
    let umask = or_default(umask, Process::UMASK, |entry| permissions(entry, sink));
    let working_directory =
        or_default(directory, Process::WORKING_DIRECTORY.to_owned(), |entry| directory_path(entry, sink));
    let limits = or_default(limits, ProcessLimits::default(), |entry| process_limits(entry, sink));
    let capabilities = or_default(capabilities, None, |entry| capability_set(entry, sink).map(Some));
    let no_new_privileges = or_default(privileges, true, |entry| boolean(entry, sink));
    // TERM and ten seconds unless the file says otherwise.
    let stop_default = Stop { signal: StopSignal::Term, grace: Millis::seconds(10) };
    let stop = or_default(stop, stop_default, |entry| stop_rule(entry, sink));
    let reload = or_default(reload, None, |entry| reload_rule(entry, sink).map(Some));
    let restart_default =
        Restart { on: RestartOn::Failure, delay: Millis::seconds(1), max: 5, per: Millis::minutes(10) };
    let restart =
        or_default(restart, restart_default.clone(), |entry| restart_rule(entry, restart_default, sink));
    Some(Process {
        command: command?,
        environment: environment?,
        environment_files: environment_files?,
        secrets: secrets?,
        account: account?,
        umask: umask?,
        working_directory: working_directory?,
        limits: limits?,
        capabilities: capabilities?,
        no_new_privileges: no_new_privileges?,
        stop: stop?,
        reload: reload?,
        restart: restart?,
    })
}

/// Why `name` can't be a variable of a service.
fn variable_error(name: &str) -> Option<&'static str> {
    if OWN_VARIABLES.contains(&name) {
        Some("is set by Trimaran itself")
    } else if name.is_empty() || name.contains(['=', '\0']) || name.contains(char::is_whitespace) {
        Some("is not a variable's name")
    } else {
        None
    }
}

/// The name of a variable, with what is wrong with it reported.
fn variable_name(variable: &Entry, sink: &mut Sink) -> Option<String> {
    let key = &variable.key;
    if expression(key, variable.key_span, "a key", sink) {
        return None;
    }
    let Some(why) = variable_error(key) else { return Some(key.clone()) };
    let message = format!("`{}` {why}", shown(key));
    sink.error(error_code::VARIABLE_NAME, variable.key_span, message, "choose another name");
    None
}

fn variables(entry: &Entry, sink: &mut Sink) -> Option<BTreeMap<String, String>> {
    let pairs = each(map(entry, sink)?, |variable| {
        let value = text(variable, sink);
        Some((variable_name(variable, sink)?, value?))
    })?;
    Some(pairs.into_iter().collect())
}

/// `DB_PASSWORD: { secret: NAME }`, where NAME is a file that the host keeps.
fn secret_variables(
    entry: &Entry,
    environment: Option<&BTreeMap<String, String>>,
    sink: &mut Sink,
) -> Option<BTreeMap<String, String>> {
    let pairs = each(map(entry, sink)?, |variable| {
        let secret = secret(variable, sink);
        let name = variable_name(variable, sink)?;
        if environment.is_some_and(|environment| environment.contains_key(&name)) {
            let message = format!("`{}` is in `environment` and in `secrets`", shown(&name));
            sink.error(error_code::VARIABLE_NAME, variable.key_span, message, "remove one of the two");
            return None;
        }
        Some((name, secret?))
    })?;
    Some(pairs.into_iter().collect())
}

fn release_files(entry: &Entry, sink: &mut Sink) -> Option<Vec<String>> {
    each(list(entry, sink)?, |item| {
        let path = text_of(item, "a file of the release", sink)?;
        inside_of_release(&path, item, sink).then_some(path)
    })
}

/// Reports a path that leads out of the release.
fn inside_of_release(path: &str, node: &Node, sink: &mut Sink) -> bool {
    let leaves = path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..");
    if leaves {
        let message = format!("`{}` is not a path inside of the release", shown(path));
        sink.error(error_code::BAD_NAME, node.span, message, "write it like conf/env, without `..`");
    }
    !leaves
}

fn directory_path(entry: &Entry, sink: &mut Sink) -> Option<String> {
    let path = text(entry, sink)?;
    let absolute = path.starts_with('/') && path.split('/').all(|part| part != "..");
    (absolute || inside_of_release(&path, &entry.value, sink)).then_some(path)
}

fn account(
    user: Option<&Entry>,
    group: Option<&Entry>,
    groups: Option<&Entry>,
    sink: &mut Sink,
) -> Option<Account> {
    let user = or_default(user, None, |entry| account_name(&entry.value, &quoted(entry), sink).map(Some));
    let group = or_default(group, None, |entry| account_name(&entry.value, &quoted(entry), sink).map(Some));
    let groups = or_default(groups, Vec::new(), |entry| {
        each(list(entry, sink)?, |item| account_name(item, "a group", sink))
    });
    Some(Account { user: user?, group: group?, groups: groups? })
}

/// A name or number of the host's user database (passwd(5)).
fn account_name(node: &Node, what: &str, sink: &mut Sink) -> Option<String> {
    let name = text_of(node, what, sink)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let bad = name.is_empty()
        || name.len() > ACCOUNT_NAME_BYTES_MAX
        || name.starts_with(['-', '.'])
        || !name.strip_suffix('$').unwrap_or(&name).chars().all(plain);
    if bad {
        let message = format!("`{}` is not the name or number of a user or group", shown(&name));
        sink.error(error_code::BAD_NAME, node.span, message, "write it like web, www-data or 1000");
        return None;
    }
    Some(name)
}

/// Octal digits: `"0022"`.
fn permissions(entry: &Entry, sink: &mut Sink) -> Option<u32> {
    let digits = text(entry, sink)?;
    let octal = (1..=4).contains(&digits.len()) && digits.bytes().all(|it| (b'0'..=b'7').contains(&it));
    let found = u32::from_str_radix(&digits, 8).ok().filter(|mask| octal && *mask <= 0o777);
    if found.is_none() {
        let message = format!("`{}` is not a mask of permissions", shown(&digits));
        sink.error(error_code::BAD_AMOUNT, entry.value.span, message, "write it like \"0022\" or \"0077\"");
    }
    found
}

fn process_limits(entry: &Entry, sink: &mut Sink) -> Option<ProcessLimits> {
    let mut it = Fields::below(entry, sink)?;
    let [nofile, nproc, core] = ["nofile", "nproc", "core"].map(|key| it.optional(key));
    let [memory, cpu, tasks] = ["memory", "cpu", "tasks"].map(|key| it.optional(key));
    it.finish(sink);
    let default = ProcessLimits::default();
    let nofile = or_default(nofile, default.nofile, |entry| positive_count(entry, sink).map(u64::from));
    let nproc = or_default(nproc, None, |entry| positive_count(entry, sink).map(|it| Some(it.into())));
    let core = or_default(core, default.core, |entry| bytes(entry, sink));
    let memory = or_default(memory, None, |entry| positive_bytes(entry, sink).map(Some));
    let cpu = or_default(cpu, None, |entry| percent(entry, sink).map(Some));
    let tasks = or_default(tasks, None, |entry| positive_count(entry, sink).map(Some));
    Some(ProcessLimits {
        nofile: nofile?,
        nproc: nproc?,
        core: core?,
        memory: memory?,
        cpu: cpu?,
        tasks: tasks?,
    })
}

fn capability_set(entry: &Entry, sink: &mut Sink) -> Option<BTreeSet<Capability>> {
    let words: Vec<_> = Capability::all().map(|it| (it.as_str(), it)).collect();
    let found = each(list(entry, sink)?, |item| choice(item, "a capability", &words, sink))?;
    Some(found.into_iter().collect())
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

/// Exactly one of `signal` and `command`.
fn reload_rule(entry: &Entry, sink: &mut Sink) -> Option<Reload> {
    let union = Union::of(entry, &["signal", "command"], sink);
    let one = union.one()?;
    match one.key.as_str() {
        "command" => command_list(one, sink).map(Reload::Command),
        _ => {
            let words = Reload::SIGNALS.map(|it| (it.as_str(), it));
            choice(&one.value, "`signal`", &words, sink).map(Reload::Signal)
        }
    }
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
