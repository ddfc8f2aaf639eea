//! The pipeline language: YAML text to a spanned tree to the model, with every error found at once.
//!
//! [`compile`] is the way in. A file goes through four steps, each of which goes on after an error: bytes are
//! checked and parsed into a [`tree::Node`] whose every key and value knows its place ([`parse`]); scalars and
//! maps are read by the type that is expected ([`decode`]); blocks become model values (`lower`, one file a
//! block); and what only shows between blocks is checked (`lint`).
//!
//! Invariants: no input panics; a wrong part makes no follow-up errors; every diagnostic has a place.
//! Deliberately not here: files, terminals, and asking a server what it knows.
#![forbid(unsafe_code)]

mod decode;
mod diagnostic;
mod host_spec;
mod lint;
mod lower;
pub mod manifest;
pub mod parse;
pub mod suggest;
pub mod tree;

pub use diagnostic::{Diagnostic, Severity};
pub use host_spec::{HostSpec, compile_host_spec};
pub use lower::{Document, DocumentKind};

use diagnostic::Sink;
use trimaran_model::error_code;
use trimaran_model::target::Target;

/// A file by name, as bytes.
#[derive(Debug, Clone, Copy)]
pub struct SourceFile<'a> {
    pub name: &'a str,
    pub bytes: &'a [u8],
}

/// What files say.
#[derive(Debug, Clone, Default)]
pub struct Compiled {
    /// Documents without errors of their own, in order.
    pub documents: Vec<Document>,
    /// Sorted by file, line and column.
    pub diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|it| it.severity == Severity::Error)
    }
}

/// Reads pipeline and target files and finds everything that is wrong with them.
pub fn compile(files: &[SourceFile<'_>]) -> Compiled {
    compile_for(files, None)
}

/// Like [`compile`], for a cluster: the targets of pipelines have to be among `targets`, and target documents
/// of the files do not count.
pub fn compile_among(files: &[SourceFile<'_>], targets: &[&Target]) -> Compiled {
    compile_for(files, Some(targets))
}

fn compile_for(files: &[SourceFile<'_>], targets: Option<&[&Target]>) -> Compiled {
    let mut compiled = Compiled::default();
    let mut outlines = Vec::new();
    let mut complete = true;
    for file in files {
        let mut sink = Sink::new(file.name);
        let nodes = parse::parse(file.bytes, &parse::Limits::SPEC, &mut sink);
        if nodes.is_empty() && sink.len() == 0 {
            let help = "start it with `trimaran: v1`, or run `trimaran init`";
            sink.error(error_code::EMPTY_DOCUMENT, parse::START, "the file has no document", help);
        }
        for node in nodes {
            let (document, outline) = lower::document(&node, file.name, &mut sink);
            complete &= outline.is_some();
            compiled.documents.extend(document);
            outlines.extend(outline);
        }
        complete &= !sink.is_cut();
        compiled.diagnostics.extend(sink.into_diagnostics());
    }
    compiled.diagnostics.extend(lint::across(&outlines, complete, targets));
    let place = |it: &Diagnostic| (it.file.clone(), it.line, it.column, it.code, it.message.clone());
    compiled.diagnostics.sort_by_cached_key(place);
    compiled.diagnostics.dedup();
    compiled
}
