//! The answer to `why` for people: what each stage does or waits for, since when, until when, and what to type.

use trimaran_model::reason::{CLEARS_WAIT, ReasonCode};
use trimaran_model::run::Status;
use trimaran_wire::document::{InstanceDocument, ReasonDocument, RunDocument, StageDocument};

use super::output::Output;
use crate::ui::{View, printable, rollback_line, wave_number, words};

/// The answer.
pub(super) fn lines(run: &RunDocument, output: Option<&Output>, view: &View) -> Vec<String> {
    let mut lines = vec![head(run, view)];
    lines.extend(run.caused_by.as_ref().map(|by| format!("it takes back the release of {by}")));
    lines.extend(run.rollback.iter().flat_map(|it| view.wrap("", "  ", &rollback_line(it))));
    lines.extend(reason_lines(&run.reasons, &[], false, view));
    let says_more = |stage: &&StageDocument| {
        run.stages.len() == 1
            || stage.reasons.iter().any(|it| it.code != ReasonCode::UpstreamFailed.as_str())
            || stage.reasons.is_empty()
    };
    for stage in run.stages.iter().filter(says_more) {
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

/// Nothing for a stage that succeeded or has nothing to say. Of a job its end says what it cost, and where its jar came from.
fn stage_lines(stage: &StageDocument, output: Option<&Output>, view: &View) -> Vec<String> {
    let status = Status::from_name(&stage.status);
    let works = matches!(status, Some(Status::Running | Status::RollingBack | Status::Lost));
    let is_job = |it: &InstanceDocument| it.state.is_some() && !it.message.is_empty();
    let is_notable =
        |it: &&InstanceDocument| !matches!(it.status.as_str(), "healthy" | "waiting") || is_job(it);
    let notable: Vec<&InstanceDocument> = stage.instances.iter().filter(is_notable).collect();
    let failed = matches!(
        status,
        Some(Status::Failed | Status::RolledBack | Status::RollbackFailed | Status::Broken | Status::Stopped)
    );
    let has_job = notable.iter().any(|it| is_job(it));
    if stage.reasons.is_empty() && !works && (!(failed || has_job) || notable.is_empty()) {
        return Vec::new();
    }
    let wave = stage
        .wave
        .as_ref()
        .filter(|wave| works && wave.total > 0)
        .map(|wave| format!(", {}{}/{} hosts done", wave_number(stage, wave), wave.done, wave.total));
    let since = stage.started_at.as_deref().filter(|_| works);
    let since = since.map(|at| format!("; it began {}", view.time(at))).unwrap_or_default();
    let because = match status {
        _ if stage.reasons.is_empty() => "",
        Some(Status::Succeeded | Status::Warned) => "; now:",
        _ => " because:",
    };
    let is = match status {
        Some(status) if status.is_done() => past(&stage.status),
        _ => format!("is {}", words(&stage.status)),
    };
    let head = format!("{} {is}{}{since}{because}", stage.name, wave.unwrap_or_default());
    let mut lines = view.wrap("", "  ", &head);
    lines.extend(reason_lines(&stage.reasons, &stage.instances, output.is_some(), view));
    for instance in notable.iter().filter(|it| !is_named(it, &stage.reasons)) {
        let code = instance.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
        let message = match instance.message.as_str() {
            "" => String::new(),
            message => format!(": {}", printable(message)),
        };
        let since = instance.since.as_deref().map(|at| format!(" (since {})", view.time(at)));
        let text = format!(
            "{} is {}{code}{message}{}",
            instance.name,
            words(&instance.status),
            since.unwrap_or_default()
        );
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
fn is_named(instance: &InstanceDocument, reasons: &[ReasonDocument]) -> bool {
    reasons.iter().any(|reason| reason.instance.as_ref() == Some(&instance.name))
}

/// `has_output`: the output of the failed instance is shown below, which is better than the advice to read it.
fn reason_lines(
    reasons: &[ReasonDocument],
    instances: &[InstanceDocument],
    has_output: bool,
    view: &View,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, reason) in (1..).zip(reasons) {
        let since = view.time(&reason.since);
        let text = format!("{}: {} (since {since})", reason.code, printable(&reason.message));
        lines.extend(view.wrap(&format!(" {number}. "), "    ", &text));
        for (name, text) in
            next_steps(reason, instances).into_iter().filter(|(name, _)| *name != "next" || !has_output)
        {
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
        // What the instances say is nearer to the cause than a pause that knows no failure but itself.
        let of_instance = || instances.iter().find_map(|it| advice(it.code.as_deref()?));
        let known = reason.cause.as_deref().is_some_and(|cause| cause != reason.code);
        let first = if known { reason.first.clone() } else { of_instance().or_else(|| reason.first.clone()) };
        steps.extend(first.map(|first| ("first", first)));
    }
    if reason.clears != CLEARS_WAIT {
        let name = if is_pause { "then" } else { "to continue" };
        steps.push((name, format!("{}{who}", reason.clears)));
    } else if let Some(run) = &reason.run {
        steps.push(("see", format!("trimaran why {run}, or end it: trimaran cancel {run}")));
    } else if let Some(advice) = advice(&reason.code) {
        steps.push(("next", advice));
    }
    steps
}

/// What to do about a reason.
fn advice(code: &str) -> Option<String> {
    ReasonCode::from_name(code).map(|code| code.advice().to_owned())
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

#[cfg(test)]
mod tests {
    use trimaran_wire::document::StateDocument;

    use super::*;
    use crate::samples;

    fn why(run: &RunDocument, output: Option<&Output>) -> String {
        samples::at_widths(|view| lines(run, output, view).join("\n"))
    }

    #[test]
    fn a_running_stage_says_what_its_hosts_do_and_since_when() {
        let mut run = samples::run("running");
        run.stages[1].status = "running".to_owned();
        run.stages[1].started_at = Some(samples::START.to_owned());
        run.stages[1].wave = Some(samples::wave(1, 0, 4));
        let message = "the host's runner is not connected to its agent";
        run.stages[1].instances = vec![
            samples::instance("host-4", "lost", Some("host_not_connected"), message),
            InstanceDocument {
                since: Some("2026-01-01T00:00:28.000Z".to_owned()),
                ..samples::instance("host-3", "updating", None, "verifying, needs 3s of health within 20s")
            },
            samples::instance("host-5", "waiting", None, ""),
        ];
        insta::assert_snapshot!(why(&run, None));
    }

    #[test]
    fn a_pause_says_what_to_do_first() {
        let mut run = samples::run("waiting");
        let mut reason = samples::reason(
            "paused_fault",
            "host-3: preflight_port: process 25782 (python3.11) listens on 127.0.77.3:18083",
        );
        reason.clears = "trimaran resume web#9/prod/lab-prod".to_owned();
        reason.who = vec!["operator".to_owned(), "admin".to_owned()];
        (reason.cause, reason.instance) = (Some("preflight_port".to_owned()), Some("host-3".to_owned()));
        reason.first = Some(ReasonCode::PreflightPort.advice().to_owned());
        run.stages[1].status = "waiting".to_owned();
        run.stages[1].reasons = vec![reason];
        insta::assert_snapshot!(why(&run, None));
    }

    #[test]
    fn an_approval_says_the_command_who_may_and_when_it_expires() {
        let mut run = samples::run("waiting");
        let mut reason = samples::reason("approval", "`prod` waits for one of: promote, roll_back");
        reason.clears = "trimaran approve web#9/prod/approve --option promote".to_owned();
        reason.who = vec!["operator".to_owned(), "admin".to_owned()];
        reason.next_check = Some("2026-01-01T00:58:30.000Z".to_owned());
        run.stages[1].name = "prod/approve".to_owned();
        run.stages[1].status = "waiting".to_owned();
        run.stages[1].reasons = vec![reason];
        insta::assert_snapshot!(why(&run, None));
    }

    #[test]
    fn what_failed_shows_its_last_output_and_where_more_is() {
        let mut run = samples::run("rolled_back");
        run.finished_at = Some(samples::START.to_owned());
        let message = "host-3: the process ended with exit code 78";
        run.stages[1].status = "rolled_back".to_owned();
        run.stages[1].reasons = vec![samples::reason("process_exited", message)];
        let output = Output {
            run: run.run.clone(),
            stage: run.stages[1].name.clone(),
            host: "host-3".to_owned(),
            lines: vec!["starting".to_owned(), "FATAL: config key db.url missing".to_owned()],
        };
        insta::assert_snapshot!(why(&run, Some(&output)));
    }

    #[test]
    fn a_job_that_is_done_says_what_its_rollback_cost_and_where_its_jar_came_from() {
        let mut run = samples::run("succeeded");
        run.finished_at = Some(samples::START.to_owned());
        let message = "going back to the savepoint file:/s: replays 5s (840 records are processed again); the jar comes \
                       from the store of the agent";
        let mut job = samples::instance("2c60a65f7dbc28d9", "healthy", None, message);
        let (path, at) = (Some("file:/s".to_owned()), None);
        job.state = Some(StateDocument { kind: "savepoint".to_owned(), path, at });
        run.stages[1].status = "succeeded".to_owned();
        run.stages[1].instances = vec![job];
        let text = lines(&run, None, &View::terminal(400)).join("\n");
        assert!(
            text.contains("is healthy: going back") && text.contains("from the store of the agent"),
            "{text}"
        );
        run.stages[1].instances[0].message.clear();
        let text = lines(&run, None, &View::terminal(400)).join("\n");
        assert!(!text.contains("2c60a65f7dbc28d9"), "{text}");
    }

    #[test]
    fn a_queued_run_names_the_one_before_it() {
        let mut run = samples::run("queued");
        let message = "waiting for `web#8` of the same pipeline to finish; position 1 in the queue";
        run.stages[0].status = "queued".to_owned();
        run.stages[0].reasons = vec![samples::reason("concurrency", message)];
        run.stages[0].reasons[0].run = Some("web#8".to_owned());
        let text = lines(&run, None, &View::terminal(100)).join("\n");
        assert!(text.contains("see: trimaran why web#8, or end it: trimaran cancel web#8"), "{text}");
        assert!(!text.contains("Nothing is blocking"), "{text}");
    }
}
