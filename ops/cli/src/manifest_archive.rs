//! Manifests in an artifact, an archive: read as a folder of them would be, and never written to the disk.
//!
//! Deliberately not here: what the manifests say, and archives that are unpacked (`trimaran-host`).

use std::collections::BTreeMap;
use std::io::Cursor;

use trimaran_archive::{ArchiveError, ArchiveLimits, Kind, Name, TarReader, show};
use trimaran_model::error_code;
use trimaran_model::id::ArtifactName;
use trimaran_model::limits::{MANIFEST_FILE_BYTES_MAX, MANIFEST_FILES_MAX, MANIFEST_TOTAL_BYTES_MAX};
use trimaran_model::pipeline::ArtifactSource;
use trimaran_wire::v1::operator::ArtifactVersion;

use crate::artifact::{self, Wanted};
use crate::error::CliError;
use crate::manifest_lint::is_language;
use crate::manifests::{File, is_file_name};
use crate::remote::Remote;

const COPY_BYTES: usize = 64 * 1024;

/// The files of manifests in an artifact of this version, in the order of a folder's. Binds the digest of the archive.
///
/// # Errors
/// An archive that can't be read from here, that has another digest, or that holds no manifests.
pub(crate) fn files(
    name: &ArtifactName,
    source: &ArtifactSource,
    bound: &mut ArtifactVersion,
    remote: &Remote,
) -> Result<Vec<File>, CliError> {
    let wanted = Wanted { bytes_max: MANIFEST_FILE_BYTES_MAX, what: "the manifests in it are" };
    let bytes = artifact::contents(name.as_str(), source, bound, &wanted, remote)?;
    unpacked(&format!("{name}@{}", bound.version), bytes)
}

/// The files in an archive, which is called `archive` in their names.
fn unpacked(archive: &str, bytes: Vec<u8>) -> Result<Vec<File>, CliError> {
    let limits = ArchiveLimits {
        entries: MANIFEST_FILES_MAX as u64,
        unpacked_bytes: MANIFEST_TOTAL_BYTES_MAX as u64,
        ..ArchiveLimits::default()
    };
    let packed_bytes = bytes.len() as u64;
    let failed = |error: ArchiveError| {
        refused(archive, error.to_string()).help("pack the manifests as tar, tar.gz or tar.zst")
    };
    let mut reader = TarReader::new(archive.to_owned(), Box::new(Cursor::new(bytes)), packed_bytes, &limits)
        .map_err(failed)?;
    // By the components of their paths, which is the order in which folders are read.
    let mut found: BTreeMap<Vec<Vec<u8>>, File> = BTreeMap::new();
    while let Some(entry) = reader.next_entry().map_err(failed)? {
        let path = show(entry.name.as_bytes());
        let size = match entry.kind {
            Kind::Directory => continue,
            _ if !is_manifest(&entry.name) => continue,
            Kind::Symlink(_) | Kind::HardLink(_) => {
                return Err(refused(archive, format!("`{path}` is a link"))
                    .help("pack the files themselves: `tar --dereference --hard-dereference`"));
            }
            Kind::File { size } => size,
        };
        if size > MANIFEST_FILE_BYTES_MAX as u64 {
            let limit = MANIFEST_FILE_BYTES_MAX >> 20;
            return Err(refused(archive, format!("`{path}` is larger than {limit} MiB")).help("split it"));
        }
        let contents = contents(&mut reader).map_err(failed)?;
        let file = File { name: format!("{archive}/{path}"), bytes: contents.into(), in_folder: true };
        if found.insert(components(&entry.name), file).is_some() {
            return Err(
                refused(archive, format!("two entries are called `{path}`")).help("pack each file once")
            );
        }
    }
    let files: Vec<File> = found.into_values().filter(|file| !is_language(&file.bytes, true)).collect();
    if files.is_empty() {
        let cause = "it holds no file of manifests: none that ends with .yaml, .yml or .json".to_owned();
        return Err(refused(archive, cause).help("pack the folder with the manifests"));
    }
    Ok(files)
}

/// All of the present entry.
fn contents(reader: &mut TarReader) -> Result<Vec<u8>, ArchiveError> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; COPY_BYTES]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn components(name: &Name) -> Vec<Vec<u8>> {
    name.as_bytes().split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
}

/// As in a folder: no hidden files, and none below a hidden folder.
fn is_manifest(name: &Name) -> bool {
    let is_hidden = components(name).iter().any(|component| component.starts_with(b"."));
    !is_hidden && is_file_name(&String::from_utf8_lossy(name.as_bytes()))
}

fn refused(archive: &str, cause: String) -> CliError {
    let message = format!("the manifests in `{archive}` can't be read");
    CliError::new(error_code::UNREADABLE, message).cause(cause)
}

#[cfg(test)]
mod tests {
    use tar::{Builder, EntryType, Header};

    use super::*;

    /// Name, type and contents; the contents of a link are its target.
    type Packed<'a> = (&'a str, EntryType, &'a str);

    fn archive(entries: &[Packed<'_>]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            if kind.is_file() {
                header.set_size(text.len() as u64);
                builder.append_data(&mut header, name, text.as_bytes()).expect("memory");
            } else {
                header.set_size(0);
                builder.append_link(&mut header, name, text).expect("memory");
            }
        }
        builder.into_inner().expect("memory")
    }

    fn plain<'a>(name: &'a str, text: &'a str) -> Packed<'a> {
        (name, EntryType::Regular, text)
    }

    fn cause(entries: &[Packed<'_>]) -> String {
        let error = unpacked("k8s@v1", archive(entries)).expect_err("refused");
        assert_eq!((error.code, error.exit()), (error_code::UNREADABLE, 11));
        assert_eq!(error.message, "the manifests in `k8s@v1` can't be read");
        assert!(error.more.help.is_some());
        error.more.cause.expect("a cause")
    }

    #[test]
    fn an_archive_is_read_as_its_folder_would_be() {
        let entries = [
            plain("web.yaml", "kind: B\n"),
            plain("./base/z.json", "{\"kind\": \"A\"}"),
            plain(".git/x.yaml", "not: [read"),
            plain("notes.txt", "not: [read"),
            plain("trimaran.yaml", "trimaran: v1\npipeline: web\n"),
            ("link", EntryType::Symlink, "web.yaml"),
        ];
        let files = unpacked("k8s@v1", archive(&entries)).expect("an archive");
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["k8s@v1/base/z.json", "k8s@v1/web.yaml"]);
        assert_eq!(&*files[1].bytes, b"kind: B\n");
    }

    #[test]
    fn what_is_no_archive_of_manifests_says_why() {
        assert!(cause(&[]).contains("no file of manifests"));
        assert!(cause(&[plain("trimaran.yaml", "trimaran: v1\n")]).contains("no file of manifests"));
        let linked = [plain("a.yaml", "kind: A\n"), ("b.yaml", EntryType::Symlink, "a.yaml")];
        assert_eq!(cause(&linked), "`b.yaml` is a link");
        let hard = [plain("a.yaml", "kind: A\n"), ("b.yaml", EntryType::Link, "a.yaml")];
        assert_eq!(cause(&hard), "`b.yaml` is a link");
        let twice = [plain("a.yaml", "kind: A\n"), plain("./a.yaml", "kind: B\n")];
        assert_eq!(cause(&twice), "two entries are called `a.yaml`");
        let error = unpacked("k8s@v1", b"kind: A\n".to_vec()).expect_err("no archive");
        assert!(error.more.cause.expect("a cause").contains("its first bytes are of no archive"));
        let mut cut = archive(&[plain("a.yaml", &"a".repeat(2000))]);
        cut.truncate(1000);
        let error = unpacked("k8s@v1", cut).expect_err("cut off");
        assert!(error.more.cause.expect("a cause").contains("cut off"));
    }
}
