//! What is asked of an API server, as the logic above it sees it: in production a cluster, in tests a model.

use std::collections::BTreeMap;
use std::future::Future;

/// `metadata.resourceVersion`: another one after each change of an object, and compared as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

/// Keys and values of a Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

/// New values of keys; `None` removes one. Keys that are not named stay.
pub type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// A Secret as it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    pub version: Version,
    pub data: Data,
}

/// A Lease as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRecord {
    pub version: Version,
    /// Empty when it was released.
    pub holder: String,
    /// How long it is good for after it was renewed.
    pub seconds: u64,
    /// How often it changed hands.
    pub transitions: u32,
}

/// Why a request has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There is another version than the one that was named, no object any more, or already one. Nothing was done.
    #[error("another version is there")]
    Conflict,
    /// Nothing was done, and nothing will be before someone changes something.
    #[error("{0}")]
    Refused(String),
    /// Whether it was done is not known.
    #[error("{0}")]
    Unclear(String),
}

/// Secrets of one namespace, by name.
pub trait Secrets: Send + Sync {
    fn read(&self, name: &str) -> impl Future<Output = Result<Option<Stored>, ApiError>> + Send;

    /// Makes one that is not there yet.
    fn create(&self, name: &str, data: &Data) -> impl Future<Output = Result<Version, ApiError>> + Send;

    /// Changes one that has this version.
    fn change(
        &self,
        name: &str,
        version: &Version,
        changes: &Changes,
    ) -> impl Future<Output = Result<Version, ApiError>> + Send;

    /// Removes one that has this version.
    fn delete(&self, name: &str, version: &Version) -> impl Future<Output = Result<(), ApiError>> + Send;
}

/// Leases of one namespace, by name.
pub trait Leases: Send + Sync {
    fn read_lease(&self, name: &str) -> impl Future<Output = Result<Option<LeaseRecord>, ApiError>> + Send;

    /// Makes one that is not there yet, held by `holder`.
    fn create_lease(
        &self,
        name: &str,
        holder: &str,
    ) -> impl Future<Output = Result<Version, ApiError>> + Send;

    /// Renews the lease of `holder`, or takes it for it where `transitions` is given.
    fn renew_lease(
        &self,
        name: &str,
        version: &Version,
        holder: &str,
        transitions: Option<u32>,
    ) -> impl Future<Output = Result<Version, ApiError>> + Send;

    /// Gives it up: whoever asks next may have it at once.
    fn release_lease(
        &self,
        name: &str,
        version: &Version,
    ) -> impl Future<Output = Result<(), ApiError>> + Send;
}
