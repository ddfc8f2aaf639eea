//! `workload:`: host, kubernetes or flink, one file each.

mod flink;
mod host;
mod kubernetes;

use trimaran_model::id::ArtifactName;
use trimaran_model::pipeline::Workload;

pub(crate) use host::{HostSections, Sections};

use crate::decode::{Union, name, not_yet};
use crate::diagnostic::Sink;
use crate::document::{FilePlace, Platform};
use crate::tree::{Entry, Node, Span};

/// A use of an artifact.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) name: ArtifactName,
    pub(super) span: Span,
    /// A use only if there is such an artifact; otherwise the text is a path.
    pub(super) maybe: bool,
    pub(super) wants: Wants,
}

/// What a use can make something of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Bytes of a file: `file:` or `path:`.
    File,
    Image,
}

/// The artifacts that a workload uses.
#[derive(Debug, Clone, Default)]
pub(super) struct Uses {
    pub(super) named: Vec<Use>,
    /// Whether each use could be read; otherwise nothing can be said of artifacts that are not among them.
    pub(super) complete: bool,
}

impl Uses {
    /// Reads the name of an artifact and notes its use.
    fn artifact(&mut self, node: &Node, what: &str, wants: Wants, sink: &mut Sink) -> Option<ArtifactName> {
        let name: Option<ArtifactName> = name(node, what, sink);
        match &name {
            Some(name) => self.named.push(Use { name: name.clone(), span: node.span, maybe: false, wants }),
            None => self.complete = false,
        }
        name
    }
}

/// What could be read of a workload.
pub(super) struct Lowered {
    pub(super) workload: Option<Workload>,
    pub(super) platform: Option<Platform>,
    pub(super) uses: Uses,
    /// Files beside the pipeline's that a job ships.
    pub(super) files: Vec<FilePlace>,
}

/// Kinds of workloads that come later.
const LATER: &[&str] = &["job"];

pub(super) fn lower(entry: &Entry, sink: &mut Sink) -> Lowered {
    let mut lowered = Lowered { workload: None, platform: None, uses: Uses::default(), files: Vec::new() };
    if let Some(later) = entry.value.entries().iter().find(|it| LATER.contains(&it.key.as_str())) {
        not_yet(later, "use `host`, `kubernetes` or `flink`", sink);
        return lowered;
    }
    let union = Union::of(entry, &["host", "kubernetes", "flink"], sink);
    let one = union.one().is_some();
    lowered.uses.complete = one;
    for part in union.known {
        let (workload, platform) = match part.key.as_str() {
            "host" => (host::lower(part, &mut lowered.uses, sink).map(Workload::Host), "hosts"),
            "kubernetes" => {
                (kubernetes::lower(part, &mut lowered.uses, sink).map(Workload::Kubernetes), "kubernetes")
            }
            _ => (flink::lower(part, &mut lowered.uses, &mut lowered.files, sink), "flink"),
        };
        if one {
            lowered.workload = workload;
            lowered.platform = Some(platform);
        }
    }
    lowered
}
