//! `trimaran plan`: what a deploy would change, without changing anything.

use similar::{ChangeTag, TextDiff};
use trimaran_model::time::Millis;
use trimaran_wire::document::{PlanDocument, PlanStage, WayBack};
use trimaran_wire::v1::operator::{OperatorBody, SourceFile};

use crate::deploy_inputs::{Inputs, ParsedInputs, Request, stored_source};
use crate::error::CliError;
use crate::pipeline_files;
use crate::plan_difference;
use crate::remote::Remote;
use crate::ui::{OutputForm, Ui, View, printable, short};

/// Lines of a file's diff that are shown.
const DIFF_LINES_MAX: usize = 40;
/// Unchanged lines around a change.
const DIFF_CONTEXT: usize = 1;

/// Show what a deploy would change and where a failure would roll back to, without changing anything.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran plan -f trimaran.yaml --artifact bundle=v2\n  trimaran plan web --artifact bundle=v2 --detailed-exitcode"
)]
pub(crate) struct Args {
    #[command(flatten)]
    inputs: Inputs,
    /// Exit with 10 when the plan changes something. A plan that a platform would refuse is 6 with and without it.
    #[arg(long)]
    detailed_exitcode: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let parsed = ParsedInputs::parse(&args.inputs)?;
    let remote = Remote::new(ui)?;
    let Request { deploy: request, upload, is_comparable } = parsed.request(None, &remote)?;
    let file = request.file.clone();
    let answer = remote.read::<PlanDocument>(OperatorBody::Plan(request.clone()));
    let mut answer = answer.map_err(|error| error.shown_in(&pipeline_files::inputs(file.as_slice())))?;
    let ask = || plan_difference::ask(&remote, upload.as_ref(), request);
    let differences = if is_comparable { ask() } else { plan_difference::Differences::new() };
    plan_difference::add_to(&mut answer.json, &differences);
    let plan = &answer.document;
    let changes = plan.stages.iter().any(|stage| stage.change != "none");
    let diff = match (&file, ui.form()) {
        (Some(file), OutputForm::Table) => file_diff(plan, file, &remote),
        _ => Vec::new(),
    };
    let view = ui.view();
    answer.print(ui, |plan| {
        let mut lines = lines(plan, &diff, &view);
        let last = lines.len() - 1;
        lines.splice(last..last, plan_difference::lines(&differences, &view));
        ui.print(&lines.join("\n"));
    });
    if let Some(refused) = plan_difference::refusal(&differences) {
        return Err(refused);
    }
    Ok(if changes && args.detailed_exitcode { 10 } else { 0 })
}

fn lines(plan: &PlanDocument, diff: &[String], view: &View) -> Vec<String> {
    let versions: Vec<_> =
        plan.artifacts.iter().map(|artifact| format!("{} {}", artifact.name, artifact.version)).collect();
    let mut lines =
        vec![format!("{}  {}  plan {}", plan.pipeline, versions.join(", "), short(&plan.plan_digest))];
    lines.extend(plan.stages.iter().flat_map(|stage| stage_lines(stage, view)));
    for gate in &plan.gates {
        let (options, timeout) = (gate.options.join(" | "), Millis(gate.timeout_ms));
        let gate = format!("gate {}: {} ({options}), expires after {timeout}", gate.stage, gate.kind);
        lines.extend(view.wrap("  ", "    ", &gate));
    }
    lines.extend(plan.way_back.iter().flat_map(|it| view.wrap("  ", "    ", &rollback_line(it))));
    if !diff.is_empty() {
        let heading = "the pipeline file, compared with the one that was deployed or applied last:";
        lines.extend(view.wrap("  ", "    ", heading));
        lines.extend(diff.iter().map(|line| {
            let status = if line.starts_with('+') { "succeeded" } else { "failed" };
            let marked = line.starts_with(['+', '-']);
            format!("    {}", if marked { view.paint(status, line) } else { line.clone() })
        }));
    }
    for warning in &plan.warnings {
        lines.extend(view.wrap("  ", "    ", &format!("warning: {warning}")));
    }
    lines.push("Nothing was changed.".to_owned());
    lines
}

fn stage_lines(stage: &PlanStage, view: &View) -> Vec<String> {
    let to = &stage.to.version;
    let what = match &stage.from {
        None => format!("create: {to}"),
        Some(_) if stage.change == "none" => format!("none: {to} runs already"),
        Some(from) if from.version == *to => {
            format!("{}: {} -> {to} (same version, other configuration)", stage.change, from.version)
        }
        Some(from) => format!("{}: {} -> {to}", stage.change, from.version),
    };
    let sizes: Vec<_> = stage.waves.iter().map(|wave| wave.target_count.to_string()).collect();
    let mut lines = view.fit("  ", "    ", &format!("{:<28} {what}", stage.name));
    if let Some(last) = stage.waves.last() {
        let (of, down) = (last.of, last.max_unavailable);
        let sizes = format!("{} (of {of}), at most {down} down at a time", waves(&sizes));
        lines.extend(view.wrap("    ", "      ", &sizes));
    }
    lines
}

/// `waves of 1, 2 and 4 hosts`.
fn waves(sizes: &[String]) -> String {
    match sizes {
        [one] => format!("one wave of {one} hosts"),
        [first @ .., last] => format!("waves of {} and {last} hosts", first.join(", ")),
        [] => "no waves".to_owned(),
    }
}

fn rollback_line(it: &WayBack) -> String {
    match (&it.to, it.kind.as_str()) {
        (_, "point_of_no_return") => {
            format!("rollback of {}: not possible; a failure pauses the stage", it.stage)
        }
        (Some(to), _) => format!("rollback of {}: to {}", it.stage, to.version),
        (None, _) => format!("rollback of {}: none; a failed release is stopped", it.stage),
    }
}

/// Changed lines of the pipeline file, beside the one that the cluster knows; none when it knows none.
fn file_diff(plan: &PlanDocument, file: &SourceFile, remote: &Remote) -> Vec<String> {
    let Ok(stored) = stored_source(&plan.pipeline, remote) else { return Vec::new() };
    diff(&stored.text, &String::from_utf8_lossy(&file.text))
}

fn diff(old: &str, new: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(DIFF_CONTEXT).iter().enumerate() {
        if index > 0 {
            lines.push("...".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push(format!("{sign} {}", printable(change.value().trim_end())));
        }
    }
    if lines.len() > DIFF_LINES_MAX {
        let left = lines.len() - DIFF_LINES_MAX;
        lines.truncate(DIFF_LINES_MAX);
        lines.push(format!("({left} more lines)"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use trimaran_wire::document::{PlanGate, PlanRelease, PlanWave};

    use super::*;
    use crate::samples;

    #[test]
    fn a_plan_fits_any_terminal() {
        let release = |version: &str| PlanRelease { release: "ef".repeat(32), version: version.to_owned() };
        let wave = |number, target_count| PlanWave { number, target_count, of: 4, max_unavailable: 1 };
        let stage = |name: &str, from: Option<&str>| PlanStage {
            name: name.to_owned(),
            change: if from.is_some() { "update" } else { "create" }.to_owned(),
            from: from.map(release),
            to: release("v10"),
            waves: vec![wave(1, 1), wave(2, 2), wave(3, 4)],
        };
        let way_back = |stage: &str, kind: &str, to: Option<&str>| WayBack {
            stage: stage.to_owned(),
            kind: kind.to_owned(),
            to: to.map(release),
        };
        let plan = PlanDocument {
            pipeline: "web".to_owned(),
            plan_digest: "ab".repeat(32),
            artifacts: samples::run("running").artifacts,
            stages: vec![stage("staging/lab-staging", None), stage("prod/lab-prod", Some("v10"))],
            gates: vec![PlanGate {
                stage: "prod/approve".to_owned(),
                kind: "approval".to_owned(),
                options: vec!["promote".to_owned(), "roll_back".to_owned()],
                timeout_ms: 3_600_000,
            }],
            way_back: vec![
                way_back("staging/lab-staging", "compensated", None),
                way_back("prod/lab-prod", "reversible", Some("v9")),
                way_back("prod/streams", "point_of_no_return", None),
            ],
            warnings: vec!["prod has no approval, and no policy asks for one".to_owned()],
        };
        let diff = diff("interval: 1s\n", "interval: 2s\n");
        insta::assert_snapshot!(samples::at_widths(|view| lines(&plan, &diff, view).join("\n")));
    }

    #[test]
    fn a_changed_file_shows_its_changed_lines_alone() {
        let old = "a: 1\nb: 2\nc: 3\nd: 4\ne: 5\n";
        assert_eq!(diff(old, &old.replace("c: 3", "c: 33")), ["  b: 2", "- c: 3", "+ c: 33", "  d: 4"]);
        assert!(diff(old, old).is_empty());
        let long: String = (0..100).map(|n| format!("{n}\n")).collect();
        assert_eq!(diff("", &long).last().map(String::as_str), Some("(60 more lines)"));
    }

    #[test]
    fn waves_read_as_a_sentence() {
        let waves = |sizes: &[&str]| waves(&sizes.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>());
        assert_eq!(waves(&["4"]), "one wave of 4 hosts");
        assert_eq!(waves(&["1", "2", "4"]), "waves of 1, 2 and 4 hosts");
    }
}
