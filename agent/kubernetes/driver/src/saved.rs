//! Phases and inventories as frozen bytes.

use trimaran_model::id::{AssignmentId, Digest};
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::kubernetes_journal::{
    WireKubernetesChange, WireKubernetesInventory, WireKubernetesJournal, WireKubernetesReceipt,
    WireKubernetesStep,
};

use crate::cluster_id::{CLUSTER_NAMESPACE, ClusterId};
use crate::inventory::{Change, Inventory, Receipt};
use crate::object_key::ObjectKey;
use crate::phase::{Kept, Step};

const NAMESPACE: &str = "Namespace";

pub(crate) fn save(kept: &Kept) -> Vec<u8> {
    WireKubernetesJournal {
        step: match kept.step {
            Step::Surveying => WireKubernetesStep::Surveying,
            Step::Committing => WireKubernetesStep::Committing,
            Step::Applying => WireKubernetesStep::Applying,
            Step::Settling => WireKubernetesStep::Settling,
            Step::Pruning => WireKubernetesStep::Pruning,
            Step::Closing => WireKubernetesStep::Closing,
        },
        before: inventory_to_wire(&kept.before),
        receipts: kept.receipts.values().map(receipt_to_wire).collect(),
        commits: kept.commits,
    }
    .to_bytes()
}

pub(crate) fn load(bytes: &[u8]) -> Result<Kept, CodecError> {
    let saved = WireKubernetesJournal::from_bytes(bytes)?;
    let receipts = saved.receipts.into_iter().map(receipt_from_wire);
    Ok(Kept {
        step: match saved.step {
            WireKubernetesStep::Surveying => Step::Surveying,
            WireKubernetesStep::Committing => Step::Committing,
            WireKubernetesStep::Applying => Step::Applying,
            WireKubernetesStep::Settling => Step::Settling,
            WireKubernetesStep::Pruning => Step::Pruning,
            WireKubernetesStep::Closing => Step::Closing,
        },
        before: inventory_from_wire(saved.before),
        receipts: receipts.map(|receipt| (receipt.key.clone(), receipt)).collect(),
        commits: saved.commits,
    })
}

impl Inventory {
    /// The body of a commit.
    pub fn to_bytes(&self) -> Vec<u8> {
        inventory_to_wire(self).to_bytes()
    }

    /// Reads what [`Inventory::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(inventory_from_wire(WireKubernetesInventory::from_bytes(bytes)?))
    }
}

fn inventory_to_wire(inventory: &Inventory) -> WireKubernetesInventory {
    WireKubernetesInventory {
        releases: inventory.releases.iter().map(|digest| digest.0).collect(),
        receipts: inventory.receipts().map(receipt_to_wire).collect(),
        older: inventory.older().map(receipt_to_wire).chain(landmarks(&inventory.cluster)).collect(),
    }
}

fn inventory_from_wire(wire: WireKubernetesInventory) -> Inventory {
    let releases = wire.releases.into_iter().map(Digest).collect();
    let (landmarks, older): (Vec<_>, Vec<_>) = wire.older.into_iter().partition(is_landmark);
    Inventory::new(releases, wire.receipts.into_iter().map(receipt_from_wire))
        .within(cluster_of(landmarks))
        .with_older(older.into_iter().map(receipt_from_wire))
}

/// The namespaces by which a cluster is known again, stored beside versions of configuration: no release made them. That
/// of the target has no name.
fn landmarks(id: &ClusterId) -> impl Iterator<Item = WireKubernetesReceipt> {
    let known = [(CLUSTER_NAMESPACE, id.cluster.clone()), ("", id.namespace.clone())];
    let known = known.into_iter().filter(|(_, uid)| uid.is_some());
    known.map(|(name, uid)| WireKubernetesReceipt {
        api_version: "v1".to_owned(),
        kind: NAMESPACE.to_owned(),
        namespace: String::new(),
        name: name.to_owned(),
        uid,
        assignment: 0,
        created_by: None,
        change: WireKubernetesChange::Unchanged,
        replicas_before: None,
        is_versioned: false,
        adopted_by: None,
        fields: None,
    })
}

fn is_landmark(receipt: &WireKubernetesReceipt) -> bool {
    receipt.kind == NAMESPACE && !receipt.is_versioned && receipt.created_by.is_none()
}

fn cluster_of(landmarks: Vec<WireKubernetesReceipt>) -> ClusterId {
    let (cluster, own): (Vec<_>, Vec<_>) =
        landmarks.into_iter().partition(|receipt| receipt.name == CLUSTER_NAMESPACE);
    let uid = |found: Vec<WireKubernetesReceipt>| found.into_iter().find_map(|receipt| receipt.uid);
    ClusterId { cluster: uid(cluster), namespace: uid(own) }
}

fn receipt_to_wire(receipt: &Receipt) -> WireKubernetesReceipt {
    WireKubernetesReceipt {
        api_version: receipt.key.api_version.clone(),
        kind: receipt.key.kind.clone(),
        namespace: receipt.key.namespace.clone(),
        name: receipt.key.name.clone(),
        uid: receipt.uid.clone(),
        assignment: receipt.assignment.0,
        created_by: receipt.created_by.map(|digest| digest.0),
        change: match receipt.change {
            Change::Created => WireKubernetesChange::Created,
            Change::Updated => WireKubernetesChange::Updated,
            Change::Unchanged => WireKubernetesChange::Unchanged,
        },
        replicas_before: receipt.replicas_before,
        is_versioned: receipt.is_versioned,
        adopted_by: receipt.adopted_by.map(|digest| digest.0),
        fields: receipt.fields,
    }
}

fn receipt_from_wire(wire: WireKubernetesReceipt) -> Receipt {
    Receipt {
        key: ObjectKey {
            api_version: wire.api_version,
            kind: wire.kind,
            namespace: wire.namespace,
            name: wire.name,
        },
        uid: wire.uid,
        assignment: AssignmentId(wire.assignment),
        created_by: wire.created_by.map(Digest),
        change: match wire.change {
            WireKubernetesChange::Created => Change::Created,
            WireKubernetesChange::Updated => Change::Updated,
            WireKubernetesChange::Unchanged => Change::Unchanged,
        },
        replicas_before: wire.replicas_before,
        is_versioned: wire.is_versioned,
        adopted_by: wire.adopted_by.map(Digest),
        fields: wire.fields,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_remembered_beside_versions_of_configuration() {
        let version = Receipt {
            key: ObjectKey {
                api_version: "v1".to_owned(),
                kind: "ConfigMap".to_owned(),
                namespace: "shop".to_owned(),
                name: "web-1".to_owned(),
            },
            uid: Some("u".to_owned()),
            assignment: AssignmentId(1),
            created_by: Some(Digest([1; 32])),
            change: Change::Created,
            replicas_before: None,
            is_versioned: true,
            adopted_by: None,
            fields: None,
        };
        let known = |text: &str| Some(text.to_owned());
        for cluster in [
            ClusterId::default(),
            ClusterId { cluster: known("c"), namespace: known("n") },
            ClusterId { cluster: None, namespace: known("n") },
            ClusterId { cluster: known("c"), namespace: None },
        ] {
            let inventory = Inventory::new(vec![Digest([2; 32])], []).with_older([version.clone()]);
            let inventory = inventory.within(cluster.clone());
            let read = Inventory::from_bytes(&inventory.to_bytes()).expect("it was written just now");
            assert_eq!(read, inventory);
            assert_eq!((read.older().count(), &read.cluster), (1, &cluster), "it is no version");
        }
    }
}
