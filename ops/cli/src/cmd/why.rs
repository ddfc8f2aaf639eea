//! `trimaran why RUN[/STAGE]`: why something does not move, failed or was rolled back, and what to do.
//!
//! The text is made of several documents: the run with its live progress, how its bakes fared, and the last lines of
//! an instance that failed. Programs get the server's document alone.

mod output;
mod text;

use clap_complete::engine::ArgValueCandidates;
use trimaran_wire::document::{RunDocument, Why};
use trimaran_wire::v1::operator::OperatorBody;

use crate::bake::{self, Bake};
use crate::error::CliError;
use crate::known_names::runs;
use crate::remote::Remote;
use crate::run_name::{RunName, no_stage, resolve, with_newest};
use crate::ui::{OutputForm, Ui};

/// Say why a run or stage does not move, failed or was rolled back, and what to do.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  trimaran why web\n  trimaran why web#12\n  trimaran why web#12/prod/lab-prod -o json\n  trimaran why web --stale"
)]
pub(crate) struct Args {
    /// PIPELINE#N, PIPELINE for its newest run, or PIPELINE#N/ENV/TARGET for one stage
    #[arg(value_name = "RUN[/STAGE]", add = ArgValueCandidates::new(runs))]
    run: String,
    /// Answer from what one coordinator has, also without a quorum; `as_of` says how old it is.
    #[arg(long)]
    stale: bool,
}

pub(crate) fn run(args: &Args, ui: &Ui) -> Result<u8, CliError> {
    let remote = Remote::new(ui)?.stale(args.stale);
    let RunName { run, stage } = resolve(&remote, &args.run)?;
    if ui.form() != OutputForm::Table {
        remote.read::<Why>(OperatorBody::Why { run, stage })?.print(ui, |_| {});
        return Ok(0);
    }
    let shown = remote.read::<RunDocument>(OperatorBody::RunShow { run: run.clone() });
    let shown = shown.map_err(|error| with_newest(error, &run, &remote))?;
    shown.note_as_of(ui);
    let mut document = shown.document;
    // What is known beside the run: hosts that are away, and what its hosts are now.
    let more = remote.read::<Why>(OperatorBody::Why { run: document.run.clone(), stage: None });
    for known in more.map(|it| it.document.stages).unwrap_or_default() {
        if let Some(shown) = document.stages.iter_mut().find(|it| it.name == known.name) {
            shown.reasons = known.reasons;
        }
    }
    if let Some(wanted) = &stage {
        let known: Vec<String> = document.stages.iter().map(|it| it.name.clone()).collect();
        document.stages.retain(|it| it.name == *wanted);
        if document.stages.is_empty() {
            return Err(no_stage(&document.run, wanted, &known));
        }
    }
    // The bake and the output make the answer better; without them it is still the answer.
    let bake = remote.block_on(bake::of_run(&remote, &document)).unwrap_or(Bake::Passed);
    let output = output::of_failed_instance(&remote, &document);
    let mut lines = text::lines(&document, output.as_ref(), &ui.view());
    lines.extend(bake::lines(&bake, ui));
    ui.print(&lines.join("\n"));
    Ok(0)
}
