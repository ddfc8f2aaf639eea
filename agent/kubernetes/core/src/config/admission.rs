//! Parameters of admission policies: a binding names a ConfigMap or Secret, and the policy that it binds says which.
//!
//! Only a `paramRef` with a namespace of its own means one object. Without one it means the object of that name in
//! the namespace of each request, which no single new name can follow.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ConfigKind, Reference};
use crate::identity::{group, text};

/// The references of the bindings of a set whose policies are in it too, each with the index of its binding.
pub(super) fn parameters(objects: &[Value]) -> Vec<(usize, Reference)> {
    let policies: BTreeMap<(&str, &str), ConfigKind> = objects.iter().filter_map(policy).collect();
    let bindings = objects.iter().enumerate();
    bindings.filter_map(|(index, object)| Some((index, parameter(object, &policies)?))).collect()
}

/// Kind and name of a policy, and the kind of its parameters.
fn policy(object: &Value) -> Option<((&str, &str), ConfigKind)> {
    let kind = kind_of(object)?;
    let parameters = object.pointer("/spec/paramKind").and_then(ConfigKind::of)?;
    Some(((kind, text(object, "/metadata/name")?), parameters))
}

fn parameter(object: &Value, policies: &BTreeMap<(&str, &str), ConfigKind>) -> Option<Reference> {
    let policy = kind_of(object)?.strip_suffix("Binding")?;
    let kind = *policies.get(&(policy, text(object, "/spec/policyName")?))?;
    Some(Reference {
        pointer: "/spec/paramRef/name".to_owned(),
        kind,
        name: text(object, "/spec/paramRef/name")?.to_owned(),
        namespace: Some(text(object, "/spec/paramRef/namespace")?.to_owned()),
        qualified: false,
        output: false,
        template: None,
    })
}

fn kind_of(object: &Value) -> Option<&str> {
    text(object, "/kind").filter(|_| group(object) == "admissionregistration.k8s.io")
}
