//! The platform of a Kubernetes cluster: requests to its API server, and one watch of each kind that all installations
//! share.
//!
//! Everything that is decided is in `trimaran-kubernetes-driver`, every verdict in `trimaran-kubernetes-core`; here
//! requests are sent, and what watches show is gathered for one installation.
//!
//! Architecture invariants:
//! - a change leaves only while its permit allows it, asked directly before the bytes;
//! - nothing is shown of an object that is older than what a call on it was answered: a watch that lags behind is waited
//!   for, and the object is read when that takes long;
//! - silence is no evidence: a cluster that was silent for a while is shown as blind, and what it showed before is
//!   read anew when it speaks again;
//! - no program is started and none is needed, but for the credential helper that a kubeconfig names itself.
//!
//! Deliberately not here: deadlines and concurrency of calls (`trimaran-targets`), strategies that split traffic.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "this crate is the I/O of a cluster: files of credentials and clocks"
)]

mod access;
mod apply;
mod calls;
mod capacity;
mod cluster;
mod clusters;
mod credentials;
mod difference;
mod discovery;
mod events;
mod evidence;
#[cfg(test)]
mod fake;
mod floors;
mod informer;
mod kept;
mod last_output;
mod link;
mod load;
mod logs;
mod observe;
mod ownership;
mod pace;
mod place;
mod plan;
mod platform;
mod pods;
mod releases;
mod request;
mod route;
mod sealing;
mod server;
mod signs;
mod unused;
mod versions;
mod watch;

// Whose version the requests are made for is chosen by a feature, once for the program.
use k8s_openapi as _;

pub use platform::{KubernetesPlatforms, KubernetesTarget};
pub use releases::Releases;
