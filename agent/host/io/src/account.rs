//! As whom a service runs: names of its file against this host's user database, and what the runner may make of them.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use trimaran_model::pipeline::Account;

/// Bytes of one entry of the user or group database; a longer one counts as none.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// A user with its groups, as this host has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) name: String,
    pub(crate) home: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// With `gid`, sorted.
    pub(crate) groups: Vec<u32>,
}

/// Finds the user and groups of an account, or says which of them this host does not have.
pub(crate) fn resolve(account: &Account) -> Result<Resolved, String> {
    let entry = match &account.user {
        None => user_of_number(rustix::process::geteuid().as_raw()),
        Some(user) => user_named(user)?,
    };
    let gid = match (&account.group, &account.user) {
        (Some(group), _) => group_named(group)?,
        (None, Some(_)) => entry.gid,
        (None, None) => rustix::process::getegid().as_raw(),
    };
    let mut groups = account.groups.iter().map(|group| group_named(group)).collect::<Result<Vec<_>, _>>()?;
    groups.push(gid);
    groups.sort_unstable();
    groups.dedup();
    Ok(Resolved { name: entry.name, home: entry.home, uid: entry.uid, gid, groups })
}

/// Whether this process may run others as `who`; only root may as someone else.
pub(crate) fn may_become(who: &Resolved, account: &Account) -> Result<(), String> {
    let uid = rustix::process::geteuid().as_raw();
    if uid == 0
        || account.is_runners()
        || (who.uid == uid && account.group.is_none() && account.groups.is_empty())
    {
        return Ok(());
    }
    Err(format!(
        "the runner is not root (its user has number {uid}), so it can't run a service as `{}`",
        who.name
    ))
}

/// The first directory above `path` through which `who` may not pass.
pub(crate) fn closed_above(path: &Path, who: &Resolved) -> Option<PathBuf> {
    if who.uid == 0 {
        return None;
    }
    let closed = |dir: &&Path| {
        let Ok(found) = std::fs::metadata(dir) else { return true };
        let bit = if found.uid() == who.uid {
            0o100
        } else if who.groups.contains(&found.gid()) {
            0o010
        } else {
            0o001
        };
        found.mode() & bit == 0
    };
    let above: Vec<&Path> = path.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()).collect();
    above.iter().rev().copied().find(|dir| closed(dir)).map(Path::to_owned)
}

/// `HOME USER LOGNAME` of a service.
pub(crate) fn variables(who: &Resolved) -> BTreeMap<String, String> {
    let all = [("HOME", &who.home), ("USER", &who.name), ("LOGNAME", &who.name)];
    all.map(|(name, value)| (name.to_owned(), value.clone())).into()
}

struct User {
    name: String,
    home: String,
    uid: u32,
    gid: u32,
}

/// A user without an entry, as in a container, has a number and no home.
fn user_of_number(uid: u32) -> User {
    let found = user_entry(|entry, strings, result| {
        // SAFETY: all places outlive the call, and the length is that of the buffer.
        unsafe { libc::getpwuid_r(uid, entry, strings.as_mut_ptr(), strings.len(), result) }
    });
    found.unwrap_or_else(|| User { name: uid.to_string(), home: "/".to_owned(), uid, gid: uid })
}

fn user_named(name: &str) -> Result<User, String> {
    let text = CString::new(name).map_err(|_| format!("`{name}` is not a user's name"))?;
    let found = user_entry(|entry, strings, result| {
        // SAFETY: all places outlive the call, and the length is that of the buffer.
        unsafe { libc::getpwnam_r(text.as_ptr(), entry, strings.as_mut_ptr(), strings.len(), result) }
    });
    match (found, name.parse()) {
        (Some(user), _) => Ok(user),
        (None, Ok(number)) => Ok(user_of_number(number)),
        (None, Err(_)) => Err(format!("this host has no user `{name}`")),
    }
}

fn user_entry(
    ask: impl FnOnce(*mut libc::passwd, &mut [libc::c_char], *mut *mut libc::passwd) -> libc::c_int,
) -> Option<User> {
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut strings = vec![0; ENTRY_BYTES_MAX];
    let mut found = std::ptr::null_mut();
    if ask(entry.as_mut_ptr(), &mut strings, &raw mut found) != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so the entry is written and its strings end inside of the buffer, which still exists.
    let (entry, name, home) = unsafe {
        let entry = entry.assume_init();
        (entry, CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir))
    };
    let text = |string: &CStr| string.to_str().ok().filter(|text| !text.is_empty()).map(str::to_owned);
    let home = text(home).unwrap_or_else(|| "/".to_owned());
    Some(User { name: text(name)?, home, uid: entry.pw_uid, gid: entry.pw_gid })
}

fn group_named(name: &str) -> Result<u32, String> {
    let text = CString::new(name).map_err(|_| format!("`{name}` is not a group's name"))?;
    let mut entry = std::mem::MaybeUninit::<libc::group>::uninit();
    let mut strings = vec![0; ENTRY_BYTES_MAX];
    let mut found = std::ptr::null_mut();
    // SAFETY: all places outlive the call, and the length is that of the buffer.
    let result = unsafe {
        libc::getgrnam_r(
            text.as_ptr(),
            entry.as_mut_ptr(),
            strings.as_mut_ptr(),
            strings.len(),
            &raw mut found,
        )
    };
    if result == 0 && !found.is_null() {
        // SAFETY: the call succeeded, so the entry is written.
        return Ok(unsafe { entry.assume_init() }.gr_gid);
    }
    name.parse().map_err(|_| format!("this host has no group `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(user: Option<&str>, group: Option<&str>, groups: &[&str]) -> Account {
        let owned = |name: Option<&str>| name.map(str::to_owned);
        let groups = groups.iter().map(|it| (*it).to_owned()).collect();
        Account { user: owned(user), group: owned(group), groups }
    }

    #[test]
    fn users_and_groups_are_named_or_numbered() {
        let root = resolve(&account(Some("root"), None, &[])).expect("every host has it");
        assert_eq!((root.uid, root.gid, root.groups.as_slice()), (0, 0, [0].as_slice()));
        let nobody = resolve(&account(Some("nobody"), Some("daemon"), &["7", "7"])).expect("Debian has them");
        assert_eq!((nobody.uid, nobody.gid), (65_534, 1));
        assert_eq!(nobody.groups, [1, 7]);
        let number = resolve(&account(Some("4000001"), None, &[])).expect("a number needs no entry");
        assert_eq!((number.uid, number.gid, number.home.as_str()), (4_000_001, 4_000_001, "/"));
        let unknown = resolve(&account(Some("no-such-user"), None, &[])).expect_err("no such user");
        assert_eq!(unknown, "this host has no user `no-such-user`");
        let unknown = resolve(&account(None, None, &["no-such-group"])).expect_err("no such group");
        assert_eq!(unknown, "this host has no group `no-such-group`");
    }

    #[test]
    fn a_closed_directory_above_is_named() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a directory");
        let dir = folder.path().join("a/b");
        std::fs::create_dir_all(&dir).expect("made");
        let who = resolve(&account(Some("nobody"), None, &[])).expect("Debian has it");
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("own directory");
        };
        mode(folder.path(), 0o711);
        mode(&folder.path().join("a"), 0o700);
        assert_eq!(closed_above(&dir, &who), Some(folder.path().join("a")));
        mode(&folder.path().join("a"), 0o711);
        assert_eq!(closed_above(&dir, &who), None);
    }
}
