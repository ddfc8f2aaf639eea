//! Versioned configuration: ConfigMaps and Secrets named by their content, and every reference rewritten.
//!
//! A name like `app-config-6ct58987ht` says what is inside, so a change of configuration is a change of the
//! workload that uses it: pods roll, and going back to the old set restores the old configuration. [`render`]
//! makes the names and rewrites the references of a set; [`collect`] lists the old versions that nothing uses any
//! more. Where references are is data: `references/*.txt`, read by [`References`].
//!
//! Architecture invariant: rendering is a function of the set alone, and rendering its output changes nothing.
//! Deliberately not here: sealed Secrets, whose names come from a keyed hash made elsewhere, and what a cluster
//! already holds.

mod admission;
mod collect;
mod configs;
mod hash;
mod kept;
mod name;
mod rbac;
mod references;
mod render;
mod shape;

pub use collect::{Removable, collect};
pub(crate) use hash::decode;
pub use references::{Reference, ReferenceError, References};
pub use render::{Options, Rename, Rendered, render};

/// Label with the name that the author of the set gave; by it a rendered object is known again.
pub const BASE_LABEL: &str = "trimaran.dev/config-base";
/// Annotation of an object that keeps its name when it is `"false"`.
pub const VERSIONED_ANNOTATION: &str = "trimaran.dev/versioned";
/// Annotation of a pod template that uses objects which keep their names: it changes with their content.
pub const CHECKSUM_ANNOTATION: &str = "trimaran.dev/config-checksum";

/// The two kinds that hold configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigKind {
    ConfigMap,
    Secret,
}

impl ConfigKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// The kind of an object of the core group.
    pub fn of(object: &serde_json::Value) -> Option<Self> {
        if !crate::identity::group(object).is_empty() {
            return None;
        }
        match object.get("kind")?.as_str()? {
            "ConfigMap" => Some(Self::ConfigMap),
            "Secret" => Some(Self::Secret),
            _ => None,
        }
    }

    /// The resource in rules of a Role.
    fn resource(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }
}
