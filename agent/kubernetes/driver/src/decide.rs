//! What is done with one object of an order, from what is there and what is remembered: the table of a deploy and of a
//! rollback, as one total function.

use serde_json::{Value, json};
use trimaran_kubernetes_core::config::BASE_LABEL;
use trimaran_model::action::Failure;
use trimaran_model::id::{Digest, Fence};
use trimaran_model::reason::ReasonCode;

use crate::inventory::{Change, Receipt};
use crate::object_key::ObjectKey;
use crate::order::Manifest;
use crate::platform::{Expect, Live, LiveObject};
use crate::stamp::{Author, stamped};

/// Everything that the decision about one object depends on.
pub(crate) struct Situation<'a> {
    pub(crate) author: &'a Author,
    pub(crate) is_restore: bool,
    pub(crate) manifest: &'a Manifest,
    pub(crate) live: &'a Live,
    /// From before this order.
    pub(crate) before: Option<&'a Receipt>,
    /// What this order intended, before a crash.
    pub(crate) intended: Option<&'a Receipt>,
    /// The release defines the kind itself.
    pub(crate) is_defined_here: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    Apply {
        document: Value,
        expect: Expect,
        receipt: Receipt,
        /// It is taken over: what it was is kept first.
        keep: bool,
    },
    /// It becomes what it was before it was taken over.
    PutBack {
        uid: String,
        resource_version: String,
        receipt: Receipt,
    },
    /// Only who is responsible for it changes.
    Stamp {
        uid: String,
        resource_version: String,
        merge: Value,
        receipt: Receipt,
    },
    /// One of its fields changes, apart from the release.
    Adjust {
        uid: String,
        resource_version: String,
        merge: Value,
        receipt: Receipt,
    },
    /// This order applied it already.
    Applied(Receipt),
    /// It is not there and is not made again.
    Leave,
    /// It is on its way out and has to be gone first.
    Wait {
        message: String,
    },
    /// A later order was here.
    Superseded {
        by: Fence,
    },
    Refuse(Failure),
}

pub(crate) fn decide(situation: &Situation<'_>) -> Decision {
    let key = &situation.manifest.key;
    match situation.live {
        Live::NotServed if !situation.is_defined_here => Decision::Refuse(failure(
            ReasonCode::KindNotServed,
            format!("{key}: the cluster does not serve {} of {}", key.kind, key.api_version),
        )),
        Live::Absent | Live::NotServed => absent(situation),
        Live::Present(live) => present(situation, live),
    }
}

fn absent(situation: &Situation<'_>) -> Decision {
    let key = &situation.manifest.key;
    if situation.is_restore && runs_once(key) {
        return Decision::Leave;
    }
    Decision::Apply {
        document: stamped(&situation.manifest.document, situation.author),
        expect: Expect::Absent,
        receipt: Receipt {
            uid: None,
            created_by: Some(situation.author.release),
            change: Change::Created,
            replicas_before: None,
            ..intent(situation)
        },
        keep: false,
    }
}

fn present(situation: &Situation<'_>, live: &LiveObject) -> Decision {
    let (key, author) = (&situation.manifest.key, situation.author);
    let others = |installation: &&String| **installation != author.installation_text();
    if let Some(finalizers) = &live.terminating {
        return Decision::Wait { message: terminating(key, finalizers) };
    }
    if let Some(by) = live.marks.fence.filter(|fence| *fence > author.fence) {
        return Decision::Superseded { by };
    }
    if let Some(other) = live.marks.installation.as_ref().filter(others) {
        let message = format!("{key} belongs to the installation {other}; an object can have only one");
        return Decision::Refuse(failure(ReasonCode::ForeignObject, message));
    }
    let known = situation.before.filter(|receipt| is_same(receipt, live));
    // A rollback that is begun again restores what the first try was to restore, not what it left.
    let to_restore = known.filter(|_| situation.is_restore).and_then(|receipt| receipt.replicas_before);
    let keep = is_of_others(known, live);
    let receipt = Receipt {
        uid: Some(live.uid.clone()),
        created_by: known.and_then(|receipt| receipt.created_by),
        adopted_by: if keep { Some(author.release) } else { known.and_then(|receipt| receipt.adopted_by) },
        change: Change::Updated,
        replicas_before: to_restore.or(live.replicas),
        ..intent(situation)
    };
    if live.marks.fence == Some(author.fence) && live.marks.assignment == Some(author.assignment) {
        return Decision::Applied(resumed(situation, live, receipt));
    }
    let (uid, resource_version) = (live.uid.clone(), live.resource_version.clone());
    if situation.is_restore && runs_once(key) {
        let receipt = Receipt { adopted_by: known.and_then(|receipt| receipt.adopted_by), ..receipt };
        return Decision::Stamp { uid, resource_version, merge: marks_alone(author), receipt };
    }
    let replicas = if live.scaled_by.is_some() {
        None
    } else if situation.is_restore {
        receipt.replicas_before
    } else {
        written_replicas(&situation.manifest.document).or(live.replicas)
    };
    let document = with_replicas(stamped(&situation.manifest.document, author), replicas);
    Decision::Apply { document, expect: Expect::Exists { uid, resource_version }, receipt, keep }
}

/// Whether no release has made the object what it is: it has no mark, and nothing says that it lost one.
fn is_of_others(known: Option<&Receipt>, live: &LiveObject) -> bool {
    let was_applied = |receipt: &Receipt| {
        receipt.created_by.is_some() || (receipt.adopted_by.is_some() && receipt.fields.is_some())
    };
    live.marks.installation.is_none() && !known.is_some_and(was_applied)
}

/// What is done to end an installation, or to leave a release, with an object that was taken over.
pub(crate) fn put_back(author: &Author, live: &Live, before: &Receipt) -> Decision {
    let Live::Present(object) = live else { return Decision::Leave };
    if let Some(by) = object.marks.fence.filter(|fence| *fence > author.fence) {
        return Decision::Superseded { by };
    }
    let is_ours = |installation: &String| *installation == author.installation_text();
    let is_of_another = !object.marks.installation.as_ref().is_none_or(is_ours);
    if !is_same(before, object) || object.terminating.is_some() || is_of_another {
        return Decision::Leave;
    }
    let (uid, resource_version) = (object.uid.clone(), object.resource_version.clone());
    let receipt = Receipt {
        uid: Some(uid.clone()),
        assignment: author.assignment,
        change: Change::Updated,
        ..before.clone()
    };
    Decision::PutBack { uid, resource_version, receipt }
}

/// What every receipt of this order has in common.
fn intent(situation: &Situation<'_>) -> Receipt {
    Receipt {
        key: situation.manifest.key.clone(),
        uid: None,
        assignment: situation.author.assignment,
        created_by: None,
        change: Change::Updated,
        replicas_before: None,
        is_versioned: is_versioned(&situation.manifest.document),
        adopted_by: None,
        fields: None,
    }
}

/// The receipt of an object that carries this order's marks already: what was intended, with its uid.
fn resumed(situation: &Situation<'_>, live: &LiveObject, otherwise: Receipt) -> Receipt {
    let intended = situation.intended.or(situation.before);
    let own = intended.filter(|receipt| receipt.assignment == situation.author.assignment);
    let receipt = own.cloned().unwrap_or(otherwise);
    Receipt { uid: Some(live.uid.clone()), fields: live.fields, ..receipt }
}

/// Whether a receipt speaks of this object and not of a later one of the same name.
pub(crate) fn is_same(receipt: &Receipt, live: &LiveObject) -> bool {
    match &receipt.uid {
        Some(uid) => *uid == live.uid,
        None => live.marks.assignment == Some(receipt.assignment),
    }
}

/// An object that does its work once: made again it would do it again.
pub(crate) fn runs_once(key: &ObjectKey) -> bool {
    (key.group() == "batch" && key.kind == "Job") || (key.group().is_empty() && key.kind == "Pod")
}

fn is_versioned(document: &Value) -> bool {
    document.pointer("/metadata/labels").and_then(|labels| labels.get(BASE_LABEL)).is_some()
}

fn written_replicas(document: &Value) -> Option<u32> {
    document.pointer("/spec/replicas")?.as_u64().and_then(|count| u32::try_from(count).ok())
}

/// `None` leaves the number to whoever else sets it. An object without replicas stays without.
fn with_replicas(mut document: Value, replicas: Option<u32>) -> Value {
    if let Some(spec) = document.get_mut("spec").and_then(Value::as_object_mut) {
        match replicas {
            Some(count) => spec.insert("replicas".to_owned(), json!(count)),
            None => spec.shift_remove("replicas"),
        };
    }
    document
}

/// The annotations of an author and nothing else.
pub(crate) fn marks_alone(author: &Author) -> Value {
    stamped(&json!({"metadata": {}}), author)
}

/// The uid to delete with, when the object is one that a release of this installation created and may be deleted.
pub(crate) fn deletable(receipt: &Receipt, live: &LiveObject, author: &Author) -> Option<String> {
    let by: Option<Digest> = receipt.created_by;
    let fenced = live.marks.fence.is_some_and(|fence| fence > author.fence);
    (by.is_some() && is_same(receipt, live) && !live.keep && !fenced).then(|| live.uid.clone())
}

pub(crate) fn terminating(key: &ObjectKey, finalizers: &[String]) -> String {
    match finalizers {
        [] => format!("{key} is being deleted"),
        names => format!("{key} is being deleted and waits for its finalizers: {}", names.join(", ")),
    }
}

pub(crate) fn failure(code: ReasonCode, message: String) -> Failure {
    Failure { code, message, instance: None }
}

#[cfg(test)]
mod tests;
