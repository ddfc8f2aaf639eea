//! The file of `trimaran-agent host apply`: one service on one machine, without any server.

use trimaran_model::error_code;
use trimaran_model::id::{Digest, ServiceName, version_error};
use trimaran_model::pipeline::{HealthCheck, Lifecycle, Process};
use trimaran_model::release::ArtifactLocation;

use crate::SourceFile;
use crate::decode::{Fields, digest, name, text};
use crate::diagnostic::{Diagnostic, Sink};
use crate::lower::head::{fields, version};
use crate::lower::workload::{HostSections, Sections};
use crate::parse::{Limits, START, parse, shown};
use crate::tree::{Entry, Node, Span};

/// A service with its artifact pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSpec {
    pub service: ServiceName,
    pub version: String,
    pub location: ArtifactLocation,
    pub sha256: Digest,
    pub process: Process,
    pub health: HealthCheck,
    pub lifecycle: Lifecycle,
}

/// Reads a SPEC file, or says everything that is wrong with it.
pub fn compile_host_spec(file: SourceFile<'_>) -> Result<HostSpec, Vec<Diagnostic>> {
    let mut sink = Sink::new(file.name);
    let documents = parse(file.bytes, &Limits::SPEC, &mut sink);
    let spec = match documents.as_slice() {
        [one] => lower(one, &mut sink),
        _ if sink.len() > 0 => None,
        _ => {
            let place = documents.get(1).map_or(START, |second| Span { length: 1, ..second.span });
            let message = "the file has to hold exactly one document";
            sink.error(error_code::EMPTY_DOCUMENT, place, message, "start it with `trimaran: v1`");
            None
        }
    };
    let found = sink.into_diagnostics();
    match spec {
        Some(spec) if found.is_empty() => Ok(spec),
        _ => Err(found),
    }
}

fn lower(node: &Node, sink: &mut Sink) -> Option<HostSpec> {
    if !version(node, sink) {
        return None;
    }
    let mut it = fields(node, sink)?;
    let service = it.required("service");
    let version = it.required("version");
    let artifact = it.required("artifact");
    let host = it.required("host");
    it.finish(sink);
    let service = service.and_then(|entry| name(&entry.value, "`service`", sink));
    let version = version.and_then(|entry| version_text(entry, sink));
    let artifact = artifact.and_then(|entry| pinned(entry, sink));
    let sections = host.and_then(|entry| {
        let mut it = Fields::of(&entry.value, entry.key_span, "`host`", sink)?;
        it.optional("unpack");
        let sections = HostSections::read(&mut it);
        it.finish(sink);
        sections.lower(sink)
    });
    let (location, sha256) = artifact?;
    let Sections { process, health, lifecycle } = sections?;
    Some(HostSpec { service: service?, version: version?, location, sha256, process, health, lifecycle })
}

fn version_text(entry: &Entry, sink: &mut Sink) -> Option<String> {
    let text = text(entry, sink)?;
    let Some(why) = version_error(&text) else { return Some(text) };
    let message = format!("`{}` is not a version: {why}", shown(&text));
    sink.error(error_code::BAD_NAME, entry.value.span, message, "choose such a version");
    None
}

fn pinned(entry: &Entry, sink: &mut Sink) -> Option<(ArtifactLocation, Digest)> {
    let mut it = Fields::of(&entry.value, entry.key_span, "`artifact`", sink)?;
    let (path, file) = (it.optional("path"), it.optional("file"));
    let sha256 = it.required("sha256");
    it.finish(sink);
    let sha256 = sha256.and_then(|entry| digest(entry, sink));
    if path.is_none() && file.is_none() {
        sink.error(error_code::MISSING_KEY, entry.key_span, "one of `path`, `file` is missing", "");
    }
    let location = match (path, file) {
        (Some(path), Some(file)) => {
            let second = if path.key_span < file.key_span { file } else { path };
            sink.error(error_code::EXACTLY_ONE, second.key_span, "exactly one of path, file is allowed", "");
            None
        }
        (Some(path), None) => text(path, sink).map(ArtifactLocation::Path),
        (None, file) => file.and_then(|file| text(file, sink)).map(ArtifactLocation::Url),
    };
    Some((location?, sha256?))
}
