//! Whether a release has the program that its command names. It is asked before anything is stopped: the usual
//! reason is an archive that was packed with one folder too many, or without its modes.
//!
//! Not here: whether the program then starts, which only its start can show (a missing interpreter or library).

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// What is wrong with `program`, relative to the unpacked release at `root` unless it is absolute.
pub(crate) fn problem(root: &Path, program: &str) -> Option<String> {
    let place = if Path::new(program).is_absolute() { "on this host" } else { "in the archive" };
    match std::fs::metadata(root.join(program)) {
        Ok(found) if !found.is_file() => Some(format!("the command's program `{program}` is no file")),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            let mode = found.permissions().mode() & 0o7777;
            Some(format!("the command's program `{program}` is not executable: its mode is {mode:o}"))
        }
        Ok(_) => None,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some(format!("the command's program `{program}` is not {place}"))
        }
        Err(error) => Some(format!("the command's program `{program}` can't be inspected: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_there_a_file_and_executable() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        std::fs::create_dir(root.join("bin")).expect("a folder");
        std::fs::write(root.join("bin/web"), "").expect("a file");
        let mode = |mode| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(root.join("bin/web"), permissions)
        };
        mode(0o644).expect("a mode");
        let said = |program: &str| problem(root, program).unwrap_or_default();
        assert!(said("bin/web").contains("not executable: its mode is 644"), "{}", said("bin/web"));
        mode(0o755).expect("a mode");
        assert_eq!(problem(root, "bin/web"), None);
        std::os::unix::fs::symlink("bin/web", root.join("web")).expect("a link");
        assert_eq!(problem(root, "web"), None);
        assert_eq!(problem(root, "/bin/sh"), None);
        assert!(said("bin").contains("is no file"), "{}", said("bin"));
        assert!(said("bin/wep").contains("is not in the archive"), "{}", said("bin/wep"));
        assert!(said("/no/such/sh").contains("is not on this host"), "{}", said("/no/such/sh"));
    }
}
