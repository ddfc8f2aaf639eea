//! What an installation has in its cluster: a receipt for each object that one of its releases applied.
//!
//! The inventory is committed to the coordinators before the first change and after the last one, so that an agent that
//! lost its disk still knows what may be deleted. It holds the objects of the last release and, while that one is not
//! finished, those of the release before.

use std::collections::BTreeMap;

use trimaran_model::id::{AssignmentId, Digest};

use crate::cluster_id::ClusterId;
use crate::object_key::ObjectKey;
use crate::order::Goal;

/// What is remembered of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub key: ObjectKey,
    /// `None` while its creation is only intended: then the annotation of the assignment decides whether it is ours.
    pub uid: Option<String>,
    /// The assignment that applied it last.
    pub assignment: AssignmentId,
    /// The release that created it; `None` when it was there before Trimaran came.
    pub created_by: Option<Digest>,
    pub change: Change,
    /// Its number of replicas before the last release, where it has one.
    pub replicas_before: Option<u32>,
    /// A ConfigMap or Secret that is named by its content: pods of earlier revisions may still use it.
    pub is_versioned: bool,
    /// The release that took it over from others; what it was before is kept in its cluster.
    pub adopted_by: Option<Digest>,
    /// A hash of the fields that Trimaran owned when it had applied the object; `None` before that.
    pub fields: Option<u64>,
}

/// What the last release did to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Created,
    Updated,
    /// It was as the release wants it already.
    Unchanged,
}

/// The receipts of an installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The releases that were applied since the last finished one, which comes first. A rollback leaves them as they
    /// are until it is finished itself.
    pub releases: Vec<Digest>,
    /// Where all of it is.
    pub cluster: ClusterId,
    receipts: BTreeMap<ObjectKey, Receipt>,
    /// Versions of configuration that earlier releases created and that may still be used.
    older: BTreeMap<ObjectKey, Receipt>,
}

impl Inventory {
    pub fn new(releases: Vec<Digest>, receipts: impl IntoIterator<Item = Receipt>) -> Self {
        let receipts = receipts.into_iter().map(|receipt| (receipt.key.clone(), receipt)).collect();
        Self { releases, cluster: ClusterId::default(), receipts, older: BTreeMap::new() }
    }

    /// In this cluster.
    pub fn within(self, cluster: ClusterId) -> Self {
        Self { cluster, ..self }
    }

    /// With these versions of earlier releases beside what it has; what a release has is none of them.
    pub fn with_older(mut self, older: impl IntoIterator<Item = Receipt>) -> Self {
        let older = older.into_iter().filter(|receipt| !self.receipts.contains_key(&receipt.key));
        self.older = older.map(|receipt| (receipt.key.clone(), receipt)).collect();
        self
    }

    pub fn receipt(&self, key: &ObjectKey) -> Option<&Receipt> {
        self.receipts.get(key).or_else(|| self.older.get(key))
    }

    /// Of what the releases have, in the order of their keys.
    pub fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.receipts.values()
    }

    /// Of versions that no release in `releases` has, in the order of their keys.
    pub fn older(&self) -> impl Iterator<Item = &Receipt> {
        self.older.values()
    }

    /// Whether an order with this goal leaves a release: it was applied since the last finished one, which comes first
    /// and is left only where nothing follows it.
    pub(crate) fn is_left(&self, goal: &Goal, release: Digest) -> bool {
        match goal {
            Goal::Release(_) | Goal::Verify(_) | Goal::Restart(_) | Goal::Scale(..) => false,
            Goal::Restore(to) => release != to.digest && self.releases.contains(&release),
            Goal::Stop(last) => release == *last || self.releases.contains(&release),
        }
    }

    pub(crate) fn put(&mut self, receipt: Receipt) {
        self.older.remove(&receipt.key);
        self.receipts.insert(receipt.key.clone(), receipt);
    }
}
