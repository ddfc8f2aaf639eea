//! Collection of old versions: mark what anybody may still use, sweep the rest. Never by age.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ConfigKind;
use super::render::is_version;
use crate::identity::text;
use crate::walk::texts;

/// A version that nothing uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Removable {
    pub kind: ConfigKind,
    pub namespace: Option<String>,
    pub name: String,
    /// To be sent as a precondition: an object of the same name that came later is another one.
    pub uid: String,
}

/// Versions among `existing` that nothing uses.
///
/// `live` are all objects of the cluster that may use one: at least ReplicaSets, ControllerRevisions, Pods, Jobs
/// and CronJobs; `kept_releases` the objects of every release that a rollback may restore; `running` those of the
/// rollout in progress. A name that is anywhere in them, also as a part of a longer text and in
/// whatever namespace, is used: a version that stays for nothing costs little, one that is missing costs a
/// rollback. Objects without the label of a version, or without uid, are never removable.
pub fn collect(
    existing: &[Value],
    live: &[Value],
    kept_releases: &[Vec<Value>],
    running: &[Value],
) -> Vec<Removable> {
    let mut left: BTreeSet<&str> = BTreeSet::new();
    left.extend(existing.iter().filter(|it| is_version(it)).filter_map(|it| text(it, "/metadata/name")));
    let released = kept_releases.iter().flatten().chain(running);
    // A live ConfigMap does not keep itself alive, nor others by what it holds as text.
    let live = live.iter().filter(|it| ConfigKind::of(it).is_none());
    for object in live.chain(released) {
        if left.is_empty() {
            break;
        }
        texts(object, "", &mut |text, _| {
            for name in text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))) {
                left.remove(name);
                // A name at the end of a sentence or before a file's.
                left.remove(name.trim_matches('.'));
            }
        });
    }
    let mut removable: Vec<Removable> = existing
        .iter()
        .filter(|it| is_version(it))
        .filter_map(|it| {
            let name = text(it, "/metadata/name").filter(|name| left.contains(name))?;
            Some(Removable {
                kind: ConfigKind::of(it)?,
                namespace: text(it, "/metadata/namespace").map(str::to_owned),
                name: name.to_owned(),
                uid: text(it, "/metadata/uid")?.to_owned(),
            })
        })
        .collect();
    removable.sort();
    removable
}
