//! What a host is, and `DATA/host`: its name and address, so that commands by hand need no options.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use trimaran_model::id::HostName;

use crate::filesystem::{FileSystem as _, OsFileSystem};

/// What a host is.
#[derive(Debug, Clone)]
pub struct HostSettings {
    pub data_dir: PathBuf,
    pub name: HostName,
    /// The host's own address: where probes without a host go.
    pub address: IpAddr,
    /// Files with the secrets of services, by name.
    pub secrets: Option<PathBuf>,
    /// Started again as `BINARY shim …` for each service.
    pub binary: PathBuf,
}

/// What the last owner of a data directory said of its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostIdentity {
    pub name: HostName,
    pub address: IpAddr,
}

impl HostIdentity {
    pub(crate) fn of(settings: &HostSettings) -> Self {
        Self { name: settings.name.clone(), address: settings.address }
    }

    /// `None` when no runner has written it yet, or in a form that is not ours.
    pub fn load(data_dir: &Path) -> Option<Self> {
        let text = String::from_utf8(OsFileSystem.read(&data_dir.join("host")).ok()?).ok()?;
        let (name, address) = text.trim().split_once(' ')?;
        Some(Self { name: name.parse().ok()?, address: address.parse().ok()? })
    }

    pub(crate) fn save(&self, data_dir: &Path) -> io::Result<()> {
        if Self::load(data_dir).as_ref() == Some(self) {
            return Ok(());
        }
        let temporary = data_dir.join("host.tmp");
        OsFileSystem.write_synced(&temporary, format!("{} {}\n", self.name, self.address).as_bytes())?;
        OsFileSystem.rename(&temporary, &data_dir.join("host"))?;
        OsFileSystem.sync_dir(data_dir)
    }
}

/// Identity of the kernel's present boot (random(4), `boot_id`): times since boot say nothing beyond it.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
