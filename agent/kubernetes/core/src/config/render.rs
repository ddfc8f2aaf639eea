//! Rendering: which objects of a set are versioned, what they are called, and who has to know.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use trimaran_model::error_code;

use super::configs::{Config, Configs, Fate};
use super::references::{Reference, References};
use super::{
    BASE_LABEL, CHECKSUM_ANNOTATION, ConfigKind, VERSIONED_ANNOTATION, admission, hash, kept, name, rbac,
};
use crate::finding::{Finding, shown};
use crate::identity::{Identity, group, is_cluster_scoped, text};

/// How to render.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Where objects without a namespace go.
    pub namespace: Option<&'a str>,
    pub references: &'a References,
}

/// A rendered set.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// In the order of the input.
    pub objects: Vec<Value>,
    /// The objects whose names are new, in the same order.
    pub names: Vec<Rename>,
    /// What the author should know; an error when two objects would have one name.
    pub findings: Vec<Finding>,
}

/// The new name of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    pub kind: ConfigKind,
    pub namespace: Option<String>,
    pub from: String,
    pub to: String,
}

/// Names the ConfigMaps and Secrets of a set by their content and rewrites every reference to them.
///
/// Total: objects without kind or name, and values of wrong types, are passed through; the lint names them.
/// Rendering the result again changes nothing.
pub fn render(objects: Vec<Value>, options: Options<'_>) -> Rendered {
    let mut work = Work { objects, options, configs: Configs::default(), findings: Vec::new() };
    work.choose();
    work.rewrite();
    let named_elsewhere = work.warn_kept_names();
    work.warn_unused(&named_elsewhere);
    work.rename()
}

struct Work<'a> {
    objects: Vec<Value>,
    options: Options<'a>,
    configs: Configs,
    findings: Vec<Finding>,
}

impl Work<'_> {
    /// Decides about every ConfigMap and Secret.
    fn choose(&mut self) {
        let outputs = self.outputs();
        for (index, object) in self.objects.iter().enumerate() {
            let Some(kind) = ConfigKind::of(object) else { continue };
            let Some(identity) = Identity::of(object, self.options.namespace) else {
                if text(object, "/metadata/generateName").is_some() {
                    let message = "an object with `generateName` is not versioned: nothing can refer to it";
                    self.findings.push(
                        Finding::warning(
                            index,
                            "/metadata/generateName",
                            error_code::CONFIG_NOT_VERSIONED,
                            message,
                        )
                        .help("write `name`; versions make names of their own"),
                    );
                }
                continue;
            };
            let (namespace, name) = (identity.namespace, identity.name);
            let fate = if opted_out(object) {
                Fate::Kept { checksum: hash::suffix(kind, object) }
            } else if outputs.contains(&(kind, namespace.clone(), name.clone())) {
                self.findings.push(kept(
                    index,
                    kind,
                    "a controller of this set writes an object of this name",
                ));
                Fate::Alone
            } else if let Some(why) = foreign(kind, object) {
                self.findings.push(kept(index, kind, why));
                Fate::Alone
            } else if !name::can_keep_base(object) {
                Fate::Alone
            } else {
                let base = name::base(object, &name);
                let to = name::versioned(kind, &base, object);
                Fate::Versioned { base, to }
            };
            self.configs.add(Config { index, kind, namespace, name, fate, used: false });
        }
    }

    /// Names that controllers of the set write themselves.
    fn outputs(&self) -> BTreeSet<(ConfigKind, Option<String>, String)> {
        let mut outputs = BTreeSet::new();
        for object in &self.objects {
            let namespace = text(object, "/metadata/namespace").or(self.options.namespace);
            for it in self.options.references.of(object).into_iter().filter(|it| it.output) {
                let namespace = it.namespace.or(namespace.map(str::to_owned));
                outputs.insert((it.kind, namespace, it.name));
            }
        }
        outputs
    }

    fn rewrite(&mut self) {
        for (index, reference) in admission::parameters(&self.objects) {
            self.rewrite_one(index, &reference, &mut BTreeMap::new());
        }
        for index in 0..self.objects.len() {
            if ConfigKind::of(&self.objects[index]).is_some() {
                continue;
            }
            let mut checksums: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for reference in self.options.references.of(&self.objects[index]) {
                if !reference.output {
                    self.rewrite_one(index, &reference, &mut checksums);
                }
            }
            for (template, parts) in checksums {
                self.set_checksum(index, &template, parts);
            }
            for grant in rbac::grants(&self.objects[index]) {
                self.rewrite_grant(index, &grant);
            }
        }
    }

    fn rewrite_one(
        &mut self,
        index: usize,
        reference: &Reference,
        checksums: &mut BTreeMap<String, BTreeSet<String>>,
    ) {
        let namespace = reference.namespace.as_deref();
        let Some(found) = self.find(index, reference.kind, &reference.name, namespace) else {
            return self.warn_elsewhere(index, reference);
        };
        let config = &mut self.configs.all[found];
        config.used = true;
        match &config.fate {
            Fate::Versioned { to, .. } => {
                let before = reference.namespace.as_ref().filter(|_| reference.qualified);
                let text = before.map_or_else(|| to.clone(), |namespace| format!("{namespace}/{to}"));
                if let Some(place) = self.objects[index].pointer_mut(&reference.pointer) {
                    *place = Value::String(text);
                }
            }
            Fate::Kept { checksum } => {
                if let Some(template) = &reference.template {
                    let part = format!("{} {} {checksum}", config.kind.as_str(), config.name);
                    checksums.entry(template.clone()).or_default().insert(part);
                }
            }
            Fate::Alone => {}
        }
    }

    /// The object that a name means, from the place of another object: of the same namespace, or, where there is
    /// none to compare, the only one of that name.
    fn find(&self, index: usize, kind: ConfigKind, name: &str, namespace: Option<&str>) -> Option<usize> {
        let known = self.configs.named(kind, name);
        let object = &self.objects[index];
        let own = text(object, "/metadata/namespace").or(self.options.namespace);
        let cluster = is_cluster_scoped(group(object), text(object, "/kind").unwrap_or_default());
        if cluster && namespace.is_none() {
            return if known.len() == 1 { known.first().copied() } else { None };
        }
        let wanted = namespace.or(own);
        known.iter().copied().find(|it| self.configs.all[*it].namespace.as_deref() == wanted)
    }

    /// The set has the name, but whether the namespaces are the same is not known.
    fn warn_elsewhere(&mut self, index: usize, reference: &Reference) {
        if self.options.namespace.is_some() {
            return;
        }
        let known = self.configs.named(reference.kind, &reference.name);
        let own = reference
            .namespace
            .clone()
            .or_else(|| text(&self.objects[index], "/metadata/namespace").map(str::to_owned));
        let unsure = known.iter().any(|it| self.configs.all[*it].namespace.is_none() != own.is_none());
        if unsure {
            let message = format!(
                "{} `{}` is in the set, but one of the two has no namespace, so the reference stays",
                reference.kind.as_str(),
                shown(&reference.name)
            );
            let code = error_code::CONFIG_OTHER_NAMESPACE;
            self.findings.push(
                Finding::warning(index, reference.pointer.clone(), code, message)
                    .help("pass `--namespace`, or write the namespace in both"),
            );
        }
    }

    /// Warns about every name that is renamed and kept in a place that looks like a reference, and returns whose it is.
    fn warn_kept_names(&mut self) -> BTreeSet<usize> {
        let known = self.findings.iter().map(|it| (it.object, it.pointer.clone())).collect();
        let found = kept::warnings(&self.objects, &self.configs, self.options.namespace, &known);
        let (configs, findings): (BTreeSet<usize>, Vec<Finding>) = found.into_iter().unzip();
        self.findings.extend(findings);
        configs
    }

    fn set_checksum(&mut self, index: usize, template: &str, parts: BTreeSet<String>) {
        let text: Vec<String> = parts.into_iter().collect();
        let Some(Value::Object(template)) = self.objects[index].pointer_mut(template) else { return };
        let metadata = template.entry("metadata").or_insert(Value::Null);
        if metadata.is_null() {
            *metadata = Value::Object(Map::new());
        }
        if let Value::Object(metadata) = metadata {
            name::set(metadata, "annotations", CHECKSUM_ANNOTATION, &hash::of_text(&text.join("\n")));
        }
    }

    /// Writes the new names into a rule. A right by name does not count as use: what reads through the API reads another name.
    fn rewrite_grant(&mut self, index: usize, grant: &rbac::Grant) {
        let cluster = text(&self.objects[index], "/kind") == Some("ClusterRole");
        let mut names: Vec<String> = Vec::new();
        for old in &grant.names {
            let mut new: Vec<String> = Vec::new();
            for kind in &grant.kinds {
                let found: Vec<usize> = if cluster {
                    self.configs.named(*kind, old).to_vec()
                } else {
                    self.find(index, *kind, old, None).into_iter().collect()
                };
                new.extend(found.into_iter().map(|it| match &self.configs.all[it].fate {
                    Fate::Versioned { to, .. } => to.clone(),
                    Fate::Kept { .. } | Fate::Alone => old.clone(),
                }));
            }
            if new.is_empty() || grant.others {
                new.push(old.clone());
            }
            for it in new {
                if !names.contains(&it) {
                    names.push(it);
                }
            }
        }
        // A list without new names stays as it was written, repetitions and all.
        if names.iter().any(|it| !grant.names.contains(it))
            && let Some(place) = self.objects[index].pointer_mut(&grant.pointer)
        {
            *place = names.into();
        }
    }

    /// Warns about what nothing refers to, but for those whose name stands somewhere else with a warning of its own.
    fn warn_unused(&mut self, named_elsewhere: &BTreeSet<usize>) {
        let is_unused = |it: &usize| {
            let config = &self.configs.all[*it];
            !config.used && matches!(config.fate, Fate::Versioned { .. }) && !named_elsewhere.contains(it)
        };
        let unused: Vec<usize> = (0..self.configs.all.len()).filter(is_unused).collect();
        if unused.is_empty() {
            return;
        }
        let mentions = self.mentions();
        let mut findings = Vec::new();
        for it in unused {
            let config = &self.configs.all[it];
            let name = shown(&config.name);
            let message = format!("nothing in the set refers to {} `{name}`", config.kind.as_str());
            let help = match mentions.get(config.name.as_str()) {
                Some(place) => format!(
                    "{place} has the same text and was not changed; when that is how it is found, set the annotation `{VERSIONED_ANNOTATION}: \"false\"`"
                ),
                None => format!(
                    "remove it, or set the annotation `{VERSIONED_ANNOTATION}: \"false\"` when something reads it by its name"
                ),
            };
            let code = error_code::CONFIG_UNREFERENCED;
            findings.push(Finding::warning(config.index, "/metadata/name", code, message).help(help));
        }
        drop(mentions);
        self.findings.extend(findings);
    }

    /// The first place of each text that is exactly the name of a ConfigMap or Secret and no reference.
    fn mentions(&self) -> BTreeMap<&str, String> {
        let names: BTreeSet<&str> = self.configs.all.iter().map(|it| it.name.as_str()).collect();
        let mut found = BTreeMap::new();
        for object in self.objects.iter().filter(|it| ConfigKind::of(it).is_none()) {
            let title = format!(
                "{} `{}`",
                text(object, "/kind").unwrap_or("object"),
                shown(text(object, "/metadata/name").unwrap_or_default())
            );
            // Names and labels of other objects are often the same, and mean nothing.
            for (key, value) in object.as_object().into_iter().flatten().filter(|(key, _)| *key != "metadata")
            {
                crate::walk::texts(value, &format!("/{key}"), &mut |text, pointer| {
                    if let Some(name) = names.get(text) {
                        found.entry(*name).or_insert_with(|| format!("{title} at {pointer}"));
                    }
                });
            }
        }
        found
    }

    /// Renames the objects.
    fn rename(mut self) -> Rendered {
        let mut names = Vec::new();
        let mut names_in_use = BTreeSet::new();
        for config in &self.configs.all {
            let to = config.new_name();
            if !names_in_use.insert((config.kind, config.namespace.clone(), to.to_owned()))
                && to != config.name
            {
                let message =
                    format!("another {} of the set is called `{}` too", config.kind.as_str(), shown(to));
                let help =
                    "remove one of the two; rendered objects and their sources don't belong into one set";
                self.findings.push(
                    Finding::error(config.index, "/metadata/name", error_code::OBJECT_TWICE, message)
                        .help(help),
                );
            }
            let (Fate::Versioned { base, to }, Value::Object(object)) =
                (&config.fate, &mut self.objects[config.index])
            else {
                continue;
            };
            object.insert("immutable".to_owned(), true.into());
            if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
                metadata.insert("name".to_owned(), to.clone().into());
                name::keep_base(metadata, base);
            }
            if *to != config.name {
                let (from, to) = (config.name.clone(), to.clone());
                names.push(Rename { kind: config.kind, namespace: config.namespace.clone(), from, to });
            }
        }
        self.findings.sort();
        Rendered { objects: self.objects, names, findings: self.findings }
    }
}

fn kept(index: usize, kind: ConfigKind, why: &str) -> Finding {
    let message = format!("this {} keeps its name: {why}", kind.as_str());
    Finding::warning(index, "/metadata/name", error_code::CONFIG_NOT_VERSIONED, message)
        .help(format!("set the annotation `{VERSIONED_ANNOTATION}: \"false\"` to say that this is meant"))
}

/// Why an object belongs to a controller that finds it by name.
fn foreign(kind: ConfigKind, object: &Value) -> Option<&'static str> {
    if kind != ConfigKind::Secret {
        return None;
    }
    match text(object, "/type")? {
        "kubernetes.io/service-account-token" => Some("its token is written by the control plane"),
        "bootstrap.kubernetes.io/token" => Some("bootstrap tokens are found by name"),
        "helm.sh/release.v1" => Some("it is a record of Helm"),
        _ => None,
    }
}

fn opted_out(object: &Value) -> bool {
    let key = VERSIONED_ANNOTATION.replace('/', "~1");
    let value = object.pointer(&format!("/metadata/annotations/{key}"));
    value.is_some_and(|it| it.as_str() == Some("false") || it == &Value::Bool(false))
}

/// Whether an object is a version that [`render`] made.
pub(super) fn is_version(object: &Value) -> bool {
    let key = BASE_LABEL.replace('/', "~1");
    let name = text(object, "/metadata/name").unwrap_or_default();
    ConfigKind::of(object).is_some()
        && text(object, &format!("/metadata/labels/{key}")).is_some()
        && name::base(object, name) != name
}
