//! What the installations of one host share.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::Semaphore;
use trimaran_model::id::HostName;

use crate::shim::Controllers;

/// What the installations of a host share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: HostName,
    pub(crate) data_dir: PathBuf,
    /// Files with the secrets of services, by name.
    pub(crate) secrets: Option<PathBuf>,
    /// What groups of services can bound.
    pub(crate) controllers: Controllers,
    /// The host's own. A runner may learn it after its services were started again.
    pub(crate) address: RwLock<IpAddr>,
    pub(crate) binary: PathBuf,
    pub(crate) cache: PathBuf,
    /// One permit: the disruptive step of a host.
    pub(crate) slot: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn address(&self) -> IpAddr {
        *self.address.read()
    }
}
