//! The documents of a file: their values, and what checks across documents need of each.
//!
//! Deliberately not here: how they are read (`lower`) and checked (`lint`).

use trimaran_model::pipeline::Pipeline;
use trimaran_model::target::{Target, TargetClass};

use crate::tree::Span;

/// One document of a file.
#[derive(Debug, Clone)]
pub struct Document {
    pub file: String,
    /// Where its name stands.
    pub span: Span,
    pub kind: DocumentKind,
    /// Where the paths of a job's files stand, by the names of the files.
    pub files: Vec<FilePlace>,
}

/// A file beside a pipeline's, by the key that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlace {
    pub name: String,
    pub span: Span,
}

#[derive(Debug, Clone)]
pub enum DocumentKind {
    Pipeline(Pipeline),
    Target(Target),
}

/// What checks across documents need of a document, also of one that has errors of its own: otherwise one
/// error would hide another, or a broken target would look like a missing one.
#[derive(Debug, Clone)]
pub(crate) struct Outline {
    pub(crate) file: String,
    /// As written; `None` when it could not be read.
    pub(crate) name: Option<(String, Span)>,
    pub(crate) kind: OutlineKind,
}

#[derive(Debug, Clone)]
pub(crate) enum OutlineKind {
    /// `names_user`: its process says as whom it runs.
    Pipeline {
        platform: Option<Platform>,
        names_user: bool,
        files: Vec<FilePlace>,
        environments: Vec<EnvironmentOutline>,
    },
    Target {
        class: Option<TargetClass>,
        platform: Option<Platform>,
        require_user: bool,
    },
}

/// What a workload needs and a target has: the target's key, `hosts`.
pub(crate) type Platform = &'static str;

#[derive(Debug, Clone)]
pub(crate) struct EnvironmentOutline {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) approved: bool,
    pub(crate) targets: Vec<(String, Span)>,
}
