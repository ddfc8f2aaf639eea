//! Archives as they should be, and as an attacker would make them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tar::EntryType;

use super::*;

/// Bytes of a tar, header by header; nothing is checked.
#[derive(Default, Clone)]
struct Pack {
    bytes: Vec<u8>,
}

impl Pack {
    fn entry(mut self, kind: u8, name: &str, link: &str, mode: u32, contents: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        let raw = header.as_mut_bytes();
        raw[..name.len()].copy_from_slice(name.as_bytes());
        raw[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_size(contents.len() as u64);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(contents);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, contents: &str) -> Self {
        self.entry(b'0', name, "", 0o644, contents.as_bytes())
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name, target, 0o777, b"")
    }

    fn hard(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name, target, 0o644, b"")
    }

    fn pax(self, key: &str, value: &str) -> Self {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        self.entry(b'x', "pax", "", 0o644, format!("{length}{rest}").as_bytes())
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn end(self) -> Vec<u8> {
        self.raw(&[0; 1024]).bytes
    }
}

fn good() -> Vec<u8> {
    Pack::default()
        .entry(b'5', "./", "", 0o777, b"")
        .entry(b'5', "./bin/", "", 0o775, b"")
        .entry(b'0', "./bin/web", "", 0o755, b"program")
        .file("deep/er/than/named", "x")
        .link("bin/current", "../deep/er")
        .hard("bin/again", "bin/web")
        .entry(b'L', "././@LongLink", "", 0, format!("{}/long\0", "n".repeat(120)).as_bytes())
        .file("cut off", "long name")
        .pax("path", "pax name")
        .file("other", "")
        .end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("in memory")
}

/// A directory with one archive, and a place to unpack it to.
struct UnpackDir {
    folder: tempfile::TempDir,
}

impl UnpackDir {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        fs::create_dir(folder.path().join("dir")).expect("writable");
        fs::write(folder.path().join("archive"), bytes).expect("writable");
        Self { folder }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("dir/into")
    }

    fn unpack(&self, limits: &ArchiveLimits) -> Result<Unpacked, UnpackError> {
        unpack(&self.folder.path().join("archive"), &self.target(), limits, None)
    }

    /// Beside the archive there is the folder, and in the folder there is what was unpacked, or nothing.
    fn check_nothing_else(&self, unpacked: bool) {
        let names = |path: &Path| {
            let mut names: Vec<String> = fs::read_dir(path)
                .expect("readable")
                .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(self.folder.path()), ["archive", "dir"]);
        let expected: &[&str] = if unpacked { &["into"] } else { &[] };
        assert_eq!(names(&self.folder.path().join("dir")), expected);
    }
}

fn refused(bytes: &[u8], limits: &ArchiveLimits) -> UnpackError {
    let dir = UnpackDir::new(bytes);
    let error = dir.unpack(limits).expect_err("it is refused");
    dir.check_nothing_else(false);
    error
}

/// Every link that leads to something leads to something inside, and no other kind of file is there.
fn check_inside(root: &Path) {
    let real_root = root.canonicalize().expect("it exists");
    let mut ahead = vec![root.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).expect("readable") {
            let entry = entry.expect("readable");
            let kind = entry.file_type().expect("readable");
            assert!(kind.is_file() || kind.is_dir() || kind.is_symlink(), "{:?}", entry.path());
            if kind.is_dir() {
                ahead.push(entry.path());
            }
            if kind.is_symlink()
                && let Ok(real) = entry.path().canonicalize()
            {
                assert!(real.starts_with(&real_root), "{:?} leads to {real:?}", entry.path());
            }
        }
    }
}

#[test]
fn a_good_archive_is_unpacked_from_each_packing() {
    for bytes in [good(), gzip(&good()), zstd(&good())] {
        let dir = UnpackDir::new(&bytes);
        let unpacked = dir.unpack(&ArchiveLimits::default()).expect("it is good");
        dir.check_nothing_else(true);
        assert_eq!((unpacked.entries, unpacked.bytes), (8, 17));
        let into = dir.target();
        let text = |name: &str| fs::read_to_string(into.join(name)).expect("a file");
        assert_eq!(text("bin/web"), "program");
        assert_eq!(text("bin/current/than/named"), "x");
        assert_eq!(text(&format!("{}/long", "n".repeat(120))), "long name");
        assert_eq!(text("pax name"), "");
        let metadata = |name: &str| fs::metadata(into.join(name)).expect("it is there");
        assert_eq!(metadata("bin/again").ino(), metadata("bin/web").ino());
        assert_eq!(metadata("bin/web").permissions().mode() & 0o7777, 0o755);
        assert_eq!(metadata("bin/web").mtime(), 1_000_000_000);
        assert_eq!(metadata("bin").permissions().mode() & 0o7777, 0o755, "no one else may write");
        assert_eq!(metadata("deep/er").permissions().mode() & 0o7777, 0o755);
    }
}

#[test]
fn what_leaves_the_directory_is_refused_and_nothing_is_left() {
    let pack = Pack::default;
    let cases = [
        ("dots", pack().file("a/../../evil", "x")),
        ("absolute", pack().file("/tmp/evil", "x")),
        ("link up", pack().link("a", "../evil")),
        ("link absolute", pack().link("a", "/etc/passwd")),
        ("link through a link", pack().link("d/e/up", "../..").link("d/e/out", "up/..")),
        ("link through a later link", pack().link("d/e/out", "up/..").link("d/e/up", "../..")),
        ("link over nothing", pack().link("a", "missing/../../evil")),
        ("endless link", pack().link("a", "b").link("b", "a")),
        ("file behind a link", pack().entry(b'5', "real", "", 0o755, b"").link("l", "real").file("l/x", "x")),
        ("hard link outside", pack().hard("a", "../evil")),
        ("hard link absolute", pack().hard("a", "/etc/passwd")),
        ("hard link to nothing", pack().hard("a", "b")),
        ("hard link to a directory", pack().entry(b'5', "d", "", 0o755, b"").hard("a", "d")),
        ("hard link to a link", pack().file("f", "").link("l", "f").hard("a", "l")),
        ("character device", pack().entry(b'3', "a", "", 0o644, b"")),
        ("block device", pack().entry(b'4', "a", "", 0o644, b"")),
        ("fifo", pack().entry(b'6', "a", "", 0o644, b"")),
        ("sparse", pack().entry(b'S', "a", "", 0o644, b"")),
        ("sparse by PAX", pack().pax("GNU.sparse.major", "1").file("a", "x")),
        ("setuid", pack().entry(b'0', "a", "", 0o4755, b"")),
        ("setgid", pack().entry(b'0', "a", "", 0o2755, b"")),
        ("NUL by PAX", pack().pax("path", "a\0b").file("a", "")),
        ("line break", pack().file("a\nb", "")),
        ("escape sequence", pack().file("a\x1b[2J", "")),
        ("dots by PAX", pack().pax("path", "../evil").file("a", "")),
        ("link target by PAX", pack().pax("linkpath", "../evil").link("a", "b")),
        ("root as a link", pack().link(".", "a")),
        ("empty name", pack().file("", "")),
    ];
    for (what, pack) in cases {
        let error = refused(&zstd(&pack.end()), &ArchiveLimits::default());
        assert_eq!(error.code(), ReasonCode::UnpackEscape, "{what}: {error}");
    }
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let pack = Pack::default;
    let mut wrong_sum = pack().file("a", "x").end();
    wrong_sum[0] = b'b';
    let huge_size = |field: &[u8]| {
        let mut bytes = pack().file("a", "").end();
        bytes[124..124 + field.len()].copy_from_slice(field);
        let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        bytes
    };
    let cases = [
        ("empty", Vec::new()),
        ("text", b"hello".repeat(200)),
        ("zip", b"PK\x03\x04rest".to_vec()),
        ("checksum", wrong_sum),
        ("size of no digits", huge_size(b"zzzzzzzzzzz")),
        ("size by PAX", pack().pax("size", "0").file("a", "x").end()),
        ("malformed PAX", pack().entry(b'x', "p", "", 0, b"99 path=a\n").file("a", "").end()),
        ("global size", pack().entry(b'g', "g", "", 0, b"11 size=99\n").file("a", "").end()),
        ("extension without entry", pack().pax("path", "a").end()),
        ("directory with contents", pack().entry(b'5', "d", "", 0o755, b"x").end()),
        ("link with contents", pack().entry(b'2', "l", "a", 0o777, b"x").end()),
        ("two files of one name", pack().file("a", "1").file("a", "2").end()),
        ("file over directory", pack().entry(b'5', "a", "", 0o755, b"").file("a", "2").end()),
        ("directory over file", pack().file("a", "2").entry(b'5', "a", "", 0o755, b"").end()),
        ("below a file", pack().file("a", "2").file("a/b", "").end()),
        ("no end mark", pack().file("a", "x").bytes),
        ("hidden behind the end", pack().file("a", "x").raw(&[0; 1024]).file("b", "x").end()),
        ("hidden behind the packing", [zstd(&good()), b"hidden".to_vec()].concat()),
        ("hidden behind gzip", [gzip(&good()), b"hidden".to_vec()].concat()),
        ("a second archive", [zstd(&good()), zstd(&good())].concat()),
    ];
    for (what, bytes) in cases {
        let error = refused(&bytes, &ArchiveLimits::default());
        assert_eq!(error.code(), ReasonCode::UnpackCorrupt, "{what}: {error}");
    }
}

#[test]
fn limits_hold_before_anything_is_written() {
    let pack = Pack::default;
    let limits =
        ArchiveLimits { entries: 1000, unpacked_bytes: 1 << 20, depth: 8, ..ArchiveLimits::default() };
    let many = (0..1001).fold(pack(), |pack, number| pack.file(&number.to_string(), "")).end();
    let large = pack().entry(b'0', "a", "", 0o644, &vec![b'x'; 1 << 20]).end();
    let cases = [
        ("entries", zstd(&many)),
        ("size", large),
        ("depth", pack().file("a/a/a/a/a/a/a/a/a", "").end()),
        ("component", pack().pax("path", &"n".repeat(256)).file("a", "").end()),
        ("path", pack().pax("path", &"n/".repeat(3000)).file("a", "").end()),
        ("extension", pack().entry(b'L', "x", "", 0, &vec![b'x'; 300 << 10]).file("a", "").end()),
    ];
    for (what, bytes) in cases {
        let error = refused(&bytes, &limits);
        assert_eq!(error.code(), ReasonCode::UnpackLimit, "{what}: {error}");
    }
}

#[test]
fn a_bomb_is_refused_by_its_ratio() {
    let zeros = vec![0; 40 << 20];
    let bytes = Pack::default().entry(b'0', "zeros", "", 0o644, &zeros).end();
    for bomb in [zstd(&bytes), gzip(&bytes)] {
        let error = refused(&bomb, &ArchiveLimits::default());
        assert_eq!(error.code(), ReasonCode::UnpackLimit, "{error}");
    }
    let small = Pack::default().entry(b'0', "zeros", "", 0o644, &zeros[..1 << 20]).end();
    assert!(
        UnpackDir::new(&zstd(&small)).unpack(&ArchiveLimits::default()).is_ok(),
        "small texts compress well"
    );
}

#[test]
fn a_place_that_is_not_empty_is_left_alone() {
    let dir = UnpackDir::new(&good());
    fs::create_dir(dir.target()).expect("writable");
    fs::write(dir.target().join("mine"), "x").expect("writable");
    let error = dir.unpack(&ArchiveLimits::default()).expect_err("it is refused");
    assert_eq!(error.code(), ReasonCode::HostInternal);
    assert_eq!(fs::read_to_string(dir.target().join("mine")).expect("it is there"), "x");
}

#[test]
fn an_archive_cut_off_anywhere_is_refused() {
    for bytes in [zstd(&good()), gzip(&good())] {
        for end in 0..bytes.len() {
            let error = refused(&bytes[..end], &ArchiveLimits::default());
            assert_eq!(error.code(), ReasonCode::UnpackCorrupt, "{end}: {error}");
        }
    }
    let plain = good();
    let entries = plain.len() - 1024;
    for end in (0..=entries).step_by(128) {
        let error = refused(&plain[..end], &ArchiveLimits::default());
        assert_eq!(error.code(), ReasonCode::UnpackCorrupt, "{end}: {error}");
    }
}

/// A path or target out of few parts, so that entries meet.
fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => prop::sample::select(vec!["a", "b", "c", "l", "m"]),
        2 => Just(".."),
        1 => prop::sample::select(vec![".", "", "/", "\u{1}"]),
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn entries() -> impl Strategy<Value = Vec<(u8, String, String)>> {
    let kind = prop::sample::select(vec![b'0', b'0', b'5', b'2', b'2', b'2', b'1', b'6']);
    prop::collection::vec((kind, path(), path()), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_archive_reaches_outside(entries in entries(), mode in 0u32..0o10000) {
        let pack = entries.iter().fold(Pack::default(), |pack, (kind, name, link)| {
            pack.entry(*kind, name, if matches!(kind, b'1' | b'2') { link } else { "" }, mode, b"")
        });
        let dir = UnpackDir::new(&pack.end());
        let result = dir.unpack(&ArchiveLimits::default());
        dir.check_nothing_else(result.is_ok());
        if result.is_ok() {
            check_inside(&dir.target());
        }
    }

    #[test]
    fn links_that_are_allowed_stay_inside(
        links in prop::collection::btree_map("[lm](/[lm]){0,2}", "(\\.\\.|a|l|m)(/(\\.\\.|a|l|m)){0,4}", 1..5),
    ) {
        let pack = links.iter().fold(Pack::default(), |pack, (name, target)| pack.link(name, target));
        let dir = UnpackDir::new(&pack.file("a/a/a/f", "").end());
        if dir.unpack(&ArchiveLimits::default()).is_ok() {
            check_inside(&dir.target());
        }
    }

    #[test]
    fn spoiled_bytes_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        packing in 0..3,
    ) {
        let mut bytes = match packing { 0 => good(), 1 => gzip(&good()), _ => zstd(&good()) };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let dir = UnpackDir::new(&bytes);
        let result = dir.unpack(&ArchiveLimits::default());
        dir.check_nothing_else(result.is_ok());
        if result.is_ok() {
            check_inside(&dir.target());
        }
    }
}
