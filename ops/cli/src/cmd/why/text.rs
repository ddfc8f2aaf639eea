//! The answer to `why` for people: what each stage does or waits for, since when, until when, and what to type.

use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::run::Status;
use trimaran_wire::document::{InstanceDocument, ReasonDocument, RunDocument, StageDocument};

use super::output::Output;
use crate::ui::{View, printable, rollback_line, words};

/// The answer.
pub(super) fn lines(run: &RunDocument, output: Option<&Output>, view: &View) -> Vec<String> {
    let mut lines = vec![head(run, view)];
    lines.extend(run.caused_by.as_ref().map(|by| format!("it takes back the release of {by}")));
    lines.extend(run.rollback.iter().flat_map(|it| view.wrap("", "  ", &rollback_line(it))));
    lines.extend(reason_lines(&run.reasons, &[], view));
    for stage in &run.stages {
        lines.extend(stage_lines(stage, output.filter(|it| it.stage == stage.name), view));
    }
    if lines.len() == 1 {
        let done = Status::from_name(&run.status).is_some_and(Status::is_done);
        lines.push(if done { "It is done." } else { "Nothing is blocking it." }.to_owned());
    }
    lines
}

/// `web#9 succeeded 4m ago`, `web#9 is running since 12s ago`.
fn head(run: &RunDocument, view: &View) -> String {
    match &run.finished_at {
        Some(at) => format!("{} {} {}", run.run, past(&run.status), view.time(at)),
        None => format!("{} is {}; it began {}", run.run, words(&run.status), view.time(&run.created_at)),
    }
}

/// A status that is over, as a verb.
fn past(status: &str) -> String {
    match status {
        "succeeded" | "failed" => status.to_owned(),
        "warned" => "succeeded with warnings".to_owned(),
        "broken" => "is broken since".to_owned(),
        other => format!("was {}", words(other)),
    }
}

/// Nothing for a stage that succeeded or has nothing to say.
fn stage_lines(stage: &StageDocument, output: Option<&Output>, view: &View) -> Vec<String> {
    let status = Status::from_name(&stage.status);
    let works = matches!(status, Some(Status::Running | Status::RollingBack | Status::Lost));
    let notable: Vec<&InstanceDocument> =
        stage.instances.iter().filter(|it| !matches!(it.status.as_str(), "healthy" | "waiting")).collect();
    let failed = matches!(
        status,
        Some(Status::Failed | Status::RolledBack | Status::RollbackFailed | Status::Broken | Status::Stopped)
    );
    if stage.reasons.is_empty() && !works && !(failed && !notable.is_empty()) {
        return Vec::new();
    }
    let wave = stage.wave.as_ref().filter(|wave| works && wave.total > 0).map(|wave| {
        format!(", wave {} of {}, {}/{} hosts done", wave.number, wave.of, wave.done, wave.total)
    });
    let since = stage.started_at.as_deref().filter(|_| works);
    let since = since.map(|at| format!("; it began {}", view.time(at))).unwrap_or_default();
    let because = if stage.reasons.is_empty() { "" } else { " because:" };
    let head =
        format!("{} is {}{}{since}{because}", stage.name, words(&stage.status), wave.unwrap_or_default());
    let mut lines = view.wrap("", "  ", &head);
    lines.extend(reason_lines(&stage.reasons, &stage.instances, view));
    for instance in notable.iter().filter(|it| !is_told(it, &stage.reasons)) {
        let code = instance.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
        let message = match instance.message.as_str() {
            "" => String::new(),
            message => format!(": {}", printable(message)),
        };
        let text = format!("{} is {}{code}{message}", instance.name, words(&instance.status));
        lines.extend(view.wrap("    ", "      ", &text));
        if instance.status == "lost" {
            lines.extend(
                instance.code.as_deref().and_then(advice).map(|advice| format!("      first: {advice}")),
            );
        }
    }
    lines.extend(output.into_iter().flat_map(output_lines));
    lines
}

/// Whether a reason of the stage names this instance already.
fn is_told(instance: &InstanceDocument, reasons: &[ReasonDocument]) -> bool {
    reasons.iter().any(|reason| reason.message.starts_with(&format!("{}: ", instance.name)))
}

fn reason_lines(reasons: &[ReasonDocument], instances: &[InstanceDocument], view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, reason) in (1..).zip(reasons) {
        let since = view.time(&reason.since);
        let text = format!("{}: {} (since {since})", reason.code, printable(&reason.message));
        lines.extend(view.wrap(&format!(" {number}. "), "    ", &text));
        for (name, text) in next_steps(reason, instances) {
            lines.extend(view.wrap(&format!("    {name}: "), "      ", &text));
        }
        if let Some(next) = &reason.next_check {
            let name = if reason.code == ReasonCode::Approval.as_str() { "expires" } else { "checked again" };
            lines.push(format!("    {name}: {}", view.time(next)));
        }
    }
    lines
}

/// What a human does first, and the command that continues; or what will happen without one.
fn next_steps(reason: &ReasonDocument, instances: &[InstanceDocument]) -> Vec<(&'static str, String)> {
    let who = match reason.who.as_slice() {
        [] => String::new(),
        who => format!("  ({})", who.join(" or ")),
    };
    let is_pause = reason.code.starts_with("paused_");
    let mut steps = Vec::new();
    if is_pause {
        // Resuming alone only pauses again while the cause is there.
        let advice = cause(reason, instances).and_then(|code| advice(code.as_str())).or(advice(&reason.code));
        steps.extend(advice.map(|advice| ("first", advice)));
    }
    if reason.clears != CLEARS_WAIT {
        let name = if is_pause { "then" } else { "to continue" };
        steps.push((name, format!("{}{who}", reason.clears)));
    } else if let Some(run) = run_in(&reason.message).filter(|_| reason.code == "concurrency") {
        steps.push(("see", format!("trimaran why {run}, or end it: trimaran cancel {run}")));
    } else if let Some(advice) = advice(&reason.code) {
        steps.push(("next", advice));
    }
    steps
}

/// The code behind a pause: in its message (`host-2: fetch_unreachable: ...`), or that of an instance.
fn cause(reason: &ReasonDocument, instances: &[InstanceDocument]) -> Option<ReasonCode> {
    let in_message = reason.message.split(": ").find_map(ReasonCode::from_name);
    in_message.or_else(|| instances.iter().find_map(|it| ReasonCode::from_name(it.code.as_deref()?)))
}

/// What to do about a reason.
fn advice(code: &str) -> Option<String> {
    ReasonCode::from_name(code).map(|code| code.advice().to_owned())
}

/// The run that a message names between backticks.
fn run_in(message: &str) -> Option<&str> {
    message
        .split('`')
        .find(|part| part.split_once('#').is_some_and(|(_, number)| number.parse::<u64>().is_ok()))
}

fn output_lines(output: &Output) -> Vec<String> {
    let mut lines = Vec::new();
    if !output.lines.is_empty() {
        lines.push(format!("    last output of {}:", output.host));
        lines.extend(output.lines.iter().map(|line| format!("      | {}", printable(line))));
    }
    lines.push(format!("    more: trimaran logs {}/{} --host {}", output.run, output.stage, output.host));
    lines
}
