//! A service on hosts: one process from an archive, as whom it runs, and how its health is judged.
//!
//! All defaults are filled in. Not here: what a host can do of it (`trimaran_host`), and who may ask for it.

use std::collections::{BTreeMap, BTreeSet};

use super::health::HealthCheck;
use super::lifecycle::Lifecycle;
use crate::id::ArtifactName;
use crate::time::Millis;

/// A service on hosts: an archive and one process in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostWorkload {
    /// The artifact to unpack.
    pub unpack: ArtifactName,
    pub process: Process,
    pub health: HealthCheck,
    pub lifecycle: Lifecycle,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Program and arguments; the program is relative to the release directory unless absolute. Never empty.
    pub command: Vec<String>,
    /// Counts more than `environment_files`.
    pub environment: BTreeMap<String, String>,
    /// Files of the release with lines `NAME=VALUE`; a later one counts more.
    pub environment_files: Vec<String>,
    /// Variables whose values the host keeps: the name of a file in the runner's secrets directory.
    pub secrets: BTreeMap<String, String>,
    pub account: Account,
    /// Permissions that files of the service never get: 0 to 0o777.
    pub umask: u32,
    /// Absolute, or relative to the release directory.
    pub working_directory: String,
    pub limits: ProcessLimits,
    /// What of root's rights the process has; `None`: those of its user, which is all for root and none for others.
    pub capabilities: Option<BTreeSet<Capability>>,
    /// No program that it starts has more rights than it has (prctl(2), `PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    pub stop: Stop,
    /// How it takes another configuration without a restart; `None`: it is restarted.
    pub reload: Option<Reload>,
    pub restart: Restart,
}

impl Process {
    pub const UMASK: u32 = 0o022;
    pub const WORKING_DIRECTORY: &'static str = ".";

    /// A process of the runner's user with the defaults of everything else.
    pub fn new(command: Vec<String>, stop: Stop, restart: Restart) -> Self {
        Self {
            command,
            environment: BTreeMap::new(),
            environment_files: Vec::new(),
            secrets: BTreeMap::new(),
            account: Account::default(),
            umask: Self::UMASK,
            working_directory: Self::WORKING_DIRECTORY.to_owned(),
            limits: ProcessLimits::default(),
            capabilities: None,
            no_new_privileges: true,
            stop,
            reload: None,
            restart,
        }
    }
}

/// As whom a process runs: names or numbers of the host's user database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// `None`: the runner's own user.
    pub user: Option<String>,
    /// `None`: the primary group of the user.
    pub group: Option<String>,
    /// Beside `group`; memberships of the user database don't count.
    pub groups: Vec<String>,
}

impl Account {
    /// Whether nothing was said, so that it is the runner's own.
    pub fn is_runners(&self) -> bool {
        self.user.is_none() && self.group.is_none() && self.groups.is_empty()
    }
}

/// What one service may use. The first three hold for each of its processes (setrlimit(2)), the others for all of them
/// together, where the host's runner has control groups with the controllers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessLimits {
    pub nofile: u64,
    /// Processes of its user; `None`: as the first process of the host has it.
    pub nproc: Option<u64>,
    /// Bytes of a core dump.
    pub core: u64,
    /// Bytes, from 1.
    pub memory: Option<u64>,
    /// Percent of one processor, from 1; 200 are two.
    pub cpu: Option<u32>,
    /// Processes and threads, from 1.
    pub tasks: Option<u32>,
}

impl ProcessLimits {
    /// Whether something needs a control group with controllers.
    pub fn need_group(&self) -> bool {
        self.memory.is_some() || self.cpu.is_some() || self.tasks.is_some()
    }
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self { nofile: 65_536, nproc: None, core: 0, memory: None, cpu: None, tasks: None }
    }
}

/// One of root's rights by its number (capabilities(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

/// In the order of their numbers, as the kernel has them (linux/capability.h).
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

impl Capability {
    /// All that have a name here.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).take(CAPABILITIES.len()).map(Self)
    }

    /// `net_bind_service`: the kernel's name in lower case, without `CAP_`.
    pub fn as_str(self) -> &'static str {
        CAPABILITIES[usize::from(self.0)]
    }

    /// Reads what [`Capability::as_str`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|it| it.as_str() == name)
    }

    /// Its bit in the kernel's sets.
    pub fn bit(self) -> u64 {
        1 << self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub signal: StopSignal,
    /// From the signal to SIGKILL for everything that is left.
    pub grace: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopSignal {
    Term,
    Int,
    Quit,
    Hup,
    Usr1,
    Usr2,
    Kill,
}

impl StopSignal {
    pub const ALL: [Self; 7] =
        [Self::Term, Self::Int, Self::Quit, Self::Hup, Self::Usr1, Self::Usr2, Self::Kill];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Hup => "HUP",
            Self::Usr1 => "USR1",
            Self::Usr2 => "USR2",
            Self::Kill => "KILL",
        }
    }
}

/// What makes a process read its configuration anew: `TRIMARAN_RUN_DIR/environ`, in the form of proc(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    Signal(StopSignal),
    /// A program that ends with exit code 0 when it is done; it has the new environment itself.
    Command(Vec<String>),
}

impl Reload {
    /// Signals that mean no end to a process that knows them.
    pub const SIGNALS: [StopSignal; 3] = [StopSignal::Hup, StopSignal::Usr1, StopSignal::Usr2];
}

/// When a service that ended automatically is started again. While a host verifies nothing is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    pub on: RestartOn,
    pub delay: Millis,
    /// At most `max` restarts per `per`.
    pub max: u32,
    pub per: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestartOn {
    Failure,
    Never,
    Always,
}

impl RestartOn {
    pub const ALL: [Self; 3] = [Self::Failure, Self::Never, Self::Always];
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Never => "never",
            Self::Always => "always",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_have_the_kernels_numbers() {
        let bit = |name: &str| Capability::from_name(name).map(Capability::bit);
        assert_eq!(bit("chown"), Some(1));
        assert_eq!(bit("net_bind_service"), Some(1 << 10));
        assert_eq!(bit("sys_admin"), Some(1 << 21));
        assert_eq!(bit("checkpoint_restore"), Some(1 << 40));
        assert_eq!(bit("CAP_CHOWN"), None);
        for it in Capability::all() {
            assert_eq!(Capability::from_name(it.as_str()), Some(it));
        }
    }
}
