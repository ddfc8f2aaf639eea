//! `cargo xtask kubernetes`: data about kinds that is made from the schemas of other projects and committed.
//!
//! Only these tasks ask package registries, through their own clients; builds and tests read what is committed.

mod detect;
mod kopium;
mod node;
mod references;
mod registry;
mod schema;
mod tree;
mod typescript;

use std::path::Path;

/// Runs one of the tasks.
pub(crate) fn run(root: &Path, task: Option<&str>) -> Result<(), String> {
    match task {
        Some("references") => references::write(root),
        Some("schema") => schema::write(root),
        _ => Err("say what to write: `references` or `schema`".to_owned()),
    }
}
