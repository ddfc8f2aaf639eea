//! Settings: from a reviewed TOML file (`--config`), with flags above it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The settings of `trimaran-agent run`.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Where to dial: an agent its coordinators, a runner its agents. Repeatable.
    #[arg(long = "endpoint", value_name = "ADDR")]
    #[serde(default, rename = "endpoints", skip_serializing_if = "Vec::is_empty")]
    pub(crate) endpoints: Vec<String>,
    /// UDP address for runners (agents only).
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// The host's own address, as its services see it (runners only); found automatically when left out.
    #[arg(long, value_name = "IP")]
    pub(crate) address: Option<IpAddr>,
    /// Directory with the secrets that services name (of a runner) or targets (of an agent): one file each, readable by this
    /// process alone.
    #[arg(long, value_name = "DIR")]
    pub(crate) secrets: Option<PathBuf>,
    /// Where the host stands, as targets select it (runners only).
    #[arg(long, value_name = "ZONE")]
    pub(crate) zone: Option<String>,
}
