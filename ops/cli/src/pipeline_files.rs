//! Pipeline files as commands take them: read within bounds and checked before anything is sent.

use std::path::Path;

use trimaran_model::error_code;
use trimaran_model::limits::SPEC_FILE_BYTES_MAX;
use trimaran_model::pipeline::Pipeline;
use trimaran_wire::v1::operator::SourceFile;

use crate::error::CliError;
use crate::input::{Input, STDIN, unreadable};
use crate::job_files;

/// Reads a file of at most 1 MiB; `-` is stdin. Of a larger one so much is kept that it is found to be too large.
pub(crate) fn read(name: &str) -> Result<SourceFile, CliError> {
    let read = |mut input: Input| input.read_to(SPEC_FILE_BYTES_MAX).map(<[u8]>::to_vec);
    let text = Input::open(Path::new(name)).and_then(read).map_err(|error| unreadable(name, &error))?;
    let name = if name == STDIN { "<stdin>" } else { name };
    Ok(SourceFile { name: name.to_owned(), text })
}

/// Refuses files with errors, showing every one.
pub(crate) fn check(files: &[SourceFile]) -> Result<(), CliError> {
    compiled(files).map(|_| ())
}

/// Refuses pipelines whose jobs name files that are not there or are too large, showing every one.
pub(crate) fn check_job_files(files: &[SourceFile]) -> Result<(), CliError> {
    let found = job_files::check(&compiled(files)?);
    if found.is_empty() { Ok(()) } else { Err(crate::lint_report::lint_error(&inputs(files), &found)) }
}

/// The one pipeline of these files.
pub(crate) fn pipeline(files: &[SourceFile]) -> Result<Pipeline, CliError> {
    let mut pipelines: Vec<Pipeline> = compiled(files)?
        .documents
        .into_iter()
        .filter_map(|document| match document.kind {
            trimaran_language::DocumentKind::Pipeline(pipeline) => Some(pipeline),
            _ => None,
        })
        .collect();
    match (pipelines.pop(), pipelines.is_empty()) {
        (Some(pipeline), true) => Ok(pipeline),
        (found, _) => {
            let names: Vec<_> = files.iter().map(|file| file.name.clone()).collect();
            let what = if found.is_some() { "more than one pipeline" } else { "no pipeline" };
            Err(CliError::new(error_code::USAGE, format!("{} has {what}", names.join(", ")))
                .help("name a file with exactly one document that starts with `pipeline:`"))
        }
    }
}

/// Files in the form that the language reads.
pub(crate) fn inputs(files: &[SourceFile]) -> Vec<trimaran_language::SourceFile<'_>> {
    files.iter().map(|file| trimaran_language::SourceFile { name: &file.name, bytes: &file.text }).collect()
}

fn compiled(files: &[SourceFile]) -> Result<trimaran_language::Compiled, CliError> {
    let inputs = inputs(files);
    let compiled = trimaran_language::compile(&inputs);
    if compiled.has_errors() {
        return Err(crate::lint_report::lint_error(&inputs, &compiled.diagnostics));
    }
    Ok(compiled)
}
