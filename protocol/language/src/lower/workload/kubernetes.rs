//! `workload.kubernetes`: manifests and the images in them.

use std::collections::BTreeMap;

use trimaran_model::error_code;
use trimaran_model::id::ArtifactName;
use trimaran_model::pipeline::{KubernetesWorkload, OnConflict};
use trimaran_model::time::Millis;

use super::{Use, Uses, Wants};
use crate::decode::{Fields, choice, duration, each, expression, map, or_default, text};
use crate::diagnostic::Sink;
use crate::parse::shown;
use crate::tree::Entry;

const LATER: &[&str] =
    &["kustomize", "helm", "namespace", "prune", "apply", "wait", "ignore_drift", "order", "hooks"];

pub(super) fn lower(entry: &Entry, uses: &mut Uses, sink: &mut Sink) -> Option<KubernetesWorkload> {
    let Some(it) = Fields::below(entry, sink) else {
        uses.complete = false;
        return None;
    };
    let mut it = it.later(LATER);
    let manifests = it.required("manifests");
    let [images, stability, on_conflict] = ["images", "stability", "on_conflict"].map(|key| it.optional(key));
    it.finish(sink);
    let manifests_text = manifests.and_then(|entry| text(entry, sink));
    uses.complete &= manifests_text.is_some();
    if let (Some(entry), Some(Ok(name))) = (manifests, manifests_text.as_deref().map(str::parse)) {
        uses.named.push(Use { name, span: entry.value.span, maybe: true, wants: Wants::File });
    }
    let images = or_default(images, BTreeMap::new(), |entry| named_images(entry, uses, sink));
    let stability = or_default(stability, Millis::seconds(20), |entry| duration(entry, sink));
    let words = OnConflict::ALL.map(|it| (it.as_str(), it));
    let on_conflict = or_default(on_conflict, OnConflict::Refuse, |entry| {
        choice(&entry.value, "`on_conflict`", &words, sink)
    });
    Some(KubernetesWorkload {
        manifests: manifests_text?,
        images: images?,
        stability: stability?,
        on_conflict: on_conflict?,
    })
}

/// Container names to artifacts.
fn named_images(entry: &Entry, uses: &mut Uses, sink: &mut Sink) -> Option<BTreeMap<String, ArtifactName>> {
    let Some(entries) = map(entry, sink) else {
        uses.complete = false;
        return None;
    };
    let pairs = each(entries, |image| {
        let artifact = uses.artifact(&image.value, "an image's artifact", Wants::Image, sink);
        if expression(&image.key, image.key_span, "a key", sink) {
            return None;
        }
        if trimaran_model::id::name_error(&image.key).is_some() {
            let message = format!("`{}` is not a container's name", shown(&image.key));
            sink.error(error_code::BAD_NAME, image.key_span, message, "");
            return None;
        }
        Some((image.key.clone(), artifact?))
    })?;
    Some(pairs.into_iter().collect())
}
