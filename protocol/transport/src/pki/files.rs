//! The identity directory and the stateless-reset key: files of one data directory.
//!
//! `identity/key.pem` (mode 0600) is made here and never leaves; `identity/ca.pem` holds the roots;
//! `identity/cert.pem` holds the leaf and its issuers, and is written last: where it exists, all exists.
//! Each file is replaced whole.
#![allow(clippy::disallowed_methods, reason = "this module is the transport's file access")]

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use trimaran_process::files::{WriteError, write_atomically};

/// Longest file that is read: a chain of eight certificates is far below.
const FILE_BYTES_MAX: u64 = 256 * 1024;
const RESET_KEY_FILE: &str = "reset.key";
/// Bytes of a stateless-reset key.
pub const RESET_KEY_BYTES: usize = 64;

/// Why a file of the identity could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    #[error("can't read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("can't make {path}")]
    Make { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("{path} has {bytes} bytes, where {expected} belong")]
    Size { path: PathBuf, bytes: u64, expected: u64 },
}

/// The three files, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// Leaf and issuers.
    pub cert: String,
    pub key: String,
    /// Roots.
    pub ca: String,
}

impl std::fmt::Debug for IdentityFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityFiles")
            .field("cert", &self.cert)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

/// The certificates of `cert.pem` (DER, leaf first), as a renewal sends them; `None` when it is not PEM.
pub fn chain(files: &IdentityFiles) -> Option<Vec<Vec<u8>>> {
    let found = crate::pki::pem::certificates(&files.cert)?;
    Some(found.iter().map(|certificate| certificate.to_vec()).collect())
}

/// Reads `DATA/identity`; `None` when no certificate was saved yet.
pub fn load_identity(data_dir: &Path) -> Result<Option<IdentityFiles>, FilesError> {
    let directory = data_dir.join("identity");
    let Some(cert) = read(&directory.join("cert.pem"))? else { return Ok(None) };
    let needed = |name: &str| {
        let path = directory.join(name);
        read(&path)?.ok_or_else(|| FilesError::Read { path, source: io::ErrorKind::NotFound.into() })
    };
    Ok(Some(IdentityFiles { cert, key: needed("key.pem")?, ca: needed("ca.pem")? }))
}

/// Writes `DATA/identity`, the certificate last.
pub fn save_identity(data_dir: &Path, files: &IdentityFiles) -> Result<(), FilesError> {
    let directory = data_dir.join("identity");
    make_private_dir(&directory)?;
    write_atomically(&directory.join("key.pem"), files.key.as_bytes(), 0o600)?;
    write_atomically(&directory.join("ca.pem"), files.ca.as_bytes(), 0o644)?;
    Ok(write_atomically(&directory.join("cert.pem"), files.cert.as_bytes(), 0o644)?)
}

/// Replaces the certificate alone: after a renewal, which keeps the key.
pub fn save_certificate(data_dir: &Path, cert_pem: &str) -> Result<(), FilesError> {
    Ok(write_atomically(&data_dir.join("identity/cert.pem"), cert_pem.as_bytes(), 0o644)?)
}

/// Replaces the roots alone: while an authority is replaced. Written before a certificate that may be under a new one.
pub fn save_roots(data_dir: &Path, ca_pem: &str) -> Result<(), FilesError> {
    Ok(write_atomically(&data_dir.join("identity/ca.pem"), ca_pem.as_bytes(), 0o644)?)
}

/// The key by which a restarted process lets its old peers know that their sessions are gone: made at first use.
pub fn load_or_create_reset_key(data_dir: &Path) -> Result<[u8; RESET_KEY_BYTES], FilesError> {
    let path = data_dir.join(RESET_KEY_FILE);
    match fs::read(&path) {
        Ok(bytes) => bytes.try_into().map_err(|bytes: Vec<u8>| FilesError::Size {
            path,
            bytes: bytes.len() as u64,
            expected: RESET_KEY_BYTES as u64,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = crate::random::bytes();
            make_private_dir(data_dir)?;
            write_atomically(&path, &key, 0o600)?;
            Ok(key)
        }
        Err(source) => Err(FilesError::Read { path, source }),
    }
}

fn make_private_dir(path: &Path) -> Result<(), FilesError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| FilesError::Make { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Option<String>, FilesError> {
    let failed = |source| FilesError::Read { path: path.to_owned(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(FilesError::Size {
                path: path.to_owned(),
                bytes: found.len(),
                expected: FILE_BYTES_MAX,
            });
        }
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_directory_is_complete_or_absent_and_the_key_is_private() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(load_identity(dir.path()).expect("nothing yet"), None);
        let mut files = IdentityFiles { cert: "c".into(), key: "k".into(), ca: "a".into() };
        save_identity(dir.path(), &files).expect("saved");
        assert_eq!(load_identity(dir.path()).expect("there"), Some(files.clone()));
        let mode =
            |name: &str| fs::metadata(dir.path().join(name)).expect("exists").permissions().mode() & 0o777;
        assert_eq!(mode("identity/key.pem"), 0o600);
        assert_eq!(mode("identity"), 0o700);
        save_certificate(dir.path(), "new").expect("saved");
        files.cert = "new".into();
        assert_eq!(load_identity(dir.path()).expect("there"), Some(files.clone()));
        assert!(!format!("{files:?}").contains('k'.to_string().repeat(2).as_str()));
        fs::remove_file(dir.path().join("identity/key.pem")).expect("removed");
        assert!(matches!(load_identity(dir.path()), Err(FilesError::Read { .. })));
    }

    #[test]
    fn what_a_crash_left_beside_is_replaced_with_the_right_mode() {
        let dir = tempfile::tempdir().expect("a directory");
        let beside = dir.path().join("reset.key.tmp");
        fs::write(&beside, "half").expect("written");
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o666)).expect("set");
        let key = load_or_create_reset_key(dir.path()).expect("made");
        assert_eq!(load_or_create_reset_key(dir.path()).expect("kept"), key);
        let found = fs::metadata(dir.path().join("reset.key")).expect("exists");
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert!(!beside.exists());
    }

    #[test]
    fn a_damaged_reset_key_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("reset.key"), [0; 63]).expect("written");
        assert!(matches!(load_or_create_reset_key(dir.path()), Err(FilesError::Size { bytes: 63, .. })));
    }
}
