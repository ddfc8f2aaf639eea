//! Deploys of one installation on Kubernetes as a state machine without I/O: what is applied in which order, what is
//! remembered of it, when it is finished, and how it goes back.
//!
//! An order goes through five steps: look at what is there, commit what will be created, apply tier by tier, wait until
//! the new revision alone serves and stays healthy, delete what is left over. A crash, a lost answer or another agent
//! begins again with the look: what carries the order's fence was applied and is not applied again.
//!
//! Architecture invariants:
//! - nothing is changed before the intent to change it is durable here and in the log of the coordinators;
//! - nothing is written into another cluster than the one in which the installation began;
//! - an object that exists is changed or deleted only with the uid and the version that were seen; what does not exist
//!   is created only under a lease;
//! - an object that carries a larger fence stops the order;
//! - only what a release of this installation created is ever deleted, known by its uid, and never a kind whose loss
//!   would cost data;
//! - silence of the API server is neither success nor failure.
//!
//! - what others made and a release took over can be put back as they had it, for as long as that release is not followed
//!   by a finished one;
//! - versions of configuration are deleted only when neither a release to go back to nor a live object names them.
//!
//! Deliberately not here: verdicts and rendering (`trimaran-kubernetes-core`), requests and watches (the platform that
//! performs [`Call`]s), strategies that split traffic.
#![forbid(unsafe_code)]

mod adjust;
mod apply;
mod assigned;
mod cluster_id;
mod decide;
mod driver;
mod effects;
mod fields;
mod finish;
mod instances;
mod inventory;
mod live;
mod loaded;
mod object_key;
mod observe;
mod order;
mod phase;
mod platform;
mod prune;
mod refusal;
mod saved;
mod serving;
mod settle;
mod stamp;
mod standing;
mod survey;
mod tier;

pub use adjust::{ADJUSTER, RESTART_ANNOTATION};
pub use assigned::{Answered, Ask, Assigned, AssignedPhase, Loaded};
pub use cluster_id::{CLUSTER_NAMESPACE, ClusterId, other_cluster};
pub use driver::KubernetesDriver;
pub use fields::{MANAGER, is_replaced};
pub use inventory::{Change, Inventory, Receipt};
pub use live::{PRUNE_ANNOTATION, content, is_same_content};
pub use loaded::release_of;
pub use object_key::ObjectKey;
pub use observe::{Moment, Observer};
pub use order::{Goal, InvalidRelease, Manifest, OnConflict, Order, Release};
pub use phase::Phase;
pub use platform::{
    Call, EndedContainer, Expect, FieldOwner, Instance, InstanceState, Live, LiveObject, Observation,
    ObservedObject, Pods, Query, Refusal, Reply, StuckPod,
};
pub use stamp::{
    ASSIGNMENT_ANNOTATION, FENCE_ANNOTATION, INSTALLATION_ANNOTATION, Marks, RELEASE_ANNOTATION,
};
pub use standing::{Health, health};
