//! The pipeline language: YAML text to a spanned tree to the model, with every error found at once.
//!
//! [`compile`] is the entry point. A file goes through four steps, each of which continues after an error: bytes are
//! checked and parsed into a [`tree::Node`] whose every key and value knows its place ([`parse`]); scalars and
//! maps are read by the type that is expected ([`decode`]); blocks become model values (`lower`, one file a
//! block); and what only shows between blocks is checked (`lint`).
//!
//! Invariants: no input panics; a wrong part makes no follow-up errors; every diagnostic has a place.
//! Deliberately not here: files, terminals, and asking a server what it knows.
#![forbid(unsafe_code)]

mod decode;
mod diagnostic;
mod document;
mod host_spec;
mod lint;
mod lower;
pub mod manifest;
pub mod parse;
pub mod suggest;
pub mod tree;

pub use diagnostic::{Diagnostic, Severity};
pub use document::{Document, DocumentKind, FilePlace};
pub use host_spec::{HostSpec, compile_host_spec};

use std::collections::BTreeSet;

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
    let read = Read::of(files);
    let across = lint::across(&read.outlines, read.complete, None);
    read.with(across)
}

/// Like [`compile`], for a cluster: the targets of pipelines have to be among its targets, and target documents
/// of the files do not count. `targets` is asked once with the names that the pipelines give, and answers with
/// those that exist; where one does not, with all, so that the one that was meant can be suggested.
pub fn compile_among(
    files: &[SourceFile<'_>],
    targets: impl FnOnce(&BTreeSet<&str>) -> Vec<Target>,
) -> Compiled {
    let read = Read::of(files);
    let targets = targets(&lint::named(&read.outlines));
    let across = lint::across(&read.outlines, read.complete, Some(&targets));
    read.with(across)
}

/// Files before their documents are checked against each other.
#[derive(Default)]
struct Read {
    compiled: Compiled,
    outlines: Vec<document::Outline>,
    /// Every document could be read far enough to have an outline.
    complete: bool,
}

impl Read {
    fn of(files: &[SourceFile<'_>]) -> Self {
        let mut read = Self { complete: true, ..Self::default() };
        for file in files {
            let mut sink = Sink::new(file.name);
            let nodes = parse::parse(file.bytes, &parse::Limits::SPEC, &mut sink);
            if nodes.is_empty() && sink.len() == 0 {
                let help = "start it with `trimaran: v1`, or run `trimaran init`";
                sink.error(error_code::EMPTY_DOCUMENT, parse::START, "the file has no document", help);
            }
            for node in nodes {
                let (document, outline) = lower::document(&node, file.name, &mut sink);
                read.complete &= outline.is_some();
                read.compiled.documents.extend(document);
                read.outlines.extend(outline);
            }
            read.complete &= !sink.is_cut();
            read.compiled.diagnostics.extend(sink.into_diagnostics());
        }
        read
    }

    /// With what was found between the documents.
    fn with(self, across: Vec<Diagnostic>) -> Compiled {
        let mut compiled = self.compiled;
        compiled.diagnostics.extend(across);
        let place = |it: &Diagnostic| (it.file.clone(), it.line, it.column, it.code, it.message.clone());
        compiled.diagnostics.sort_by_cached_key(place);
        compiled.diagnostics.dedup();
        compiled
    }
}
