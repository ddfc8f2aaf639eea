//! Public keys whose certificates were revoked, as the handshakes of a process see them.
//!
//! Keys are only added: a process that ends forgets, and learns again from the cluster's state. Not here: what
//! revokes a key, and when it may be forgotten (replicated state).

use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

use tokio::sync::watch;

use super::identity::CertificateInfo;

/// SHA-256 digests of public keys. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub struct RevokedKeys(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    keys: RwLock<Keys>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Keys {
    known: BTreeSet<[u8; 32]>,
    /// In the order in which they came: a position in it is what someone has been sent.
    order: Vec<[u8; 32]>,
}

impl RevokedKeys {
    pub fn contains(&self, certificate: &CertificateInfo) -> bool {
        self.0.keys.read().expect("no panic while the lock is held").known.contains(&certificate.spki.0)
    }

    /// Adds keys; true when there are new ones among them.
    pub fn extend(&self, keys: impl IntoIterator<Item = [u8; 32]>) -> bool {
        let mut all = self.0.keys.write().expect("no panic while the lock is held");
        let before = all.order.len();
        for key in keys {
            if all.known.insert(key) {
                all.order.push(key);
            }
        }
        let count = all.order.len();
        drop(all);
        self.0.count.send_if_modified(|at| std::mem::replace(at, count) != count);
        count > before
    }

    /// At most `max` keys behind the first `position`.
    pub fn after(&self, position: usize, max: usize) -> Vec<[u8; 32]> {
        let all = self.0.keys.read().expect("no panic while the lock is held");
        all.order.iter().skip(position).take(max).copied().collect()
    }

    /// Changes whenever there are more keys.
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.0.count.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_every_key_once_from_its_position_on() {
        let keys = RevokedKeys::default();
        let mut watch = keys.watch();
        assert!(keys.extend([[1; 32], [2; 32]]));
        assert!(watch.has_changed().expect("open"));
        watch.mark_unchanged();
        assert!(!keys.extend([[2; 32]]), "it is known");
        assert!(!watch.has_changed().expect("open"));
        assert!(keys.extend([[3; 32], [2; 32]]));
        assert_eq!(keys.after(0, 2), [[1; 32], [2; 32]]);
        assert_eq!(keys.after(2, 2), [[3; 32]]);
        assert!(keys.after(3, 2).is_empty());
    }
}
