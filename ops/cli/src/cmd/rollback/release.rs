//! The release that `rollback --to` means: a version, the run that deployed it, or a digest.

use trimaran_language::suggest::did_you_mean;
use trimaran_model::error_code;
use trimaran_model::run::Status;
use trimaran_wire::document::HistoryEntry;

use crate::error::CliError;

/// Digits of a digest that name a release.
const DIGEST_DIGITS_MIN: usize = 6;

/// The digest of the newest release that `to` names. What stands in no history may still be a digest that the cluster
/// knows, so digits are passed on.
pub(super) fn find(
    pipeline: &str,
    environment: &str,
    to: &str,
    entries: &[HistoryEntry],
) -> Result<String, CliError> {
    let named = || entries.iter().filter(|it| it.version == to || it.run == to);
    // The same version may have been deployed with another configuration that failed.
    if let Some(entry) = named().find(|it| it.status == Status::Succeeded.as_str()).or(named().next()) {
        return Ok(entry.release.clone());
    }
    let is_digest = to.len() >= DIGEST_DIGITS_MIN && to.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        return Ok(to.to_ascii_lowercase());
    }
    let mut versions: Vec<String> = entries.iter().map(|it| it.version.clone()).collect();
    versions.dedup();
    let all = || match versions.as_slice() {
        [] => format!("nothing of `{pipeline}` was deployed to `{environment}`"),
        versions => format!("versions that were deployed there: {}", versions.join(", ")),
    };
    let message = format!("`{pipeline}` has no release `{to}` in `{environment}`");
    Err(CliError::new(error_code::NOT_FOUND, message)
        .cause("It is neither a version, nor a run, nor a digest of its history.")
        .help(did_you_mean(to, versions.iter().cloned(), all)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(run: &str, version: &str, release: &str) -> HistoryEntry {
        HistoryEntry {
            run: run.to_owned(),
            kind: "deploy".to_owned(),
            environment: "prod".to_owned(),
            target: "lab-prod".to_owned(),
            release: release.to_owned(),
            version: version.to_owned(),
            status: "succeeded".to_owned(),
            started_at: None,
            finished_at: None,
            by: "operator/admin".to_owned(),
            cause: None,
            rolled_back_by: None,
            state: None,
        }
    }

    #[test]
    fn a_release_is_named_by_version_run_or_digest() {
        let mut failed = entry("web#14", "v12", "dd");
        failed.status = "rolled_back".to_owned();
        let entries = [
            failed,
            entry("web#13", "v12", "cc"),
            entry("web#12", "v12", "bb"),
            entry("web#11", "v11", "aa"),
        ];
        let find = |to: &str| find("web", "prod", to, &entries);
        assert_eq!(find("v12").expect("the newest good one"), "cc");
        assert_eq!(find("web#12").expect("a run"), "bb");
        assert_eq!(find("D639991d22c1").expect("digits"), "d639991d22c1");
        let error = find("v122").expect_err("there is none");
        assert_eq!(error.exit(), 5);
        assert_eq!(error.more.help.as_deref(), Some("did you mean `v12`?"));
        let error = find("latest").expect_err("there is none");
        assert_eq!(error.more.help.as_deref(), Some("versions that were deployed there: v12, v11"));
    }
}
