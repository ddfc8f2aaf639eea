//! Fetch and unpack as one runner does them, in a process of its own: what it leaves on disk and in memory.
#![allow(clippy::disallowed_methods, reason = "tests use files and threads")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use sha2::{Digest as _, Sha256};

/// RssAnon of an idle runner, with all that it does beside this.
const IDLE_KIB_MAX: u64 = 8 * 1024;
const CONTENTS_BYTES: usize = 20 << 20;

#[test]
fn a_deploy_leaves_the_release_the_blob_and_little_memory() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = |name: &str| folder.path().join(name);
    let archive = archive();
    let digest: String = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    let url = serve(archive);
    let output = Command::new(env!("CARGO_BIN_EXE_trimaran-host-lab"))
        .args(["deploy", &url, &digest])
        .args([path("cache"), path("release")])
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status = String::from_utf8(output.stdout).expect("UTF-8");
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a size");
    let kib: u64 = anonymous.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    assert!(kib <= IDLE_KIB_MAX, "{kib} KiB");
    let length = |file: &Path| std::fs::metadata(file).expect("it is there").len();
    assert_eq!(length(&path("release/bin/web")), CONTENTS_BYTES as u64);
    assert!(path("cache").join(digest).exists());
    assert_eq!(std::fs::read_dir(path("cache")).expect("readable").count(), 1, "no part is left");
}

/// A program that does not compress well.
fn archive() -> Vec<u8> {
    let mut state = 1u64;
    let contents: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 60) as u8
    })
    .take(CONTENTS_BYTES)
    .collect();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(contents.len() as u64);
    header.set_mode(0o755);
    builder.append_data(&mut header, "bin/web", contents.as_slice()).expect("in memory");
    zstd::encode_all(builder.into_inner().expect("in memory").as_slice(), 1).expect("in memory")
}

/// Serves one download.
fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.22.2:0").expect("loopback");
    let url = format!("http://{}/web.tar.zst", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("one client");
        let lines = BufReader::new(&stream).lines().map_while(Result::ok);
        let _head = lines.take_while(|line| !line.is_empty()).count();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        // A client that leaves early says why itself.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
    });
    url
}
