//! As whom and within which bounds a service runs: what its first process does to itself between fork and exec.
//!
//! Not here: what names mean on this host (`account`), and bounds of the service as a whole ([`super::group`]).

use std::io;

/// A user by numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups, `gid` among them.
    pub groups: Vec<u32>,
}

/// One bound of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimit {
    /// The kernel's number, as `RLIMIT_NOFILE`.
    pub resource: u32,
    /// `u64::MAX` is no limit.
    pub soft: u64,
    pub hard: u64,
}

/// The resources that there are.
const RESOURCES: u32 = 16;

/// What a process gives up before it becomes the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// `None`: it stays the shim's user.
    pub credentials: Option<Credentials>,
    pub umask: u32,
    pub rlimits: Vec<Rlimit>,
    /// Bits of the capabilities that it keeps; `None`: those that come with its user.
    pub capabilities: Option<u64>,
    pub no_new_privileges: bool,
}

impl Confinement {
    /// A process of the caller's user that gives nothing up.
    pub fn none() -> Self {
        let (credentials, rlimits, capabilities) = (None, Vec::new(), None);
        Self { credentials, umask: 0o022, rlimits, capabilities, no_new_privileges: false }
    }

    /// Gives everything up. Runs in the child of a process with one thread; nothing is undone after an error.
    pub(super) fn enter(&self) -> io::Result<()> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.umask));
        self.rlimits.iter().try_for_each(set_rlimit)?;
        // Needs a right that goes with the user.
        if let Some(kept) = self.capabilities {
            bound_capabilities(kept)?;
        }
        let mut is_root = rustix::process::geteuid().is_root();
        if let Some(credentials) = &self.credentials {
            let keeps = self.capabilities.is_some_and(|kept| kept != 0) && credentials.uid != 0;
            if keeps {
                // Otherwise they would go with root's number (capabilities(7)).
                prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
            }
            become_user(credentials)?;
            is_root = credentials.uid == 0;
        }
        match self.capabilities {
            Some(kept) => {
                set_capabilities(kept)?;
                if !is_root {
                    // What another user keeps over an exec.
                    bits(kept).try_for_each(|bit| prctl(libc::PR_CAP_AMBIENT, RAISE, bit))?;
                }
            }
            None if self.credentials.is_some() && !is_root => set_capabilities(0)?,
            None => {}
        }
        if self.no_new_privileges {
            prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
        }
        Ok(())
    }
}

/// `PR_CAP_AMBIENT_RAISE` as an argument of prctl(2).
const RAISE: libc::c_ulong = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;

fn bits(set: u64) -> impl Iterator<Item = libc::c_ulong> {
    (0..64).filter(move |bit| set & (1 << bit) != 0)
}

fn checked(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn prctl(option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: all options that are used here take numbers.
    checked(unsafe { libc::prctl(option, first, second, zero, zero) }.into())
}

/// Who may not raise a limit stays below the one that he has; the runner says so where it asks for more.
fn set_rlimit(limit: &Rlimit) -> io::Result<()> {
    match set(limit) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => match own_rlimit(limit.resource) {
            Some(own) => {
                let most = own.hard;
                set(&Rlimit { soft: limit.soft.min(most), hard: limit.hard.min(most), ..*limit })
            }
            None => Err(error),
        },
        other => other,
    }
}

fn set(limit: &Rlimit) -> io::Result<()> {
    let value = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: the structure outlives the call.
    checked(unsafe { libc::setrlimit(limit.resource as _, &raw const value) }.into())
}

/// Whether this process may raise limits (capabilities(7), `CAP_SYS_RESOURCE`).
pub(crate) fn may_raise_rlimits() -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits & SYS_RESOURCE != 0)
}

fn become_user(credentials: &Credentials) -> io::Result<()> {
    let Credentials { uid, gid, groups } = credentials;
    // SAFETY: the list outlives the call; the others take numbers. A process with one thread has no other thread that
    // would keep the old user.
    unsafe {
        // Who opens its own output by name, as /dev/stderr, must be allowed to.
        for output in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
            checked(libc::fchown(output, *uid, *gid).into())?;
        }
        checked(libc::setgroups(groups.len(), groups.as_ptr()).into())?;
        checked(libc::setresgid(*gid, *gid, *gid).into())?;
        checked(libc::setresuid(*uid, *uid, *uid).into())
    }
}

/// Takes all others out of the set that no exec can leave.
fn bound_capabilities(kept: u64) -> io::Result<()> {
    for bit in 0..64 {
        // The kernel's last one is where it says that there is no such capability.
        let is_set = prctl_value(libc::PR_CAPBSET_READ, bit);
        match is_set {
            Some(true) if kept & (1 << bit) == 0 => prctl(libc::PR_CAPBSET_DROP, bit, 0)?,
            Some(_) => {}
            None => break,
        }
    }
    Ok(())
}

/// A yes or no of prctl(2); `None` for what the kernel does not know.
fn prctl_value(option: libc::c_int, argument: libc::c_ulong) -> Option<bool> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the option takes a number.
    match unsafe { libc::prctl(option, argument, zero, zero, zero) } {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CapabilityData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The three sets of the calling thread (capset(2)).
fn set_capabilities(set: u64) -> io::Result<()> {
    let header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let word = |half: u64| {
        let bits = u32::try_from(half & u64::from(u32::MAX)).expect("32 bits are left");
        CapabilityData { effective: bits, permitted: bits, inheritable: bits }
    };
    let data = [word(set), word(set >> 32)];
    // SAFETY: both structures have the form that this version asks for, and outlive the call.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) })
}

/// The limits of every resource, as the first process of this host has them: what a service is not asked to differ in
/// does not depend on who started the runner. A runner that is not root has its own.
pub(crate) fn default_rlimits() -> Vec<Rlimit> {
    (0..RESOURCES)
        .filter_map(|resource| read_rlimit(1, resource).or_else(|| read_rlimit(0, resource)))
        .collect()
}

/// What this process may not exceed.
pub(crate) fn own_rlimit(resource: u32) -> Option<Rlimit> {
    read_rlimit(0, resource)
}

/// `pid` 0 is the caller.
fn read_rlimit(pid: libc::pid_t, resource: u32) -> Option<Rlimit> {
    let mut value = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: nothing is set, and the structure outlives the call.
    let result = unsafe { libc::prlimit(pid, resource as _, std::ptr::null(), &raw mut value) };
    (result == 0).then_some(Rlimit { resource, soft: value.rlim_cur, hard: value.rlim_max })
}
