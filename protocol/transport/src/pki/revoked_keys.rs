//! Public keys whose certificates were revoked, as the handshakes of a process see them, and with them what revoked issuers
//! signed.
//!
//! A revoked issuer may have certified others while it was a member; those go on. So an issuer that stands below a revoked
//! one in a chain is believed when it is known as the key of a coordinator, and no other one is.
//!
//! A process that ends forgets, and learns again from the cluster's state. Not here: what revokes a key, who is sent it,
//! and until when it counts (replicated state).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use trimaran_model::id::Digest;
use trimaran_model::time::WallTime;

use super::identity::CertificateInfo;

/// SHA-256 digests of public keys, each with the end of its last certificate. A clone is another handle.
#[derive(Debug, Clone, Default)]
pub struct RevokedKeys(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    revoked: BTreeMap<[u8; 32], WallTime>,
    /// Keys with which coordinators sign or signed, the revoked ones among them.
    issuers: BTreeSet<[u8; 32]>,
}

impl RevokedKeys {
    /// Whether the certificate's own key is revoked.
    pub fn contains(&self, certificate: &CertificateInfo) -> bool {
        self.read().revoked.contains_key(&certificate.spki.0)
    }

    /// Whether a revoked issuer signed the certificate, or one that no one knows and that a revoked one certified.
    pub fn refuses_issuer(&self, certificate: &CertificateInfo) -> bool {
        let known = self.read();
        let is_revoked = |issuer: &Digest| known.revoked.contains_key(&issuer.0);
        let issuers = &certificate.issuers;
        issuers.first().is_some_and(is_revoked)
            || issuers.windows(2).any(|pair| is_revoked(&pair[1]) && !known.issuers.contains(&pair[0].0))
    }

    /// Adds keys with which coordinators sign or signed.
    pub fn add_issuers(&self, keys: impl IntoIterator<Item = [u8; 32]>) {
        self.write().issuers.extend(keys);
    }

    /// Every key with which a coordinator signs or signed.
    pub fn issuers(&self) -> Vec<[u8; 32]> {
        self.read().issuers.iter().copied().collect()
    }

    /// Adds keys, and forgets those whose time is over; true when there are new ones among them.
    pub fn extend(&self, now: WallTime, keys: impl IntoIterator<Item = ([u8; 32], WallTime)>) -> bool {
        let all = &mut self.write().revoked;
        all.retain(|_, until| *until >= now);
        let mut new = false;
        for (key, until) in keys.into_iter().filter(|(_, until)| *until >= now) {
            let known = all.insert(key, until);
            new |= known.is_none();
        }
        new
    }

    pub fn len(&self) -> usize {
        self.read().revoked.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_until_their_time_is_over() {
        let keys = RevokedKeys::default();
        let until = |ms| WallTime(ms);
        assert!(keys.extend(until(0), [([1; 32], until(10)), ([2; 32], until(20))]));
        assert!(!keys.extend(until(0), [([2; 32], until(20))]), "it is known");
        assert!(!keys.extend(until(5), [([3; 32], until(4))]), "it is over");
        assert_eq!(keys.len(), 2);
        assert!(keys.extend(until(15), [([4; 32], until(40))]));
        assert_eq!(keys.len(), 2, "the first is over");
    }

    #[test]
    fn what_a_removed_coordinator_certified_before_goes_on_and_nothing_else() {
        let keys = RevokedKeys::default();
        let signed_by = |issuers: &[u8]| CertificateInfo {
            cluster: "c".to_owned(),
            identity: trimaran_model::id::Identity::Agent("lab".parse().expect("a name")),
            serial: Vec::new(),
            spki: Digest([99; 32]),
            fingerprint: Digest([0; 32]),
            not_before: WallTime(0),
            not_after: WallTime(100),
            issuers: issuers.iter().map(|it| Digest([*it; 32])).collect(),
        };
        keys.add_issuers([[1; 32], [2; 32], [3; 32]]);
        assert!(!keys.refuses_issuer(&signed_by(&[1])) && !keys.refuses_issuer(&signed_by(&[9, 1])));
        keys.extend(WallTime(0), [([1; 32], WallTime(1000))]);
        assert!(keys.refuses_issuer(&signed_by(&[1])), "it signs no more");
        assert!(!keys.refuses_issuer(&signed_by(&[2, 1])), "it was certified before");
        assert!(!keys.refuses_issuer(&signed_by(&[4, 2, 1])), "a newcomer of that one");
        assert!(keys.refuses_issuer(&signed_by(&[9, 1])), "made since");
        assert!(keys.refuses_issuer(&signed_by(&[2, 9, 1])));
        keys.extend(WallTime(0), [([2; 32], WallTime(1000))]);
        assert!(!keys.refuses_issuer(&signed_by(&[3, 2, 1])), "each was a coordinator");
        assert!(keys.refuses_issuer(&signed_by(&[4, 2, 1])), "not known before it was removed");
    }
}
