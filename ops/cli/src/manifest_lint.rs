//! Lint of manifests for commands: which files hold manifests, and findings with file, line and column.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use trimaran_kubernetes_core::finding::{Finding, Severity as FindingSeverity};
use trimaran_kubernetes_core::lint::{Options, lint};
use trimaran_model::id::TargetName;
use trimaran_model::pipeline::{Pipeline, Workload};
use trimaran_model::target::{Target, TargetPlatform};
use trimaran_spec::{Compiled, Diagnostic, DocumentKind, Severity, SourceFile};

use crate::error::CliError;
use crate::manifests::{self, File, Manifest};

/// What `trimaran lint` was given.
pub(crate) struct Inputs {
    /// Files of the pipeline language.
    pub(crate) language: Vec<File>,
    /// Files of manifests: one set.
    pub(crate) manifests: Vec<File>,
}

/// Reads files and folders and tells manifests from files of the pipeline language.
///
/// A document of the language starts with `trimaran:`; one of Kubernetes has `apiVersion` or `kind`. Anything
/// else is taken for what its neighbours are: the language when it was named, a manifest in a folder.
pub(crate) fn inputs(paths: &[String]) -> Result<Inputs, CliError> {
    let (mut language, mut manifests) = (Vec::new(), Vec::new());
    for file in manifests::read_files(paths)? {
        let text = String::from_utf8_lossy(&file.bytes);
        let has = |keys: &[&str]| text.lines().any(|line| keys.contains(&first_key(line)));
        let json = text.trim_start().starts_with(['{', '[']);
        let is_language = has(&["trimaran"]) || !(file.in_folder || json || has(&["apiVersion", "kind"]));
        drop(text);
        if is_language { language.push(file) } else { manifests.push(file) }
    }
    Ok(Inputs { language, manifests })
}

/// The key that a line starts with, when it is not indented.
fn first_key(line: &str) -> &str {
    let line = line.trim_start_matches('\u{feff}');
    line.split_once(':').map_or("", |(key, _)| key.trim_matches('"').trim_end())
}

/// Finds what is wrong with a set of files. Files that can't be read are findings too.
pub(crate) fn check(files: Vec<File>, options: Options<'_>) -> (Vec<Diagnostic>, Vec<Manifest>) {
    let (mut found, mut set) = (Vec::new(), Vec::new());
    for file in files {
        if let Err(problem) = manifests::open(file, &mut set) {
            found.push(*problem);
        }
    }
    let objects: Vec<Value> = set.iter_mut().map(|it| it.value.take()).collect();
    found.extend(diagnostics(&set, &lint(&objects, options)));
    for (manifest, object) in set.iter_mut().zip(objects) {
        manifest.value = object;
    }
    (found, set)
}

/// Findings with their places.
pub(crate) fn diagnostics(set: &[Manifest], findings: &[Finding]) -> Vec<Diagnostic> {
    let one = |it: &Finding| {
        let manifest = set.get(it.object)?;
        let place = manifest.place(&it.pointer);
        let catalogue = || it.code.entry().map_or_else(String::new, |entry| entry.help.to_owned());
        Some(Diagnostic {
            code: it.code,
            severity: match it.severity {
                FindingSeverity::Error => Severity::Error,
                FindingSeverity::Warning => Severity::Warning,
            },
            message: it.message.clone(),
            file: manifest.file().to_owned(),
            line: place.line,
            column: place.column,
            length: place.length,
            help: if it.help.is_empty() { catalogue() } else { it.help.clone() },
        })
    };
    findings.iter().filter_map(one).collect()
}

/// The files of a set, for messages that quote their lines.
pub(crate) fn sources(set: &[Manifest]) -> Vec<SourceFile<'_>> {
    let by_name: BTreeMap<&str, &[u8]> = set.iter().map(|it| (it.file(), it.bytes())).collect();
    by_name.into_iter().map(|(name, bytes)| SourceFile { name, bytes }).collect()
}

/// Finds what is wrong with the manifests of pipelines, as far as they are on this disk: paths are relative to
/// the pipeline's file. Objects have to be of the namespace of each target that is among the files.
pub(crate) fn check_pipelines(compiled: &Compiled) -> Result<(Vec<Diagnostic>, Vec<Manifest>), CliError> {
    let (mut found, mut sets) = (Vec::new(), Vec::new());
    for document in &compiled.documents {
        let DocumentKind::Pipeline(pipeline) = &document.kind else { continue };
        let Workload::Kubernetes(workload) = &pipeline.workload else { continue };
        let folder = Path::new(&document.file).parent().unwrap_or(Path::new(""));
        let path = folder.join(&workload.manifests);
        if !path.exists() {
            continue;
        }
        let targets = namespaces(compiled, pipeline);
        let options = Options { namespace: None, targets: &targets };
        let files = inputs(&[path.display().to_string()])?.manifests;
        let (findings, set) = check(files, options);
        found.extend(findings);
        sets.extend(set);
    }
    Ok((found, sets))
}

/// Names and namespaces of the Kubernetes targets that a pipeline uses and the files define.
fn namespaces(compiled: &Compiled, pipeline: &Pipeline) -> Vec<(String, String)> {
    let used = |name: &TargetName| pipeline.environments.iter().any(|it| it.targets.contains(name));
    let targets = compiled.documents.iter().filter_map(|document| match &document.kind {
        DocumentKind::Target(target) if used(&target.name) => Some(target),
        DocumentKind::Target(_) | DocumentKind::Pipeline(_) => None,
    });
    let namespace = |target: &Target| match &target.platform {
        TargetPlatform::Kubernetes { namespace, .. } => Some((target.name.to_string(), namespace.clone())),
        TargetPlatform::Hosts { .. } | TargetPlatform::Flink { .. } => None,
    };
    targets.filter_map(namespace).collect()
}
