//! Names that are renamed and kept elsewhere in the same set, as far as their places look like references.

use std::collections::BTreeSet;

use serde_json::Value;
use trimaran_model::error_code;

use super::configs::{Config, Configs};
use super::shape::{self, Shape};
use super::{ConfigKind, VERSIONED_ANNOTATION};
use crate::finding::{Finding, shown};
use crate::identity::text;
use crate::object::Object;

/// A warning for each place that keeps the name of a renamed object. `namespace` is where objects without one go;
/// `known` are places with findings already. With each the index of the ConfigMap or Secret.
pub(super) fn warnings(
    objects: &[Value],
    configs: &Configs,
    namespace: Option<&str>,
    known: &BTreeSet<(usize, String)>,
) -> Vec<(usize, Finding)> {
    let renamed = configs.all.iter().filter(|it| it.new_name() != it.name);
    let renamed: BTreeSet<&str> = renamed.map(|it| it.name.as_str()).collect();
    let mut findings = Vec::new();
    if renamed.is_empty() {
        return findings;
    }
    for (index, object) in objects.iter().enumerate().filter(|(_, it)| ConfigKind::of(it).is_none()) {
        let own = text(object, "/metadata/namespace").or(namespace);
        crate::walk::texts(object, "", &mut |text, pointer| {
            let (qualifier, name) =
                text.split_once('/').map_or((None, text), |(before, name)| (Some(before), name));
            if !renamed.contains(name) || known.contains(&(index, pointer.to_owned())) {
                return;
            }
            let Some(shape) = shape::shape_at(object, pointer) else { return };
            let namespace = qualifier.or_else(|| shape::namespace_beside(object, pointer, shape)).or(own);
            if let Some(config) = find(objects, configs, name, namespace, shape) {
                findings.push((config, warning(index, object, pointer, &configs.all[config])));
            }
        });
    }
    findings
}

/// The renamed object that a name in a place of this shape means.
fn find(
    objects: &[Value],
    configs: &Configs,
    name: &str,
    namespace: Option<&str>,
    shape: Shape,
) -> Option<usize> {
    let kinds = [ConfigKind::Secret, ConfigKind::ConfigMap].into_iter();
    let found = kinds.filter(|kind| shape.kind.is_none_or(|it| it == *kind)).find_map(|kind| {
        // An object without a namespace may belong to the whole cluster: any namespace counts then.
        let fits = |it: &usize| namespace.is_none() || configs.all[*it].namespace.as_deref() == namespace;
        configs.named(kind, name).iter().copied().find(fits)
    })?;
    let is_other = |word: &str| {
        let mut namesakes = objects.iter().filter(|it| text(it, "/metadata/name") == Some(name));
        namesakes.any(|it| shape::is_meant(it, word))
    };
    let config = &configs.all[found];
    (config.new_name() != config.name && !shape.may_mean.is_some_and(is_other)).then_some(found)
}

fn warning(index: usize, object: &Value, pointer: &str, config: &Config) -> Finding {
    let (kind, name) = (config.kind.as_str(), shown(&config.name));
    let title = Object::new(object).display();
    let message = format!(
        "{} keeps the name `{name}` here, but {kind} `{name}` is renamed to `{}`",
        shown(&title),
        shown(config.new_name())
    );
    let help = format!(
        "set the annotation `{VERSIONED_ANNOTATION}: \"false\"` on {kind} `{name}`, so that it keeps its name: Trimaran does not know this field as a reference"
    );
    Finding::warning(index, pointer, error_code::CONFIG_REFERENCE_KEPT, message).help(help)
}
