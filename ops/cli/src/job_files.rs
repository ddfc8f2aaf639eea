//! Files of a job on Flink on their way to the cluster: read beside the pipeline's file or from an artifact, and uploaded as
//! one content, each behind the one before it in the order of their names.
//!
//! Deliberately not here: what is in them, and how a job gets them (the agent).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use trimaran_language::{Compiled, Diagnostic, DocumentKind, FilePlace, Severity};
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::id::Digest;
use trimaran_model::limits::FLINK_FILE_BYTES_MAX;
use trimaran_model::pipeline::Pipeline;
use trimaran_model::release::{Content, FlinkFiles};
use trimaran_wire::v1::operator::ArtifactVersion;

use crate::artifact::{self, Wanted};
use crate::error::CliError;
use crate::remote::Remote;
use crate::upload::Upload;

const WANTED: Wanted = Wanted { bytes_max: FLINK_FILE_BYTES_MAX, what: "the files of a job are" };

/// Files with their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobFiles {
    pub(crate) files: FlinkFiles,
    pub(crate) upload: Upload,
}

/// What is wrong with a file.
struct Problem {
    code: ErrorCode,
    message: String,
}

/// Finds what is wrong with the files of pipelines, as far as they are on this disk: paths are relative to the pipeline's
/// file.
pub(crate) fn check(compiled: &Compiled) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for document in &compiled.documents {
        let DocumentKind::Pipeline(pipeline) = &document.kind else { continue };
        let folder = Path::new(&document.file).parent().unwrap_or(Path::new(""));
        // What is in an artifact is known with its version.
        for (name, path) in pipeline.flink_files().filter(|(_, path)| pipeline.artifact_at(path).is_none()) {
            let Err(Problem { code, message }) = read_file(name, &folder.join(path)) else { continue };
            let Some(FilePlace { span, .. }) = document.files.iter().find(|it| it.name == name) else {
                continue;
            };
            found.push(Diagnostic {
                code,
                severity: Severity::Error,
                message,
                file: document.file.clone(),
                line: span.line,
                column: span.column,
                length: span.length.max(1),
                help: help(code),
            });
        }
    }
    found
}

/// The files of a job; `None`: it has none, or an artifact among them has no version, which is the coordinator's to name.
/// Paths are relative to `file`, or to the current folder where the pipeline came from the cluster. Binds the digests of
/// artifacts.
///
/// # Errors
/// A file that can't be read or is too large.
pub(crate) fn read(
    pipeline: &Pipeline,
    file: Option<&str>,
    artifacts: &mut BTreeMap<String, ArtifactVersion>,
    remote: &Remote,
) -> Result<Option<JobFiles>, CliError> {
    let folder = file.and_then(|file| Path::new(file).parent()).unwrap_or(Path::new(""));
    let (mut whole, mut files) = (Vec::new(), BTreeMap::new());
    for (name, path) in pipeline.flink_files() {
        let bytes = match pipeline.artifact_at(path) {
            Some((artifact, source)) => {
                let Some(bound) = artifacts.get_mut(artifact.as_str()) else { return Ok(None) };
                artifact::contents(artifact.as_str(), source, bound, &WANTED, remote)?
            }
            None => read_file(name, &folder.join(path)).map_err(|Problem { code, message }| {
                let help = match file {
                    Some(_) => help(code),
                    None => "name the pipeline's file with `-f FILE`, or change to its folder".to_owned(),
                };
                CliError::new(code, message).help(help)
            })?,
        };
        let content = Content { digest: Digest(Sha256::digest(&bytes).into()), bytes: bytes.len() as u64 };
        files.insert(name.to_owned(), content);
        whole.extend_from_slice(&bytes);
    }
    if files.is_empty() {
        return Ok(None);
    }
    let upload = Upload::of(whole);
    let files = FlinkFiles::new(upload.content.digest, files)
        .map_err(|error| CliError::new(error_code::OVER_LIMIT, error.to_string()))?;
    Ok(Some(JobFiles { files, upload }))
}

fn help(code: ErrorCode) -> String {
    code.entry().map_or_else(String::new, |entry| entry.help.to_owned())
}

fn read_file(name: &str, path: &Path) -> Result<Vec<u8>, Problem> {
    let missing = |error: io::Error| Problem {
        code: error_code::FILE_MISSING,
        message: format!("the file `{name}` of the job can't be read from `{}`: {error}", path.display()),
    };
    // A pipe could be read only once, and a device has no end.
    if !fs::metadata(path).map_err(missing)?.is_file() {
        return Err(missing(io::Error::other("it is no plain file")));
    }
    let mut bytes = Vec::new();
    let reading =
        File::open(path).map_err(missing)?.take(FLINK_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    reading.map_err(missing)?;
    if bytes.len() > FLINK_FILE_BYTES_MAX {
        let limit = FLINK_FILE_BYTES_MAX >> 20;
        let message =
            format!("the file `{name}` of the job, `{}`, is larger than {limit} MiB", path.display());
        return Err(Problem { code: error_code::FILE_LARGE, message });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings of a pipeline in this folder with these files.
    fn found(folder: &Path, files: &str) -> Vec<(ErrorCode, u32, u32, String)> {
        let text = format!(
            "trimaran: v1\npipeline: clicks\nowner: team\nartifacts:\n  job: {{ path: \"/srv/{{version}}.jar\" }}\n  \
             words: {{ path: \"/srv/{{version}}.txt\" }}\nworkload:\n  flink:\n    jar: job\n    entry_class: a.B\n    \
             files: {files}\nenvironments:\n  - {{ name: prod, targets: [streams], approve: {{}} }}\n"
        );
        let name = folder.join("clicks.yaml").display().to_string();
        let compiled = trimaran_language::compile(&[trimaran_language::SourceFile {
            name: &name,
            bytes: text.as_bytes(),
        }]);
        assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
        check(&compiled).into_iter().map(|it| (it.code, it.line, it.column, it.message)).collect()
    }

    #[test]
    fn files_that_are_missing_or_too_large_are_found_at_their_place() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path();
        fs::create_dir(path.join("conf")).expect("a directory");
        fs::write(path.join("conf/rules.json"), "{}").expect("a file");
        let large = File::create(path.join("large")).expect("a file");
        large.set_len(FLINK_FILE_BYTES_MAX as u64).expect("a length");
        assert_eq!(found(path, "{ rules.json: conf/rules.json, words: words, most: large }"), []);
        large.set_len(FLINK_FILE_BYTES_MAX as u64 + 1).expect("a length");
        let places: Vec<_> = found(path, "{ a: conf/rules, b: conf, c: large, d: words }");
        let codes: Vec<_> = places.iter().map(|(code, line, column, _)| (*code, *line, *column)).collect();
        let (missing, too_large) = (error_code::FILE_MISSING, error_code::FILE_LARGE);
        assert_eq!(codes, [(missing, 11, 17), (missing, 11, 32), (too_large, 11, 41)]);
        assert!(places[1].3.ends_with("it is no plain file"), "{places:?}");
        assert!(places[2].3.ends_with("is larger than 1 MiB"), "{places:?}");
    }
}
