//! What a service's environment begins with: nothing of it comes from whoever started the runner.
//!
//! Not here: the variables of the release and those that name the release (`platform`).

use std::collections::BTreeMap;
use std::ffi::CStr;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
const LANG: &str = "C.UTF-8";
/// Bytes of one entry of the user database; a longer one counts as none.
const ENTRY_BYTES_MAX: usize = 64 * 1024;

/// `PATH HOME USER LOGNAME LANG` for the user that this process runs as.
pub(crate) fn base_environment() -> BTreeMap<String, String> {
    let uid = rustix::process::geteuid().as_raw();
    // A user without an entry, as in a container, has a number and no home.
    let (name, home) = entry_of(uid).unwrap_or_else(|| (uid.to_string(), "/".to_owned()));
    let variables = [("PATH", PATH), ("HOME", &home), ("USER", &name), ("LOGNAME", &name), ("LANG", LANG)];
    variables.map(|(variable, value)| (variable.to_owned(), value.to_owned())).into()
}

/// Name and home of a user (getpwuid_r(3)).
fn entry_of(uid: u32) -> Option<(String, String)> {
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut strings = vec![0; ENTRY_BYTES_MAX];
    let mut found = std::ptr::null_mut();
    // SAFETY: all four places outlive the call, and the length is that of the buffer.
    let result = unsafe {
        libc::getpwuid_r(uid, entry.as_mut_ptr(), strings.as_mut_ptr(), strings.len(), &raw mut found)
    };
    if result != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so the entry is written and its strings end inside of the buffer, which is still borrowed.
    let (name, home) = unsafe {
        let entry = entry.assume_init();
        (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir))
    };
    let text = |string: &CStr| string.to_str().ok().filter(|text| !text.is_empty()).map(str::to_owned);
    Some((text(name)?, text(home)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_five_variables_of_which_none_is_inherited() {
        let base = base_environment();
        let names: Vec<&str> = base.keys().map(String::as_str).collect();
        assert_eq!(names, ["HOME", "LANG", "LOGNAME", "PATH", "USER"]);
        assert_eq!((base["PATH"].as_str(), base["LANG"].as_str()), (PATH, LANG));
        assert!(base["HOME"].starts_with('/') && base["USER"] == base["LOGNAME"]);
        assert_eq!(entry_of(0).map(|(name, _)| name).as_deref(), Some("root"));
        assert_eq!(entry_of(4_000_000_001), None);
    }
}
