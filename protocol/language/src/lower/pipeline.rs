//! `pipeline:` documents: artifacts, workload, environments.

use trimaran_model::error_code;
use trimaran_model::pipeline::Pipeline;

use super::head::{fields, written_name};
use super::{artifacts, environment, workload};
use crate::decode::{name, text};
use crate::diagnostic::Sink;
use crate::document::{DocumentKind, EnvironmentOutline, FilePlace, OutlineKind, Platform};
use crate::tree::{Node, Span};

/// Keys of the full language that come later.
const LATER: &[&str] = &[
    "description",
    "labels",
    "uses",
    "with",
    "params",
    "triggers",
    "stages",
    "notify",
    "freeze",
    "concurrency",
    "timeout",
];

pub(super) fn lower(
    node: &Node,
    sink: &mut Sink,
) -> (Option<DocumentKind>, Option<(String, Span)>, OutlineKind) {
    let mut outline = (None, Vec::new(), Vec::new());
    let mut written = None;
    let found = pipeline(node, &mut written, &mut outline, sink).map(DocumentKind::Pipeline);
    let mut user = Some(node);
    for key in ["workload", "host", "process", "user"] {
        user = user.and_then(|node| node.get(key)).map(|entry| &entry.value);
    }
    let (platform, environments, files) = outline;
    (found, written, OutlineKind::Pipeline { platform, names_user: user.is_some(), files, environments })
}

fn pipeline(
    node: &Node,
    written: &mut Option<(String, Span)>,
    outline: &mut (Option<Platform>, Vec<EnvironmentOutline>, Vec<FilePlace>),
    sink: &mut Sink,
) -> Option<Pipeline> {
    let mut it = fields(node, sink)?.later(LATER);
    let title = it.required("pipeline");
    let owner = it.required("owner");
    let declared = it.required("artifacts");
    let work = it.required("workload");
    let environments = it.required("environments");
    it.finish(sink);
    *written = title.and_then(written_name);
    let title = title.and_then(|entry| name(&entry.value, "`pipeline`", sink));
    let owner = owner.and_then(|entry| {
        let owner = text(entry, sink)?;
        if owner.trim().is_empty() {
            let message = "`owner` is empty";
            sink.error(error_code::BAD_CHOICE, entry.value.span, message, "name the team to ask");
            return None;
        }
        Some(owner)
    });
    let artifacts = declared.and_then(|entry| artifacts::declared(entry, sink));
    let work = work.map(|entry| workload::lower(entry, sink));
    if let (Some(declared), Some(artifacts), Some(work)) = (declared, &artifacts, &work) {
        artifacts::check_uses(declared, artifacts, &work.uses, sink);
    }
    let environments = environments.map(|entry| environment::lower_all(entry, &mut outline.1, sink));
    outline.0 = work.as_ref().and_then(|work| work.platform);
    outline.2 = work.as_ref().map(|work| work.files.clone()).unwrap_or_default();
    Some(Pipeline {
        name: title?,
        owner: owner?,
        artifacts: artifacts?.into_iter().filter_map(|(name, source)| Some((name, source?))).collect(),
        workload: work?.workload?,
        environments: environments?,
    })
}
