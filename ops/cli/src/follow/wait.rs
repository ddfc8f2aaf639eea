//! `--wait`, `--detach` and `--timeout`: until when a command follows the run that it started.

use std::time::Duration;

use trimaran_model::run::Status;
use trimaran_wire::document::{RunDocument, StageDocument};

use crate::arguments::parse_duration;
use crate::ui::Ui;

/// Until when to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wait {
    /// Until the run is done, or only a human can move it (exit code 8).
    #[value(skip)]
    Unblocked,
    /// Until the run is done.
    Finished,
    /// Until an approval waits (exit code 8), or the run is done.
    Approval,
    /// Until the run is done and its bakes are over.
    Baked,
}

/// `--wait` and `--timeout`.
#[derive(Debug, Clone, clap::Args)]
#[expect(clippy::option_option, reason = "a flag that may have a value has three forms")]
pub(crate) struct WaitArgs {
    /// Wait until the run is done, or is paused and needs a human (exit code 8).
    ///
    /// `--wait=finished` waits through pauses too, `--wait=approval` ends with 8 at the first approval,
    /// `--wait=baked` waits until the bakes are over and ends with 12 when one of them failed.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, hide_possible_values = true,
          value_name = "finished|approval|baked")]
    pub(crate) wait: Option<Option<Wait>>,
    /// Do not wait; print the new run and end.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) detach: bool,
    /// Stop waiting after this time with exit code 7; the run continues.
    #[arg(long, value_parser = parse_duration, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
}

impl WaitArgs {
    /// What to wait for: as asked; else the end on a terminal, and nothing in a pipe.
    pub(crate) fn resolve(&self, ui: &Ui) -> Option<Wait> {
        match self.wait {
            Some(asked) => Some(asked.unwrap_or(Wait::Unblocked)),
            None => (!self.detach && ui.is_interactive()).then_some(Wait::Finished),
        }
    }
}

/// Whether an approval of the run waits.
pub(super) fn waits_for_approval(run: &RunDocument) -> bool {
    run.stages.iter().any(|stage| waits_for(stage, |code| code == "approval"))
}

/// Whether a stage of the run is paused until a human resumes it, and nothing else of the run moves.
pub(super) fn is_paused_for_a_human(run: &RunDocument) -> bool {
    let moves = |stage: &StageDocument| match Status::from_name(&stage.status) {
        Some(Status::Running | Status::RollingBack | Status::Lost | Status::Queued | Status::Blocked) => true,
        Some(_) | None => false,
    };
    run.stages.iter().any(|stage| waits_for(stage, |code| code.starts_with("paused_")))
        && !run.stages.iter().any(moves)
}

fn waits_for(stage: &StageDocument, wanted: impl Fn(&str) -> bool) -> bool {
    stage.status == Status::Waiting.as_str() && stage.reasons.iter().any(|reason| wanted(&reason.code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_run_needs_a_human_when_a_stage_is_paused_and_nothing_else_moves() {
        let mut run = samples::run("waiting");
        assert!(!is_paused_for_a_human(&run) && !waits_for_approval(&run));
        run.stages[1].status = "waiting".to_owned();
        run.stages[1].reasons = vec![samples::reason("paused_fault", "host-3: preflight_port: busy")];
        assert!(is_paused_for_a_human(&run) && !waits_for_approval(&run));
        run.stages[0].status = "running".to_owned();
        assert!(!is_paused_for_a_human(&run), "staging still moves");
        run.stages[0].status = "succeeded".to_owned();
        run.stages[1].reasons = vec![samples::reason("approval", "`prod` waits for one of: promote")];
        assert!(waits_for_approval(&run) && !is_paused_for_a_human(&run));
    }
}
