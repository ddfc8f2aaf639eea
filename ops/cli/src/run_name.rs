//! Names of runs as users write them: `web#12`, `web#12/prod/lab-prod`, or `web` for the newest run of a pipeline.

use trimaran_model::error_code;
use trimaran_wire::document::RunList;
use trimaran_wire::v1::operator::OperatorBody;

use crate::arguments::split_stage;
use crate::error::CliError;
use crate::pipelines::with_nearest;
use crate::remote::Remote;

/// A run and, where one was named, its stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunName {
    pub(crate) run: String,
    pub(crate) stage: Option<String>,
}

/// Reads `RUN[/STAGE]`; a pipeline means its newest run.
pub(crate) fn resolve(remote: &Remote, text: &str) -> Result<RunName, CliError> {
    let (run, stage) = split_stage(text);
    if run.contains('#') {
        return Ok(RunName { run, stage });
    }
    let body = OperatorBody::RunList { pipeline: Some(run.clone()), limit: 1 };
    let newest = remote.read::<RunList>(body).map_err(|error| with_nearest(error, &run, remote))?;
    let newest = newest.document.runs.into_iter().next();
    match newest {
        Some(newest) => Ok(RunName { run: newest.run, stage }),
        None => Err(CliError::new(error_code::NOT_FOUND, format!("pipeline `{run}` has no run"))
            .cause("A run is written PIPELINE#N, such as web#22; a pipeline alone means its newest run.")
            .help("`trimaran run list` shows the runs")),
    }
}

/// The error of a run that does not exist, with the newest one of its pipeline.
pub(crate) fn with_newest(error: CliError, run: &str, remote: &Remote) -> CliError {
    let Some((pipeline, _)) = run.split_once('#').filter(|_| error.code == error_code::NOT_FOUND) else {
        return error;
    };
    match resolve(remote, pipeline) {
        Ok(newest) => error.help(format!(
            "the newest run of `{pipeline}` is {}; `trimaran run list {pipeline}` shows all",
            newest.run
        )),
        Err(_) => error.help("`trimaran run list` shows the runs"),
    }
}

/// The error for a stage that a run does not have.
pub(crate) fn no_stage(run: &str, stage: &str, known: &[String]) -> CliError {
    let message = format!("`{run}` has no stage `{stage}`");
    let all = || format!("its stages are: {}", known.join(", "));
    let help = trimaran_language::suggest::did_you_mean(stage, known.iter().cloned(), all);
    CliError::new(error_code::NOT_FOUND, message).help(help)
}
