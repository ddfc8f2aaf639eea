//! What the driver asks of a cluster, and what it is answered.

use std::collections::BTreeSet;

use serde_json::Value;
use trimaran_model::id::{Digest, InstallationId};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Timestamp;
use trimaran_model::verdict::{Fault, Verdict};

use crate::cluster_id::ClusterId;
use crate::object_key::ObjectKey;
use crate::order::OnConflict;
use crate::stamp::Marks;

/// One request; small ones may be several requests to the API server.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Which cluster this is. Answer: `Identified`.
    Identify,
    /// The live objects of these keys. Answer: `Live`, in the same order.
    Read { keys: Vec<ObjectKey> },
    /// Server-side apply with the field manager [`MANAGER`](crate::MANAGER). `keep`: what is there belongs to others yet, and
    /// is kept first, to be put back. Answer: `Applied`.
    Apply { key: ObjectKey, document: Value, expect: Expect, on_conflict: OnConflict, keep: bool },
    /// Merges some fields into an object that exists. Answer: `Applied`.
    Edit { key: ObjectKey, uid: String, resource_version: String, merge: Value },
    /// As `Edit`, and the fields become those of [`ADJUSTER`](crate::ADJUSTER). Answer: `Applied`.
    Adjust { key: ObjectKey, uid: String, resource_version: String, merge: Value },
    /// Makes an object what it was when it was kept, as its owners had it and without marks. One that has no marks is
    /// left as it is. Answer: `Applied`.
    PutBack { key: ObjectKey, uid: String, resource_version: String },
    /// Deletes the object of this uid, dependents first for workloads, in this version where one is named. Answer:
    /// `Deleted`, also when it is gone.
    Delete { key: ObjectKey, uid: String, resource_version: Option<String> },
    /// Which of these versions of configuration neither a release of `retained` nor a live object names. Answer:
    /// `Unused`.
    Unused { versions: Vec<ObjectKey>, retained: BTreeSet<Digest> },
}

impl Call {
    /// Whether it may create something: it is made only under a lease.
    pub fn creates(&self) -> bool {
        matches!(self, Self::Apply { expect: Expect::Absent, .. } | Self::Apply { keep: true, .. })
    }
}

/// What must be true of an object for a call to have its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// There is none of this name: it is created, and refused when there is one.
    Absent,
    /// It is this one, in this version.
    Exists { uid: String, resource_version: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Identified(ClusterId),
    Live(Vec<Live>),
    Applied {
        object: LiveObject,
        /// Whether anything but annotations of Trimaran changed.
        changed: bool,
    },
    Deleted,
    Unused(BTreeSet<ObjectKey>),
    Refused(Refusal),
}

/// What there is of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Live {
    Absent,
    /// The cluster has no such kind or version.
    NotServed,
    Present(LiveObject),
}

/// The parts of a live object that decisions need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveObject {
    pub uid: String,
    pub resource_version: String,
    /// 0 for kinds without one.
    pub generation: u64,
    pub marks: Marks,
    /// Its deletion was requested; the finalizers that it waits for.
    pub terminating: Option<Vec<String>>,
    /// `spec.replicas`, where there is one.
    pub replicas: Option<u32>,
    /// Instances that are ready, as its own status counts them; `None` for what has no instances.
    pub serving: Option<u32>,
    /// The HorizontalPodAutoscaler that sets its number of replicas.
    pub scaled_by: Option<String>,
    /// What comes after it can use it: a namespace is active, a definition established; anything else at once.
    pub is_usable: bool,
    /// It must not be deleted: `trimaran.dev/prune: "false"`.
    pub keep: bool,
    /// A hash of the fields that Trimaran owns.
    pub fields: Option<u64>,
}

/// Why a call had no effect. Messages are the API server's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is not the object or the version that was expected any more.
    Moved,
    FieldConflict {
        fields: Vec<FieldOwner>,
        message: String,
    },
    /// The object is not allowed, whoever asks: a wrong field, an immutable one.
    Invalid {
        message: String,
    },
    /// A webhook or policy denies it.
    Denied {
        message: String,
    },
    /// Who asks has no right to.
    Forbidden {
        message: String,
    },
    Quota {
        message: String,
    },
    NotServed {
        message: String,
    },
    NoNamespace {
        message: String,
    },
    NamespaceEnding {
        message: String,
    },
    WebhookUnavailable {
        message: String,
    },
    /// Nothing can be said: overloaded, not reachable, broken.
    Unavailable {
        message: String,
    },
}

/// A field that the release sets differently from the manager that owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldOwner {
    pub manager: String,
    /// `.spec.template.spec.containers[name="web"].image`.
    pub field: String,
}

/// What to watch: these objects and all that belongs to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    pub installation: InstallationId,
    pub keys: BTreeSet<ObjectKey>,
}

/// What a watch shows, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Since when nothing was received of the cluster; `None` while it speaks.
    pub blind_since: Option<Timestamp>,
    pub objects: Vec<ObservedObject>,
    /// The pods of all of them, those that fail first.
    pub instances: Vec<Instance>,
    /// When time alone may change a verdict.
    pub next_check: Option<Timestamp>,
}

/// One object of the query. What is absent has no uid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedObject {
    pub key: ObjectKey,
    pub uid: Option<String>,
    pub generation: u64,
    pub marks: Marks,
    pub verdict: Verdict,
    pub reason: Option<ReasonCode>,
    pub message: String,
    pub fault: Option<Fault>,
    pub pods: Pods,
    /// A pod of an earlier revision that keeps its StatefulSet from going on.
    pub stuck: Option<StuckPod>,
    /// A hash of the fields that Trimaran owns.
    pub fields: Option<u64>,
    /// Fields that others set since Trimaran applied it.
    pub edits: Vec<FieldOwner>,
}

/// Instances of one workload; all zero for what has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pods {
    pub desired: u32,
    pub updated: u32,
    pub available: u32,
    /// Restarts of the current revision's containers.
    pub restarts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckPod {
    pub name: String,
    pub uid: String,
}

/// One pod of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub name: String,
    pub state: InstanceState,
    /// It is of the revision that the workload is to have; `None` where nothing says so.
    pub is_current: Option<bool>,
    /// What keeps it from being ready, in the platform's words.
    pub message: String,
    /// The container whose process ended.
    pub ended: Option<EndedContainer>,
}

/// A container whose process ended badly; what it printed at last may say why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndedContainer {
    pub name: String,
    pub restarts: u64,
    /// It runs again, or waits for that: what ended is the process before.
    pub is_previous: bool,
}

/// How a pod is, what is worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstanceState {
    /// A container ended or can't start.
    Failing,
    /// It is on its way to be ready.
    Starting,
    Ready,
    /// It is being deleted.
    Ending,
}
