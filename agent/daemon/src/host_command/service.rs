//! Which installation of this host a service named on the command line is.

use trimaran_model::error_code;
use trimaran_model::id::InstallationId;

use super::problem::Problem;

/// The one of `known` that a user means by `service`.
pub(super) fn choose(known: Vec<InstallationId>, service: &str) -> Result<Option<InstallationId>, Problem> {
    let (name, target) = match service.split_once('@') {
        Some((name, target)) => (name, Some(target)),
        None => (service, None),
    };
    let matches = |id: &InstallationId| {
        id.pipeline.as_str() == name && target.is_none_or(|target| id.target.as_str() == target)
    };
    let mut found: Vec<_> = known.into_iter().filter(matches).collect();
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|id| format!("{}@{}", id.pipeline, id.target)).collect();
        let message = format!("`{service}` names {} installations of this host", found.len());
        return Err(Problem::new(error_code::USAGE, message)
            .cause("Several targets of the cluster are on this host.")
            .help(format!("name one of {}", names.join(", "))));
    }
    Ok(found.pop())
}

/// The installation that a document is about.
pub(super) fn id_of(document: &serde_json::Value) -> Option<InstallationId> {
    let name = |key: &str| document[key].as_str();
    Some(InstallationId { pipeline: name("pipeline")?.parse().ok()?, target: name("target")?.parse().ok()? })
}

/// No installation has the name that a user gave.
pub(super) fn unknown(service: &str) -> Problem {
    Problem::new(error_code::NOT_FOUND, format!("there is no service `{service}` here"))
        .cause("Nothing of this name was deployed to this data directory.")
        .help("`trimaran-agent host status --data-dir DIR` shows what is here")
}

/// Nothing of an installation should run, so there is nothing to restart.
pub(super) fn nothing_runs(id: &InstallationId) -> Problem {
    Problem::new(error_code::NOTHING_RUNS, format!("nothing of {id} runs here"))
}
