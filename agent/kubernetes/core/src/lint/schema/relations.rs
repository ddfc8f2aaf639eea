//! What a server asks of the fields of one object together: unions of which one has to be chosen, fields that exclude
//! or need each other, texts and lists that may not be empty.
//!
//! Each row is a check of the validation of an API server (`pkg/apis/*/validation` of Kubernetes 1.33 to 1.37), for one
//! type. What takes more than a row is in [`own`]. Not here: what depends on other objects, and what a release may
//! change by a feature gate.

mod own;
mod schedule;

use serde_json::{Map, Value};
use trimaran_model::error_code::{self, ErrorCode};

use super::document::{Fields, Form, kind_of};
use crate::finding::shown;

/// What is wrong, below the object's own place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// A JSON pointer from the object; empty for the object itself.
    pub(super) place: String,
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) help: String,
}

impl Fault {
    fn missing(place: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        let code = error_code::OBJECT_FIELD_MISSING;
        Self { place: place.into(), code, message: message.into(), help: help.into() }
    }

    fn wrong(place: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        let code = error_code::OBJECT_FIELD_VALUE;
        Self { place: place.into(), code, message: message.into(), help: help.into() }
    }
}

/// A relation between fields.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Exactly one of these is there.
    One(&'static [&'static str]),
    /// At least one of these is there.
    Some(&'static [&'static str]),
    /// At most one of these is there.
    Most(&'static [&'static str]),
    /// Exactly one of the fields that are types of their own, such as the sources of a volume.
    OneSource,
    /// At most one of them.
    MostSources,
    /// It is there and not empty.
    Filled(&'static str),
    /// Where the first field has one of the values, the other one is there too.
    Needs(&'static str, &'static [&'static str], &'static str),
    /// Where the first field has a value that is none of these, the other one is not there.
    Only(&'static str, &'static [&'static str], &'static str),
    /// Where the first field is there, the other one is too.
    With(&'static str, &'static str),
}

use Rule::{Filled, Most, MostSources, Needs, One, OneSource, Only, With};

const PROFILE: &[Rule] =
    &[Needs("type", &["Localhost"], "localhostProfile"), Only("type", &["Localhost"], "localhostProfile")];
const KEY_OF_CONFIG: &[Rule] = &[Filled("name"), Filled("key")];
const REQUIREMENT: &[Rule] = &[
    Needs("operator", &["In", "NotIn", "Gt", "Lt"], "values"),
    Only("operator", &["In", "NotIn", "Gt", "Lt"], "values"),
    Filled("key"),
];
const METRIC: &[Rule] = &[
    Needs("type", &["Resource"], "resource"),
    Only("type", &["Resource"], "resource"),
    Needs("type", &["ContainerResource"], "containerResource"),
    Only("type", &["ContainerResource"], "containerResource"),
    Needs("type", &["Pods"], "pods"),
    Only("type", &["Pods"], "pods"),
    Needs("type", &["Object"], "object"),
    Only("type", &["Object"], "object"),
    Needs("type", &["External"], "external"),
    Only("type", &["External"], "external"),
];

/// The relations of a type.
fn rules(type_name: &str) -> &'static [Rule] {
    match type_name.split('.').next().unwrap_or_default() {
        "core" => core(kind_of(type_name)),
        "apps" => match kind_of(type_name) {
            "ReplicaSetSpec" => &[Filled("template")],
            "StatefulSetUpdateStrategy" => &[Only("type", &["RollingUpdate"], "rollingUpdate")],
            _ => &[],
        },
        "batch" => match kind_of(type_name) {
            "CronJobSpec" => &[Filled("schedule")],
            "JobSpec" => &[
                Needs("completionMode", &["Indexed"], "completions"),
                Only("completionMode", &["Indexed"], "backoffLimitPerIndex"),
                With("maxFailedIndexes", "backoffLimitPerIndex"),
            ],
            _ => &[],
        },
        "networking" => networking(kind_of(type_name)),
        "autoscaling" => match kind_of(type_name) {
            "MetricSpec" => METRIC,
            "MetricTarget" => &[Rule::Some(&["averageUtilization", "averageValue", "value"])],
            "CrossVersionObjectReference" => &[Filled("kind"), Filled("name")],
            _ => &[],
        },
        "admissionregistration" | "apiextensions" => match kind_of(type_name) {
            "WebhookClientConfig" => &[One(&["service", "url"])],
            "CustomResourceDefinitionSpec" => &[Filled("versions"), Filled("group")],
            "CustomResourceDefinitionVersion" => &[Filled("schema")],
            _ => &[],
        },
        "rbac" => match kind_of(type_name) {
            "RoleRef" | "Subject" => &[Filled("name")],
            "PolicyRule" => &[Filled("verbs")],
            _ => &[],
        },
        "storage" => match kind_of(type_name) {
            "StorageClass" => &[Filled("provisioner")],
            _ => &[],
        },
        _ => &[],
    }
}

fn core(kind: &str) -> &'static [Rule] {
    match kind {
        "Container" | "EphemeralContainer" => &[Filled("image")],
        "PodSpec" => &[Filled("containers")],
        "Probe" => &[One(&["exec", "grpc", "httpGet", "tcpSocket"])],
        "LifecycleHandler" => &[One(&["exec", "httpGet", "sleep", "tcpSocket"])],
        "ExecAction" => &[Filled("command")],
        "Volume" | "VolumeProjection" => &[MostSources],
        "PersistentVolumeSpec" => {
            &[OneSource, Filled("accessModes"), Filled("capacity"), With("local", "nodeAffinity")]
        }
        "PersistentVolumeClaimSpec" => &[Filled("accessModes")],
        "EnvVarSource" => {
            &[One(&["configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"])]
        }
        "EnvVar" => &[Most(&["value", "valueFrom"])],
        "EnvFromSource" => &[One(&["configMapRef", "secretRef"])],
        "ConfigMapKeySelector" | "SecretKeySelector" => KEY_OF_CONFIG,
        "ConfigMapEnvSource" | "SecretEnvSource" | "ConfigMapVolumeSource" => &[Filled("name")],
        "ConfigMapProjection" | "SecretProjection" => &[Filled("name")],
        "SecretVolumeSource" => &[Filled("secretName")],
        "PersistentVolumeClaimVolumeSource" => &[Filled("claimName")],
        "VolumeMount" => &[Most(&["subPath", "subPathExpr"]), Filled("mountPath")],
        "DownwardAPIVolumeFile" => &[One(&["fieldRef", "resourceFieldRef"]), Filled("path")],
        "KeyToPath" => &[Filled("key"), Filled("path")],
        "NodeSelector" => &[Filled("nodeSelectorTerms")],
        "NodeSelectorRequirement" => REQUIREMENT,
        "PodAffinityTerm" | "TopologySpreadConstraint" => &[Filled("topologyKey")],
        "SeccompProfile" | "AppArmorProfile" => PROFILE,
        "ReplicationControllerSpec" => &[Filled("template")],
        "ServiceSpec" => &[
            Needs("type", &["ExternalName"], "externalName"),
            Only("type", &["LoadBalancer"], "loadBalancerClass"),
        ],
        _ => &[],
    }
}

fn networking(kind: &str) -> &'static [Rule] {
    match kind {
        "IngressSpec" => &[Rule::Some(&["defaultBackend", "rules"])],
        "IngressBackend" => &[One(&["resource", "service"])],
        "IngressServiceBackend" => &[Filled("name"), Filled("port")],
        "ServiceBackendPort" => &[One(&["name", "number"])],
        "HTTPIngressRuleValue" => &[Filled("paths")],
        "IngressClassSpec" => &[Filled("controller")],
        "NetworkPolicyPeer" => &[
            Rule::Some(&["ipBlock", "namespaceSelector", "podSelector"]),
            Most(&["ipBlock", "podSelector"]),
            Most(&["ipBlock", "namespaceSelector"]),
        ],
        "NetworkPolicyPort" => &[With("endPort", "port")],
        _ => &[],
    }
}

/// An object with the fields of its type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Typed<'a> {
    pub(super) map: &'a Map<String, Value>,
    /// Such as `core.v1.Probe`.
    pub(super) name: &'static str,
    pub(super) fields: &'a Fields,
    /// Fields without which the object is refused: that they are there at all is checked elsewhere.
    pub(super) required: &'a [&'static str],
    /// The types above it, from the top, its own too.
    pub(super) above: &'a [&'static str],
}

impl<'a> Typed<'a> {
    /// A field with a value: neither null nor an empty text, list or map of any keys, which a server takes for none.
    fn given(&self, field: &str) -> Option<&'a Value> {
        let value = self.map.get(field)?;
        let is_none = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty() && matches!(self.fields.get(field), Some(Form::Map(_))),
            Value::Bool(_) | Value::Number(_) => false,
        };
        (!is_none).then_some(value)
    }

    fn text(&self, field: &str) -> Option<&'a str> {
        self.given(field).and_then(Value::as_str)
    }

    fn kind(&self) -> &'static str {
        kind_of(self.name)
    }

    /// Whether a field stands there under a name that the type does not have, which is a finding of its own.
    fn has_unknown(&self) -> bool {
        self.map.keys().any(|key| !self.fields.contains_key(key.as_str()))
    }

    fn is_absent(&self, field: &str) -> bool {
        self.map.get(field).is_none_or(Value::is_null)
    }
}

/// What is wrong between the fields of an object.
pub(super) fn faults(it: Typed<'_>) -> Vec<Fault> {
    let mut found = Vec::new();
    for rule in rules(it.name) {
        match *rule {
            One(fields) => union(it, fields, (true, true), &mut found),
            Rule::Some(fields) => union(it, fields, (true, false), &mut found),
            Most(fields) => union(it, fields, (false, true), &mut found),
            OneSource => union(it, &sources(it), (true, true), &mut found),
            MostSources => union(it, &sources(it), (false, true), &mut found),
            Filled(field) => found.extend(filled(it, field)),
            Needs(field, values, then) => found.extend(needs(it, field, values, then)),
            Only(field, values, then) => found.extend(only(it, field, values, then)),
            With(field, then) => found.extend(with(it, field, then)),
        }
    }
    own::check(it, &mut found);
    found.retain(|fault| fault.code != error_code::OBJECT_FIELD_MISSING || !it.has_unknown());
    found
}

/// Fields that are types of their own, but for those that say where the object belongs.
fn sources(it: Typed<'_>) -> Vec<&'static str> {
    let is_source = |field: &str, form: &Form| {
        matches!(form, Form::Fields(_)) && !matches!(field, "claimRef" | "nodeAffinity")
    };
    it.fields.iter().filter(|(field, form)| is_source(field, form)).map(|(field, _)| *field).collect()
}

fn union(it: Typed<'_>, fields: &[&'static str], (least, most): (bool, bool), found: &mut Vec<Fault>) {
    let given: Vec<&str> = fields.iter().copied().filter(|field| it.given(field).is_some()).collect();
    match *given {
        [] if least => {
            let names: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
            let help = format!("write {}", super::alternatives(&names));
            let few = fields.len() <= 5;
            let what = if few { listed(&names, "nor") } else { "a source".to_owned() };
            let message = match few {
                true => format!("{} has neither {what}", it.kind()),
                false => format!("{} has no {}", it.kind(), what.trim_start_matches("a ")),
            };
            found.push(Fault::missing("", message, help));
        }
        [first, second, ..] if most => {
            let message = format!("`{first}` and `{second}` exclude each other");
            found.push(Fault::wrong(format!("/{second}"), message, "remove one of the two"));
        }
        _ => {}
    }
}

/// `a nor b`, `a, b nor c`.
fn listed(names: &[String], word: &str) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {word} {last}", first.join(", ")),
    }
}

fn filled(it: Typed<'_>, field: &'static str) -> Option<Fault> {
    if it.given(field).is_some() || (it.is_absent(field) && it.required.contains(&field)) {
        return None;
    }
    let message = match it.is_absent(field) {
        true => format!("{} has no `{field}`", it.kind()),
        false => format!("`{field}` of {} is empty", it.kind()),
    };
    Some(Fault::missing(format!("/{field}"), message, format!("write `{field}`")))
}

fn needs(it: Typed<'_>, field: &str, values: &[&str], then: &'static str) -> Option<Fault> {
    let value = it.text(field).filter(|value| values.contains(value))?;
    it.given(then).is_none().then(|| {
        let message = format!("`{field}: {}` needs `{then}`", shown(value));
        Fault::missing(format!("/{then}"), message, format!("write `{then}`"))
    })
}

fn only(it: Typed<'_>, field: &str, values: &[&str], then: &'static str) -> Option<Fault> {
    // Without a value the default of the field decides, which may be the one that is wanted.
    let value = it.text(field).filter(|value| !values.contains(value))?;
    it.given(then).map(|_| {
        let message = format!("`{then}` does not go with `{field}: {}`", shown(value));
        Fault::wrong(format!("/{then}"), message, format!("remove `{then}`"))
    })
}

fn with(it: Typed<'_>, field: &str, then: &'static str) -> Option<Fault> {
    it.given(field)?;
    it.given(then).is_none().then(|| {
        let message = format!("`{field}` needs `{then}`");
        Fault::missing(format!("/{then}"), message, format!("write `{then}`"))
    })
}
