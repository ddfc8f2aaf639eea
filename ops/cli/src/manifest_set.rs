//! The manifests of a Kubernetes workload on their way to the cluster: read beside the pipeline's file or from an artifact
//! (`manifest_archive`), checked, rendered, and uploaded by their digest.
//!
//! The set is the same for all targets of a pipeline: it has no namespace, and the images of its files. What a deploy puts
//! in their place stands in the release, so that a new image does not upload the set again.
//!
//! Deliberately not here: how the set is applied (the agent).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use trimaran_kubernetes_core::config::{self, References};
use trimaran_kubernetes_core::finding::{Finding, Severity as FindingSeverity};
use trimaran_kubernetes_core::lint::Options;
use trimaran_language::Severity;
use trimaran_model::error_code;
use trimaran_model::limits::CONTENT_BYTES_MAX;
use trimaran_model::pipeline::{KubernetesWorkload, Pipeline, Workload};
use trimaran_sealing::{SealingKey, is_plain, seal};

use crate::error::CliError;
use crate::lint_report::lint_error;
use crate::manifest_lint;
use crate::manifests::{File, Manifest};
use crate::upload::Upload;

/// What values of Secrets are sealed with, by target.
pub(crate) type SealingKeys = BTreeMap<String, SealingKey>;

/// Checks and renders manifests. `keys` is asked when a Secret has values, which are sealed for all targets.
///
/// # Errors
/// Files that are wrong, and a set that is too large.
pub(crate) fn rendered(
    files: Vec<File>,
    keys: &dyn Fn() -> Result<SealingKeys, CliError>,
) -> Result<Upload, CliError> {
    let (findings, set) = manifest_lint::check(files, Options { namespace: None, targets: &[] });
    if findings.iter().any(|it| it.severity == Severity::Error) {
        return Err(lint_error(&manifest_lint::sources(&set), &findings));
    }
    render(set, keys)
}

fn render(
    mut set: Vec<Manifest>,
    keys: &dyn Fn() -> Result<SealingKeys, CliError>,
) -> Result<Upload, CliError> {
    let mut objects: Vec<Value> = set.iter_mut().map(|it| it.value.take()).collect();
    if let Some((manifest, _)) = set.iter().zip(&objects).find(|(_, object)| is_plain(object)) {
        let keys = keys().map_err(|error| not_sealed(manifest, error))?;
        objects.iter_mut().for_each(|object| seal(object, &keys));
    }
    let options = config::Options { namespace: None, references: References::builtin() };
    let rendered = config::render(objects, options);
    let refused: Vec<Finding> =
        rendered.findings.into_iter().filter(|it| it.severity == FindingSeverity::Error).collect();
    if !refused.is_empty() {
        let findings = manifest_lint::diagnostics(&set, &refused);
        return Err(lint_error(&manifest_lint::sources(&set), &findings));
    }
    let bytes = serde_json::to_vec(&rendered.objects).expect("objects are plain data");
    let length = bytes.len() as u64;
    if length > CONTENT_BYTES_MAX {
        let message = format!("the manifests have {length} bytes, more than {CONTENT_BYTES_MAX}");
        return Err(CliError::new(error_code::USAGE, message)
            .help("split the pipeline, or keep large data in an image or a volume"));
    }
    Ok(Upload::of(bytes))
}

/// The manifests on this machine of a pipeline; `None`: it has none. Paths are relative to `file`, or to the current folder
/// where the pipeline came from the cluster.
///
/// # Errors
/// Files that can't be read.
pub(crate) fn files_beside(pipeline: &Pipeline, file: Option<&str>) -> Result<Option<Vec<File>>, CliError> {
    let Workload::Kubernetes(workload) = &pipeline.workload else { return Ok(None) };
    let folder = file.and_then(|file| Path::new(file).parent()).unwrap_or(Path::new(""));
    let path = folder.join(&workload.manifests);
    if !path.exists() {
        return Err(missing(workload, &path, file.is_some()));
    }
    let inputs = manifest_lint::inputs(&[path.display().to_string()]);
    match inputs.unreadable.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(Some(inputs.manifests)),
    }
}

fn missing(workload: &KubernetesWorkload, path: &Path, beside_file: bool) -> CliError {
    let message = format!("there are no manifests at `{}`", path.display());
    let error = CliError::new(error_code::UNREADABLE, message)
        .cause(format!("the pipeline says `manifests: {}`", workload.manifests));
    if beside_file {
        return error.help("correct `manifests`: it is relative to the pipeline's file");
    }
    error.help("name the pipeline's file with `-f FILE`, or change to its folder")
}

/// A Secret whose values can't be sealed does not leave this machine.
fn not_sealed(manifest: &Manifest, error: CliError) -> CliError {
    let place = manifest.place("/kind");
    let message = format!("the values of a Secret can't be sealed: {}", error.message);
    let help = if error.code == error_code::AGENT_AWAY {
        "start the agents of all targets of the pipeline: each gives the key that its values are sealed with"
            .to_owned()
    } else if error.code == error_code::QUESTION_UNANSWERED {
        // The agent is there, and says what keeps it from its target.
        "do what the message says: the agent keeps the key of a target in the target's own cluster, and can't read it there"
            .to_owned()
    } else {
        error.help_text()
    };
    CliError::new(error_code::SECRET_PLAIN, message).help(help).at(
        manifest.file().to_owned(),
        place.line as usize,
        place.column as usize,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a Secret when the key of its target comes to this.
    fn sealing(why: CliError) -> CliError {
        let text = "apiVersion: v1\nkind: Secret\nmetadata: { name: db }\nstringData: { password: x }\n";
        let file = File { name: "db.yaml".to_owned(), bytes: text.as_bytes().into(), in_folder: false };
        let why = std::cell::RefCell::new(Some(why));
        let keys = || Err(why.borrow_mut().take().expect("it is asked once"));
        rendered(vec![file], &keys).expect_err("the Secret is not sealed")
    }

    fn help(error: &CliError) -> &str {
        error.more.help.as_deref().expect("there is something to do")
    }

    #[test]
    fn who_can_not_seal_reads_what_to_do_about_it() {
        let kubeconfig = "target tokyo, field `kubernetes.kubeconfig`: the kubeconfig `/k` can't be used";
        let unanswered = sealing(CliError::new(error_code::QUESTION_UNANSWERED, kubeconfig));
        assert_eq!(unanswered.code, error_code::SECRET_PLAIN);
        assert!(unanswered.message.contains(kubeconfig), "{}", unanswered.message);
        assert!(help(&unanswered).contains("what the message says"), "{}", help(&unanswered));
        assert!(!help(&unanswered).contains("start the agents"), "the agent runs: {}", help(&unanswered));
        let away = sealing(CliError::new(error_code::AGENT_AWAY, "agent `tokyo` is not connected"));
        assert!(help(&away).contains("start the agents"), "{}", help(&away));
        let other = CliError::new(error_code::TARGET_UNKNOWN, "there is no target `osaka`").help("apply it");
        assert_eq!(help(&sealing(other)), "apply it");
    }
}
