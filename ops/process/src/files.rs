//! Files that are replaced whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write {path}")]
pub struct WriteError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// Replaces a file whole, with this mode: after a crash it is the old one or the new one. Written beside, synced,
/// renamed, and the directory synced.
///
/// # Errors
/// When any of these steps fails; the old file is still there then.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), WriteError> {
    replace(path, bytes, mode).map_err(|source| WriteError { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let beside = PathBuf::from(beside);
    // What a crash left may have another mode.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_what_a_crash_left_is_no_obstacle() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("key");
        fs::write(folder.path().join("key.tmp"), "half of a ke").expect("written");
        for text in ["first", "second"] {
            write_atomically(&path, text.as_bytes(), 0o600).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("there"), text);
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a directory").count(), 1);
        let error = write_atomically(&folder.path().join("no/file"), b"x", 0o600).expect_err("no directory");
        assert!(error.to_string().ends_with("no/file"), "{error}");
    }
}
