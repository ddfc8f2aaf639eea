//! Public keys whose certificates were revoked, as the handshakes see them: a copy of the state's rows.

use std::collections::BTreeSet;
use std::sync::RwLock;

use trimaran_transport::CertificateInfo;

/// SHA-256 digests of public keys.
#[derive(Debug, Default)]
pub(crate) struct RevokedKeys(RwLock<BTreeSet<[u8; 32]>>);

impl RevokedKeys {
    pub(crate) fn contains(&self, certificate: &CertificateInfo) -> bool {
        self.0.read().expect("no panic while the lock is held").contains(&certificate.spki.0)
    }

    /// Adds keys; they are never taken back.
    pub(crate) fn extend(&self, keys: impl IntoIterator<Item = [u8; 32]>) {
        self.0.write().expect("no panic while the lock is held").extend(keys);
    }

    pub(crate) fn all(&self) -> Vec<[u8; 32]> {
        self.0.read().expect("no panic while the lock is held").iter().copied().collect()
    }
}
