//! The bakes of a run: for how long a failure still rolls back what it deployed, and whether one did.

use trimaran_wire::document::{InstallationDocument, RunDocument, RunList, RunSummary, StatusDocument};
use trimaran_wire::v1::operator::OperatorBody;

use crate::error::CliError;
use crate::remote::Remote;
use crate::ui::{Ui, printable};

/// The newest runs of a pipeline among which the rollback of a run is looked for.
const RUNS_SEARCHED_MAX: u32 = 50;

/// How the releases of a run that succeeded fare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bake {
    /// A failure still rolls back what runs in these places: `(ENV/TARGET, until when)`.
    Baking { places: Vec<(String, String)> },
    /// Nothing of it bakes any more.
    Passed,
    /// A later run took it back, for this cause.
    RolledBack { by: String, cause: String },
}

/// The bake of a run that is done.
pub(crate) async fn of_run(remote: &Remote, run: &RunDocument) -> Result<Bake, CliError> {
    let pipeline = Some(run.pipeline.clone());
    let runs = OperatorBody::RunList { pipeline: pipeline.clone(), limit: RUNS_SEARCHED_MAX };
    let runs = remote.ask::<RunList>(runs).await?.document.runs;
    let status = remote.ask::<StatusDocument>(OperatorBody::Status { pipeline }).await?.document;
    Ok(judge(&run.run, &runs, &status.installations))
}

fn judge(run: &str, runs: &[RunSummary], installations: &[InstallationDocument]) -> Bake {
    if let Some(by) = runs.iter().find(|it| it.caused_by.as_deref() == Some(run)) {
        let cause = by.rollback.as_ref().map(|it| it.cause.clone()).unwrap_or_default();
        return Bake::RolledBack { by: by.run.clone(), cause };
    }
    let of_run = installations.iter().filter(|it| it.run.as_deref() == Some(run));
    let places: Vec<_> = of_run
        .filter_map(|it| Some((format!("{}/{}", it.environment, it.target), it.bakes_until.clone()?)))
        .collect();
    if places.is_empty() { Bake::Passed } else { Bake::Baking { places } }
}

/// One line of people's text for what is not over yet or did not end well; nothing when there is nothing to say.
pub(crate) fn lines(bake: &Bake, ui: &Ui) -> Vec<String> {
    match bake {
        Bake::Passed => Vec::new(),
        Bake::Baking { places } => places
            .iter()
            .map(|(place, until)| {
                let remaining = ui.view().remaining(until);
                format!("{place} bakes {remaining}; a failure before that rolls it back")
            })
            .collect(),
        Bake::RolledBack { by, cause } => {
            let cause = if cause.is_empty() { String::new() } else { format!(": {}", printable(cause)) };
            vec![format!("rolled back later by {by}{cause}")]
        }
    }
}

/// Says on stderr what a run's own tree does not show. A remark is not worth an error.
pub(crate) fn note(remote: &Remote, ui: &Ui, run: &RunDocument) {
    if let Ok(bake) = remote.block_on(of_run(remote, run)) {
        lines(&bake, ui).iter().for_each(|line| ui.note(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_run_that_was_taken_back_did_not_pass_its_bake() {
        let mut installation = samples::installation("prod", "lab-prod");
        installation.run = Some("web#18".to_owned());
        assert_eq!(judge("web#18", &[], &[installation.clone()]), Bake::Passed);
        installation.bakes_until = Some("2026-01-01T00:10:00.000Z".to_owned());
        let places = vec![("prod/lab-prod".to_owned(), "2026-01-01T00:10:00.000Z".to_owned())];
        assert_eq!(judge("web#18", &[], &[installation.clone()]), Bake::Baking { places });
        assert_eq!(judge("web#17", &[], &[installation.clone()]), Bake::Passed, "another run's bake");
        let rollback = samples::rollback_of("web#18", "web#19", "host-3: probe_failed");
        let by = Bake::RolledBack { by: "web#19".to_owned(), cause: "host-3: probe_failed".to_owned() };
        assert_eq!(judge("web#18", &[rollback], &[installation]), by);
    }
}
