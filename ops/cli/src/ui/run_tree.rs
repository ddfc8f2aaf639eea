//! A run for people: its stages as a tree with status, times, reasons and instances.

use std::collections::BTreeMap;

use trimaran_model::run::Status;
use trimaran_wire::document::{
    InstanceDocument, ReasonDocument, RollbackDocument, RunDocument, StageDocument, WaveDocument,
};

use super::View;
use super::text::printable;
use super::time::{elapsed, seconds_between};

/// Since when, RFC 3339, an instance has its status: stage and instance name, as one who follows the run saw it.
pub(crate) type Since = BTreeMap<(String, String), String>;

/// The lines of a run.
pub(crate) fn lines(run: &RunDocument, view: &View) -> Vec<String> {
    lines_since(run, view, &Since::new())
}

/// The lines of a run, with how long its instances have had their status.
pub(crate) fn lines_since(run: &RunDocument, view: &View, since: &Since) -> Vec<String> {
    let versions: Vec<String> =
        run.artifacts.iter().map(|artifact| format!("{} {}", artifact.name, artifact.version)).collect();
    let status = view.paint(&run.status, &words(&run.status));
    let took = took(Some(&run.created_at), run.finished_at.as_deref(), view);
    let mut lines = vec![format!("{}  {}  {status}{took}", run.run, versions.join(", "))];
    for reason in &run.reasons {
        lines.extend(view.wrap("   ", "     ", &reason_line(reason, view)));
    }
    for (index, stage) in run.stages.iter().enumerate() {
        let last = index + 1 == run.stages.len();
        lines.extend(stage_lines(stage, last, view, since));
    }
    lines.extend(run.rollback.iter().flat_map(|it| view.wrap("", "   ", &rollback_line(it))));
    lines
}

/// The release that a run restores, and why.
pub(crate) fn rollback_line(it: &RollbackDocument) -> String {
    let to = match (&it.version, &it.to) {
        (Some(version), Some(digest)) => format!("{version} ({})", short(digest)),
        (_, Some(digest)) => short(digest),
        (_, None) => "nothing: it was the first release".to_owned(),
    };
    format!("back to {to}, because: {}", printable(&it.cause))
}

fn stage_lines(stage: &StageDocument, last: bool, view: &View, since: &Since) -> Vec<String> {
    let branch = if last { "'-" } else { "|-" };
    let bar = if last { "  " } else { "| " };
    let (first, next) = (format!("{bar}     "), format!("{bar}       "));
    let status = view.paint(&stage.status, &format!("{} {}", symbol(&stage.status), words(&stage.status)));
    // Before the agent reported its hosts there is nothing to count.
    let progress = stage
        .wave
        .as_ref()
        .filter(|wave| wave.total > 0 && !stage.instances.iter().any(is_job))
        .map(|wave| format!("  {}{}/{} hosts", wave_number(stage, wave), wave.done, wave.total));
    let took = took(stage.started_at.as_deref(), stage.finished_at.as_deref(), view);
    let head = format!("{:<28} {status}{}{took}", stage.name, progress.unwrap_or_default());
    let mut lines = view.fit(&format!("{branch} "), &next, &head);
    for reason in &stage.reasons {
        lines.extend(view.wrap(&first, &next, &reason_line(reason, view)));
    }
    let noteworthy = stage
        .instances
        .iter()
        .filter(|it| is_job(it) || !matches!(it.status.as_str(), "healthy" | "waiting"));
    for instance in noteworthy {
        let here = since.get(&(stage.name.clone(), instance.name.clone()));
        let started = instance.since.as_ref().filter(|_| view.is_terminal).or(here);
        let known = started.and_then(|started| view.seconds_since(started));
        let known = known.map(|seconds| format!(" {}", elapsed(seconds))).unwrap_or_default();
        let said = stage.reasons.iter().any(|reason| says_of(reason, instance));
        lines.extend(view.wrap(&first, &next, &instance_line(instance, &known, said)));
    }
    lines
}

/// Which wave it is; a rollback has only one.
pub(crate) fn wave_number(stage: &StageDocument, wave: &WaveDocument) -> String {
    let back = [Status::RollingBack, Status::RolledBack, Status::RollbackFailed];
    match Status::from_name(&stage.status) {
        Some(status) if back.contains(&status) => String::new(),
        Some(_) | None => format!("wave {} of {}, ", wave.number, wave.of),
    }
}

/// A job has a state of its own, which people want to know of also when all is well.
fn is_job(instance: &InstanceDocument) -> bool {
    instance.state.is_some()
}

/// Whether a reason of the stage says already what the instance says.
fn says_of(reason: &ReasonDocument, instance: &InstanceDocument) -> bool {
    reason.instance.as_ref() == Some(&instance.name) && reason.message.contains(&instance.message)
}

/// What an instance does or why it failed. `known` says how long, with a blank before it; `said`: a reason above says
/// why.
fn instance_line(instance: &InstanceDocument, known: &str, said: bool) -> String {
    let code = instance.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
    let message = match instance.message.as_str() {
        message if said || message.is_empty() => String::new(),
        message => format!(": {}", printable(message)),
    };
    let state = instance.state.as_ref().and_then(|state| {
        let path = state.path.as_deref()?;
        Some(format!(", from {} {}", state.kind, printable(path)))
    });
    let state = state.unwrap_or_default();
    format!("{} {}{known}{code}{state}{message}", instance.name, words(&instance.status))
}

/// How long it took or has taken so far, on a terminal: times of a pipe stand in the documents.
fn took(started: Option<&str>, finished: Option<&str>, view: &View) -> String {
    let Some(started) = started.filter(|_| view.is_terminal) else { return String::new() };
    let seconds = match finished {
        Some(finished) => seconds_between(started, finished),
        None => view.seconds_since(started),
    };
    seconds.map(|seconds| format!("  {}", elapsed(seconds))).unwrap_or_default()
}

/// One sentence with the command that clears it, or when it expires.
pub(crate) fn reason_line(reason: &ReasonDocument, view: &View) -> String {
    let clears = if reason.clears == "wait" { String::new() } else { format!("  ->  {}", reason.clears) };
    let expires = reason.next_check.as_deref().filter(|_| reason.code == "approval" && view.is_terminal);
    let expires = expires.map(|at| format!(" (expires {})", view.time(at))).unwrap_or_default();
    format!("{}: {}{expires}{clears}", reason.code, printable(&reason.message))
}

/// The first twelve digits of a digest.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

/// A status as people read it: `rolled back`.
pub(crate) fn words(status: &str) -> String {
    status.replace('_', " ")
}

fn symbol(status: &str) -> &'static str {
    match status {
        "succeeded" | "skipped" => "v",
        "warned" => "!",
        "failed" | "broken" | "rollback_failed" | "stopped" => "x",
        "rolled_back" | "rolling_back" => "<",
        "running" => "*",
        "canceled" => "-",
        _ => ".",
    }
}
