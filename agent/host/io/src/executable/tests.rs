//! Programs that can't be run, and what is said of each.

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
    assert!(said("bin").contains("is not a file"), "{}", said("bin"));
    assert!(said("bin/wep").contains("is not in the archive"), "{}", said("bin/wep"));
    assert!(said("/no/such/sh").contains("is not on this host"), "{}", said("/no/such/sh"));
}

/// A file that is executable.
fn program(folder: &Path, bytes: &[u8]) -> std::path::PathBuf {
    let path = folder.join("web");
    std::fs::write(&path, bytes).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

/// What execve(2) says of it, explained.
fn explained(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = program(folder.path(), bytes);
    let error = std::process::Command::new(&path).spawn().expect_err("it can't be run");
    explain(&path, folder.path(), &error).unwrap_or_else(|| error.to_string())
}

#[test]
fn an_interpreter_that_is_not_there_is_named_before_anything_is_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |bytes: &[u8]| {
        program(folder.path(), bytes);
        problem(folder.path(), "web")
    };
    for (bytes, words) in [
        (
            &b"#!/bin/sh\r\nsleep 1\r\n"[..],
            "its interpreter `/bin/sh\\r` is not on this host; the first line ends",
        ),
        (b"#! /usr/bin/env sh\r\n", "`/usr/bin/env sh\\r` is not on this host"),
        (
            b"#!/no/such/python -S\n",
            "`/no/such/python` (first line `#!/no/such/python -S`) is not on this host",
        ),
        (b"#!bin/missing\n", "`bin/missing`"),
        (b"#!\n", "names no interpreter"),
    ] {
        let found = said(bytes).expect("it can't be run");
        assert!(found.contains(words), "{found}");
    }
    for bytes in
        [&b"#!/bin/sh\n"[..], b"#! /bin/sh -e\n", b"#!/bin/sh -e\r\n", b"#!/bin/sh", b"no script", b""]
    {
        assert_eq!(said(bytes), None, "{}", String::from_utf8_lossy(bytes));
    }
}

/// A 64-bit ELF program for a machine, with a loader.
fn elf(machine: u16, loader: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    bytes.extend(2_u16.to_le_bytes());
    bytes.extend(machine.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    for offset in [0_u64, 64, 0] {
        bytes.extend(offset.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(4_u32.to_le_bytes());
    let length = loader.len() as u64;
    for word in [120, 0, 0, length, length, 1] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(loader);
    bytes
}

#[test]
fn what_the_kernel_refuses_is_said_in_words_that_lead_to_its_cause() {
    for (bytes, words) in [
        (&b"#!/no/such/sh\n"[..], "its interpreter `/no/such/sh`"),
        (b"#!/etc/passwd\n", "its interpreter `/etc/passwd` is not an executable file"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "a byte order mark"),
        (b"echo hello\n", "neither a program of this system nor a script"),
        (b"", "it is empty"),
        (b"MZ\x90\0", "built for Windows"),
        (b"PK\x03\x04jar", "a zip or jar archive"),
        (b"\x7fELF\x02\x01\x01", "not a complete ELF program"),
    ] {
        let found = explained(bytes);
        assert!(found.contains(words), "{words}: {found}");
    }
    let other = if cfg!(target_arch = "aarch64") { (62, "x86_64") } else { (183, "aarch64") };
    let found = wrong_format(&Head(elf(other.0, b"/lib/ld.so\0")));
    assert!(found.contains(&format!("built for {}, and this host is", other.1)), "{found}");
}

#[test]
fn a_loader_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = program(folder.path(), &elf(62, b"/lib/ld-musl-none.so.1\0"));
    let found = problem(folder.path(), "web").expect("it can't be run");
    assert!(found.contains("its loader `/lib/ld-musl-none.so.1` is not on this host"), "{found}");
    let error = io::Error::from_raw_os_error(libc::ENOENT);
    assert!(explain(&path, folder.path(), &error).expect("it can't be run").contains("ld-musl-none"));
    let gone = folder.path().join("gone");
    assert!(explain(&path, &gone, &error).expect("it can't be run").contains("working directory"));
    assert_eq!(problem(folder.path(), "/bin/sh"), None, "a program that runs");
}
