//! Certificates, keys and tokens: who may be what in a cluster, and how a newcomer gets its certificate.
//!
//! Not here: connections, and when a certificate is revoked (replicated state).

pub mod authority;
pub mod certificate_store;
pub(crate) mod chain;
pub mod enroll;
pub mod files;
pub mod identity;
mod pem;
pub mod revoked_keys;
pub mod trust;
