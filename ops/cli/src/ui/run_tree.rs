//! A run for people: its stages as a tree with status, reasons and instances.

use trimaran_wire::document::{ReasonDocument, RollbackDocument, RunDocument, StageDocument};

use super::table::printable;

/// The lines of a run. `mark` paints a status; a pipe passes text through.
pub(crate) fn lines(run: &RunDocument, mark: &dyn Fn(&str, String) -> String) -> Vec<String> {
    let versions: Vec<String> =
        run.artifacts.iter().map(|artifact| format!("{} {}", artifact.name, artifact.version)).collect();
    let mut lines = vec![format!(
        "{}  {}  {}",
        run.run,
        versions.join(", "),
        mark(&run.status, run.status.replace('_', " "))
    )];
    for reason in &run.reasons {
        lines.push(format!("   {}", reason_line(reason)));
    }
    for (index, stage) in run.stages.iter().enumerate() {
        let last = index + 1 == run.stages.len();
        lines.extend(stage_lines(stage, last, mark));
    }
    if let Some(rollback) = &run.rollback {
        lines.push(back_line(rollback));
    }
    lines
}

/// What a run brings back, and why.
pub(crate) fn back_line(it: &RollbackDocument) -> String {
    let to = match (&it.version, &it.to) {
        (Some(version), Some(digest)) => format!("{version} ({})", short(digest)),
        (_, Some(digest)) => short(digest),
        (_, None) => "nothing: it was the first release".to_owned(),
    };
    format!("back to {to}, because: {}", printable(&it.cause))
}

fn stage_lines(stage: &StageDocument, last: bool, mark: &dyn Fn(&str, String) -> String) -> Vec<String> {
    let branch = if last { "'-" } else { "|-" };
    let bar = if last { "  " } else { "| " };
    let status = mark(&stage.status, format!("{} {}", symbol(&stage.status), stage.status.replace('_', " ")));
    let progress = stage
        .wave
        .as_ref()
        .map(|wave| format!("  wave {} of {}, {}/{} hosts", wave.number, wave.of, wave.done, wave.total))
        .unwrap_or_default();
    let mut lines = vec![format!("{branch} {:<28} {status}{progress}", stage.name)];
    for reason in &stage.reasons {
        lines.push(format!("{bar}     {}", reason_line(reason)));
    }
    let noteworthy =
        stage.instances.iter().filter(|instance| !matches!(instance.status.as_str(), "healthy" | "waiting"));
    for instance in noteworthy {
        let code = instance.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
        let message = if instance.message.is_empty() {
            String::new()
        } else {
            format!(": {}", printable(&instance.message))
        };
        lines.push(format!("{bar}     {} {}{code}{message}", instance.name, instance.status));
    }
    lines
}

/// One sentence with what clears it.
pub(crate) fn reason_line(reason: &ReasonDocument) -> String {
    let clears = if reason.clears == "wait" { String::new() } else { format!("  ->  {}", reason.clears) };
    format!("{}: {}{clears}", reason.code, printable(&reason.message))
}

/// The first twelve digits of a digest.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
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
