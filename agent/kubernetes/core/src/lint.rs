//! Lint of manifests: what an API server will refuse, and what has surprised people, found before a deploy.
//!
//! [`lint`] checks a whole set at once; each rule group is a file below. An error is certain: a server refuses the
//! object, server-side apply cannot merge it, or its pods can never start. Everything else is a warning.
//! Deliberately not here: schemas of custom resources (a server's dry run has them), and files with their lines.

mod config;
mod disruption;
mod encrypted;
mod identity;
mod immutable;
mod lists;
mod quantity;
mod rollout;
mod schema;
mod server_fields;
mod set;
mod sizes;
mod texts;
mod unrendered;
mod versions;
mod workload;

use serde_json::Value;

pub use self::set::Options;

use self::set::Set;
use crate::finding::Finding;

/// Checks a set of objects.
///
/// Total: any JSON value may be in the set. Findings are sorted by object and pointer.
pub fn lint(objects: &[Value], options: Options<'_>) -> Vec<Finding> {
    let set = Set::new(objects, options);
    let mut found = Vec::new();
    for rule in [
        identity::check,
        unrendered::check,
        texts::check,
        lists::check,
        sizes::check,
        versions::check,
        server_fields::check,
        config::check,
        immutable::check,
        rollout::check,
        disruption::check,
        workload::check,
        schema::check,
    ] {
        rule(&set, &mut found);
    }
    let encrypted = encrypted::check(&set);
    found.retain(|it| encrypted.iter().all(|other| other.object != it.object));
    found.extend(encrypted);
    found.sort();
    found.dedup();
    found
}
