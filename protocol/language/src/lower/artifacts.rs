//! `artifacts:`: where bytes come from, and that declarations and uses match.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_model::error_code;
use trimaran_model::id::ArtifactName;
use trimaran_model::limits::ARTIFACTS_MAX;
use trimaran_model::pipeline::ArtifactSource;

use super::workload::{Use, Uses, Wants};
use crate::decode::{Union, expression, map, text};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::suggest::did_you_mean;
use crate::tree::Entry;

/// By name; a wrong source leaves the name known.
pub(super) type Declared = BTreeMap<ArtifactName, Option<ArtifactSource>>;

pub(super) fn declared(entry: &Entry, sink: &mut Sink) -> Option<Declared> {
    let mut declared = BTreeMap::new();
    let entries = map(entry, sink)?;
    if entries.len() > ARTIFACTS_MAX {
        let message = format!("a pipeline has at most {ARTIFACTS_MAX} artifacts");
        sink.error(error_code::OVER_LIMIT, entry.key_span, message, "");
        return None;
    }
    for artifact in entries {
        let source = source(artifact, sink);
        match artifact.key.parse::<ArtifactName>() {
            Ok(name) => {
                declared.insert(name, source);
            }
            Err(error) => {
                if !expression(&artifact.key, artifact.key_span, "a key", sink) {
                    let message = format!("`{}` is not a name: {}", shown(&artifact.key), error.why);
                    sink.error(error_code::BAD_NAME, artifact.key_span, message, "");
                }
            }
        }
    }
    Some(declared)
}

fn source(entry: &Entry, sink: &mut Sink) -> Option<ArtifactSource> {
    let union = Union::of(entry, &["file", "path", "image"], sink);
    let mut sources = union.known.iter().map(|one| match one.key.as_str() {
        "file" => file(one, sink),
        "path" => path(one, sink),
        _ => image(one, sink),
    });
    let first = sources.next().flatten();
    // The others are read for their own errors; two of them are no source.
    (sources.count() == 0).then_some(first)?
}

fn file(entry: &Entry, sink: &mut Sink) -> Option<ArtifactSource> {
    let url = text(entry, sink)?;
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let authority = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    let help = match authority {
        None => "write it like https://HOST/web-{version}.tar.zst, or use `path:` for a file on the hosts",
        Some("") => "name the host after `//`",
        Some(_) if url.chars().any(|c| c.is_whitespace() || c.is_control()) => "a URL has no white space",
        Some(_) => return versioned(entry, &url, sink).then_some(ArtifactSource::File(url)),
    };
    let message = format!("`{}` is not an http or https URL", shown(&url));
    sink.error(error_code::BAD_URL, entry.value.span, message, help);
    None
}

fn path(entry: &Entry, sink: &mut Sink) -> Option<ArtifactSource> {
    let path = text(entry, sink)?;
    if !path.starts_with('/') {
        let message = format!("`{}` is not an absolute path", shown(&path));
        let help = "a runner reads it on its own host: start it with `/`";
        sink.error(error_code::BAD_URL, entry.value.span, message, help);
        return None;
    }
    versioned(entry, &path, sink).then_some(ArtifactSource::Path(path))
}

/// `REGISTRY/NAME`: the version of a run is its tag.
fn image(entry: &Entry, sink: &mut Sink) -> Option<ArtifactSource> {
    let image = text(entry, sink)?;
    let last = image.rsplit('/').next().unwrap_or_default();
    let help = if last.contains(':') || image.contains('@') || image.contains("{version}") {
        "leave out the tag or digest: `--artifact NAME=VERSION@sha256:HEX` gives it"
    } else if last.is_empty() || image.contains("://") || image.chars().any(char::is_whitespace) {
        "write it like registry.corp/shop/web"
    } else {
        return Some(ArtifactSource::Image(image));
    };
    let message = format!("`{}` is not an image without tag", shown(&image));
    sink.error(error_code::BAD_URL, entry.value.span, message, help);
    None
}

/// An image can't be unpacked, and a file is no container's image.
fn check_kinds(declared: &Declared, uses: &Uses, sink: &mut Sink) {
    for Use { name, span, wants, .. } in &uses.named {
        let Some(Some(source)) = declared.get(name) else { continue };
        let is_image = matches!(source, ArtifactSource::Image(_));
        let (message, help) = match (wants, is_image) {
            (Wants::File, true) => {
                ("is an image, and a file is needed here", "declare it with `file:` or `path:`")
            }
            (Wants::Image, false) => ("is a file, and an image is needed here", "declare it with `image:`"),
            (Wants::File, false) | (Wants::Image, true) => continue,
        };
        sink.error(error_code::ARTIFACT_KIND, *span, format!("artifact `{name}` {message}"), help);
    }
}

/// `{version}` stands exactly once.
fn versioned(entry: &Entry, place: &str, sink: &mut Sink) -> bool {
    let times = place.matches("{version}").count();
    if times == 1 {
        return true;
    }
    let (message, help) = match times {
        0 => ("has no `{version}`", "write `{version}` where the version stands in the name"),
        _ => ("has `{version}` more than once", "keep one of them"),
    };
    sink.error(error_code::ARTIFACT_VERSION, entry.value.span, format!("`{}` {message}", entry.key), help);
    false
}

/// Uses that are not declared or of the wrong kind, and declarations that are not used.
pub(super) fn check_uses(entry: &Entry, declared: &Declared, uses: &Uses, sink: &mut Sink) {
    check_kinds(declared, uses, sink);
    for Use { name, span, .. } in uses.named.iter().filter(|it| !it.maybe && !declared.contains_key(&it.name))
    {
        let names = declared.keys().map(ToString::to_string);
        let help = did_you_mean(name.as_str(), names, || "declare it under `artifacts:`".to_owned());
        sink.error(error_code::ARTIFACT_USE, *span, format!("artifact `{name}` is not declared"), help);
    }
    let missed = uses.named.iter().any(|it| !it.maybe && !declared.contains_key(&it.name));
    if !uses.complete || missed {
        // What is not used may be what was meant there.
        return;
    }
    let used: BTreeSet<&str> = uses.named.iter().map(|it| it.name.as_str()).collect();
    for artifact in entry.value.entries() {
        if !used.contains(artifact.key.as_str()) && artifact.key.parse::<ArtifactName>().is_ok() {
            let message = format!("artifact `{}` is declared and not used", artifact.key);
            let help = "remove it, or use it in the workload";
            sink.error(error_code::ARTIFACT_USE, artifact.key_span, message, help);
        }
    }
}
