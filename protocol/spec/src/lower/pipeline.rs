//! `pipeline:` documents: artifacts, workload, environments.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::id::ArtifactName;
use trimaran_model::pipeline::{ArtifactSource, Pipeline, Workload};

use super::{Places, environment, fields, workload};
use crate::decode::{parsed, text, union, wrong_type};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::suggest::nearest;
use crate::tree::{Entry, Node, NodeKind};

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

pub(super) fn lower(node: &Node, sink: &mut Sink) -> Option<(Pipeline, Places)> {
    let mut it = fields(node, sink)?.later(LATER);
    let name = it.required("pipeline", sink);
    let owner = it.required("owner", sink);
    let artifacts = it.required("artifacts", sink);
    let work = it.required("workload", sink);
    let environments = it.required("environments", sink);
    it.finish(sink);
    let name = name.and_then(|entry| parsed(&entry.value, "`pipeline`", error_code::BAD_NAME, sink));
    let owner = owner.and_then(|entry| text(entry, sink));
    let declared = artifacts.map(|entry| declared(entry, sink)).unwrap_or_default();
    let work = work.and_then(|entry| workload::lower(entry, sink));
    if let Some(artifacts) = artifacts {
        used(artifacts, &declared, work.as_ref().map(|(work, uses)| (work, uses.as_slice())), sink);
    }
    let mut places = Places::default();
    let environments = environments.map(|entry| environment::lower_all(entry, &mut places, sink));
    let artifacts = declared.into_iter().filter_map(|(name, source)| Some((name, source?))).collect();
    let pipeline =
        Pipeline { name: name?, owner: owner?, artifacts, workload: work?.0, environments: environments? };
    Some((pipeline, places))
}

type Declared = BTreeMap<ArtifactName, Option<ArtifactSource>>;

/// Declared artifacts; a wrong source leaves the name known.
fn declared(entry: &Entry, sink: &mut Sink) -> Declared {
    let NodeKind::Map(entries) = &entry.value.kind else {
        wrong_type(&entry.value, "`artifacts` has to be a map of names", sink);
        return BTreeMap::new();
    };
    let mut declared = BTreeMap::new();
    for artifact in entries {
        match artifact.key.parse::<ArtifactName>() {
            Ok(name) => {
                declared.insert(name, source(artifact, sink));
            }
            Err(error) => sink.error(error_code::BAD_NAME, artifact.key_span, error.to_string(), ""),
        }
    }
    declared
}

fn source(entry: &Entry, sink: &mut Sink) -> Option<ArtifactSource> {
    let one = union(entry, &["file", "path", "image"], sink)?;
    let place = text(one, sink)?;
    match one.key.as_str() {
        "image" => Some(ArtifactSource::Image(place)),
        key => {
            versioned(one, &place, sink);
            if key == "path" {
                return Some(ArtifactSource::Path(place));
            }
            if !place.starts_with("http://") && !place.starts_with("https://") {
                let message = format!("`{}` is not an http or https URL", shown(&place));
                sink.error(
                    error_code::BAD_URL,
                    one.value.span,
                    message,
                    "use `path:` for a file on the hosts",
                );
            }
            Some(ArtifactSource::File(place))
        }
    }
}

/// `{version}` stands exactly once.
fn versioned(entry: &Entry, place: &str, sink: &mut Sink) {
    if place.matches("{version}").count() != 1 {
        let message = format!("`{}` needs exactly one `{{version}}`", entry.key);
        sink.error(
            error_code::ARTIFACT_VERSION,
            entry.value.span,
            message,
            "write it where the version stands in the name",
        );
    }
}

/// Uses that are not declared, and declarations that are not used.
fn used(
    entry: &Entry,
    declared: &Declared,
    work: Option<(&Workload, &[(ArtifactName, crate::tree::Span)])>,
    sink: &mut Sink,
) {
    let Some((_, uses)) = work else { return };
    for (name, span) in uses.iter().filter(|(name, _)| !declared.contains_key(name)) {
        let help = match nearest(name.as_str(), declared.keys().map(ToString::to_string)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "declare it under `artifacts:`".to_owned(),
        };
        sink.error(error_code::ARTIFACT_USE, *span, format!("artifact `{name}` is not declared"), help);
    }
    for artifact in entry.value.entries() {
        let is_used = uses.iter().any(|(name, _)| name.as_str() == artifact.key);
        if !is_used && declared.keys().any(|name| name.as_str() == artifact.key) {
            let message = format!("artifact `{}` is declared and not used", artifact.key);
            sink.error(
                error_code::ARTIFACT_USE,
                artifact.key_span,
                message,
                "remove it, or use it in the workload",
            );
        }
    }
}
