//! `cargo xtask kubernetes`: data about kinds that is made from the schemas of other projects and committed.
//!
//! Only these tasks ask package registries, through their own clients; builds and tests read what is committed.

mod registry;
mod schema;

use std::path::Path;

/// Runs one of the tasks.
pub(crate) fn run(root: &Path, task: Option<&str>) -> Result<(), String> {
    match task {
        Some("schema") => schema::write(root),
        _ => Err("say what to write: `schema`".to_owned()),
    }
}
