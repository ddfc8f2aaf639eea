//! Lint of manifests for commands: which files hold manifests, and findings with file, line and column.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use trimaran_kubernetes_core::finding::{Finding, Severity as FindingSeverity};
use trimaran_kubernetes_core::lint::{Options, lint};
use trimaran_language::{Compiled, Diagnostic, DocumentKind, Severity, SourceFile};
use trimaran_model::id::TargetName;
use trimaran_model::pipeline::{Pipeline, Workload};
use trimaran_model::target::{Target, TargetPlatform};

use crate::error::CliError;
use crate::manifests::{self, File, Manifest};

/// The arguments of `trimaran lint`, read.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// Files of the pipeline language.
    pub(crate) language: Vec<File>,
    /// Files of manifests: one set.
    pub(crate) manifests: Vec<File>,
    /// What can't be read.
    pub(crate) unreadable: Vec<CliError>,
}

/// Reads files and folders and separates manifests from files of the pipeline language.
pub(crate) fn inputs(paths: &[String]) -> Inputs {
    let found = manifests::read_files(paths, &is_language);
    let mut inputs = Inputs { unreadable: found.unreadable, ..Inputs::default() };
    for file in found.files {
        let kind = if is_language(&file.bytes, file.in_folder) {
            &mut inputs.language
        } else {
            &mut inputs.manifests
        };
        kind.push(file);
    }
    inputs
}

/// A document of the language starts with `trimaran:`; one of Kubernetes has `apiVersion` or `kind`. Anything
/// else counts as what its neighbours are: the language when it was named, a manifest in a folder.
pub(crate) fn is_language(bytes: &[u8], in_folder: bool) -> bool {
    let (mut language, mut manifest) = (false, false);
    for line in bytes.split(|byte| *byte == b'\n') {
        match first_key(line) {
            b"trimaran" => language = true,
            b"apiVersion" | b"kind" => manifest = true,
            _ => {}
        }
    }
    let json = bytes.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['));
    language || !(in_folder || json || manifest)
}

/// The key that a line starts with, when it is not indented.
fn first_key(line: &[u8]) -> &[u8] {
    const LONGEST: usize = "\u{feff}\"apiVersion\" ".len();
    let line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
    let Some(colon) = line.iter().take(2 * LONGEST).position(|byte| *byte == b':') else { return b"" };
    let key = line[..colon].trim_ascii_end();
    key.strip_prefix(b"\"").and_then(|key| key.strip_suffix(b"\"")).unwrap_or(key)
}

/// What can't be read as findings, for a command that reports more.
pub(crate) fn unreadable(errors: &[CliError]) -> Vec<Diagnostic> {
    errors.iter().map(CliError::finding).collect()
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
    found.extend(manifests::reader_warnings(&set));
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
pub(crate) fn check_pipelines(compiled: &Compiled) -> (Vec<Diagnostic>, Vec<Manifest>) {
    let (mut found, mut sets) = (Vec::new(), Vec::new());
    for document in &compiled.documents {
        let DocumentKind::Pipeline(pipeline) = &document.kind else { continue };
        let Workload::Kubernetes(workload) = &pipeline.workload else { continue };
        // What is in an artifact is known with its version.
        if pipeline.manifests_artifact().is_some() {
            continue;
        }
        let folder = Path::new(&document.file).parent().unwrap_or(Path::new(""));
        let path = folder.join(&workload.manifests);
        if !path.exists() {
            continue;
        }
        let targets = namespaces(compiled, pipeline);
        let options = Options { namespace: None, targets: &targets };
        let inputs = inputs(&[path.display().to_string()]);
        let (findings, set) = check(inputs.manifests, options);
        found.extend(unreadable(&inputs.unreadable));
        found.extend(findings);
        sets.extend(set);
    }
    (found, sets)
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
