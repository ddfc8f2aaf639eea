//! Names of pipelines that the cluster knows, for the help of an error that names another one.

use trimaran_language::suggest::nearest;
use trimaran_model::error_code;
use trimaran_wire::document::{RunList, RunSummary};
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;

/// Newest runs whose pipelines are compared.
const RUNS_COMPARED_MAX: u32 = 500;

/// The error of an unknown pipeline with the nearest known one, or with all of them when they are few.
pub(crate) fn with_nearest(error: CliError, name: &str, remote: &Remote) -> CliError {
    if error.code != error_code::PIPELINE_UNKNOWN || name.contains(['.', '/']) {
        return error;
    }
    let body = OperatorBody::RunList { pipeline: None, limit: RUNS_COMPARED_MAX };
    let runs = remote.read::<RunList>(body).map(|answer| answer.document.runs).unwrap_or_default();
    match help(name, &runs) {
        Some(help) => error.help(help),
        None => error,
    }
}

fn help(name: &str, runs: &[RunSummary]) -> Option<String> {
    let mut known: Vec<String> = runs.iter().map(|run| run.pipeline.clone()).collect();
    known.sort();
    known.dedup();
    match nearest(name, known.iter().cloned()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known pipelines: {}; or name its file with `-f FILE`", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn the_nearest_pipeline_is_named_or_all_of_them() {
        let runs = [samples::rollback_of("web#1", "web#2", "")];
        assert_eq!(help("wbe", &runs), None.or(Some("did you mean `web`?".to_owned())));
        assert_eq!(
            help("checkout", &runs).as_deref(),
            Some("known pipelines: web; or name its file with `-f FILE`")
        );
        assert_eq!(help("checkout", &[]), None);
    }
}
