//! Archives: whatever is in one, nothing is written outside of its directory, what is refused leaves nothing, and
//! what is unpacked has plain files, directories and links that stay inside.
//!
//! A tar with right checksums is made of the input, because they are hard to guess; an input that begins with a
//! zero byte is the archive itself.
#![no_main]

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use trimaran_host::archive::{self, ArchiveLimits};

const BLOCK: usize = 512;
const KINDS: [u8; 12] = *b"0015267xgLK\0";

fuzz_target!(|bytes: &[u8]| {
    let folder = folder();
    let (packed, into) = (folder.join("archive"), folder.join("into"));
    let archive = match bytes.split_first() {
        Some((0, rest)) => rest.to_vec(),
        _ => tar(bytes),
    };
    fs::write(&packed, archive).expect("a file");
    let limits = ArchiveLimits { entries: 200, unpacked_bytes: 1 << 20, ..ArchiveLimits::default() };
    match archive::unpack(&packed, &into, &limits, None) {
        Ok(_) => {
            inside(&into, &into);
            fs::remove_dir_all(&into).expect("a tree that its owner can remove");
        }
        Err(_) => assert!(!into.exists(), "what is refused leaves nothing"),
    }
    assert_eq!(fs::read(folder.join("outside/file")).expect("it is there"), b"untouched");
    assert_eq!(fs::read_dir(folder.join("outside")).expect("it is there").count(), 1);
    assert_eq!(fs::read_dir(folder).expect("it is there").count(), 2, "the archive and what was outside");
});

fn folder() -> &'static Path {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().expect("a directory");
            fs::create_dir(folder.path().join("outside")).expect("a directory");
            fs::write(folder.path().join("outside/file"), b"untouched").expect("a file");
            folder
        })
        .path()
}

fn inside(root: &Path, dir: &Path) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let kind = fs::symlink_metadata(&path).expect("it is there");
        let file = kind.file_type();
        assert!(!(file.is_fifo() || file.is_socket() || file.is_char_device() || file.is_block_device()));
        if file.is_symlink() {
            if let Ok(target) = fs::canonicalize(&path) {
                let root = fs::canonicalize(root).expect("it is there");
                assert!(target.starts_with(root), "{} leads to {}", path.display(), target.display());
            }
        } else {
            assert_eq!(kind.permissions().mode() & 0o7000, 0, "{}", path.display());
            if file.is_dir() {
                inside(root, &path);
            }
        }
    }
}

/// Entries one after the other: kind, mode, and name, link and contents each behind their length.
fn tar(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((kind, rest)) = bytes.split_first() {
        bytes = rest;
        let mut part = |max: usize| {
            let length = bytes.first().map_or(0, |length| usize::from(*length) % max);
            let rest = bytes.get(1..).unwrap_or_default();
            let (part, rest) = rest.split_at(length.min(rest.len()));
            bytes = rest;
            part
        };
        let (name, link, contents) = (part(99), part(99), part(200));
        let mut header = [0; BLOCK];
        header[..name.len()].copy_from_slice(name);
        header[100..108].copy_from_slice(if kind & 0x80 == 0 { b"0000755\0" } else { b"0006777\0" });
        header[108..124].copy_from_slice(b"0000000\x000000000\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", contents.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[156] = KINDS[usize::from(*kind) % KINDS.len()];
        header[157..157 + link.len()].copy_from_slice(link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(contents);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    out.resize(out.len() + 2 * BLOCK, 0);
    out
}
