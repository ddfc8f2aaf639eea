//! What an agent stores of an installation on Kubernetes: the journal of an order, and the inventory that it commits.
//!
//! The driver converts these structs from and to its own; nothing here decides.

use bincode::{Decode, Encode};

use crate::codec::{Message, kind};

/// Where an order is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireKubernetesJournal {
    pub step: WireKubernetesStep,
    /// The inventory as it was when the order began.
    pub before: WireKubernetesInventory,
    /// What the order intends to change, and what it changed.
    pub receipts: Vec<WireKubernetesReceipt>,
    pub commits: u32,
}

impl Message for WireKubernetesJournal {
    const KIND: u16 = kind::KUBERNETES_JOURNAL;
    const VERSION: u16 = 1;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WireKubernetesStep {
    Surveying,
    Committing,
    Applying,
    Settling,
    Pruning,
    Closing,
}

/// The body of a commit: what an installation has in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireKubernetesInventory {
    /// Applied since the last finished release, which comes first.
    pub releases: Vec<[u8; 32]>,
    pub receipts: Vec<WireKubernetesReceipt>,
    /// Versions of configuration of earlier releases.
    pub older: Vec<WireKubernetesReceipt>,
}

impl Message for WireKubernetesInventory {
    const KIND: u16 = kind::KUBERNETES_INVENTORY;
    const VERSION: u16 = 1;
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WireKubernetesReceipt {
    pub api_version: String,
    pub kind: String,
    /// Empty for objects of the whole cluster.
    pub namespace: String,
    pub name: String,
    /// `None` while its creation is only intended.
    pub uid: Option<String>,
    pub assignment: u64,
    pub created_by: Option<[u8; 32]>,
    pub change: WireKubernetesChange,
    pub replicas_before: Option<u32>,
    pub is_versioned: bool,
    pub adopted_by: Option<[u8; 32]>,
    /// A hash of the fields that were owned after the apply.
    pub fields: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum WireKubernetesChange {
    Created,
    Updated,
    Unchanged,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::encode;

    #[test]
    fn golden_bytes_of_version_1() {
        let receipt = WireKubernetesReceipt {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: "n".to_owned(),
            name: "p".to_owned(),
            uid: Some("u".to_owned()),
            assignment: 5,
            created_by: Some([7; 32]),
            change: WireKubernetesChange::Unchanged,
            replicas_before: Some(3),
            is_versioned: true,
            adopted_by: Some([9; 32]),
            fields: Some(6),
        };
        let before = WireKubernetesInventory {
            releases: vec![[8; 32]],
            receipts: vec![receipt.clone()],
            older: Vec::new(),
        };
        let journal = WireKubernetesJournal {
            step: WireKubernetesStep::Settling,
            before: before.clone(),
            receipts: vec![WireKubernetesReceipt {
                uid: None,
                created_by: None,
                adopted_by: None,
                fields: None,
                ..receipt
            }],
            commits: 2,
        };
        let head = [2, b'v', b'1', 3, b'P', b'o', b'd', 1, b'n', 1, b'p'];
        let mut inventory = vec![1];
        inventory.extend([8; 32]);
        inventory.push(1);
        inventory.extend(head);
        inventory.extend([1, 1, b'u', 5, 1]);
        inventory.extend([7; 32]);
        inventory.extend([2, 1, 3, 1, 1]);
        inventory.extend([9; 32]);
        // Field hash 6, nothing older.
        inventory.extend([1, 6, 0]);
        assert_eq!(encode(&before), inventory);
        let mut expected = vec![3];
        expected.extend(inventory);
        expected.push(1);
        expected.extend(head);
        // No uid, assignment 5, no creator; unchanged, three replicas before, versioned, created by us, no fields; two
        // commits.
        expected.extend([0, 5, 0, 2, 1, 3, 1, 0, 0, 2]);
        assert_eq!(encode(&journal), expected);
        assert_eq!(WireKubernetesJournal::from_bytes(&journal.to_bytes()), Ok(journal));
        assert_eq!(WireKubernetesInventory::from_bytes(&before.to_bytes()), Ok(before));
    }
}
