//! Downloads from a server that follows a script, and copies on this host.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use sha2::{Digest as _, Sha256};

use super::*;

const WAIT_MAX: Duration = Duration::from_secs(20);

/// What the server does with one connection.
enum Reply {
    Raw(String, Vec<u8>),
    /// Says nothing until the client is gone.
    Silence,
    /// The whole of it, but in the middle the cache is removed.
    Removing(Vec<u8>, PathBuf),
}

fn ok(body: &[u8]) -> Reply {
    Reply::Raw(format!("200 OK\r\nContent-Length: {}", body.len()), body.to_vec())
}

fn status(status: &str) -> Reply {
    Reply::Raw(format!("{status}\r\nContent-Length: 0"), Vec::new())
}

/// Serves one reply after the other and then refuses. The receiver gets each path that was asked for.
fn serve(replies: Vec<Reply>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.22.1:0").expect("loopback");
    let url = format!("http://{}/web.tar", listener.local_addr().expect("bound"));
    let (send, paths) = channel();
    std::thread::spawn(move || {
        for reply in replies {
            let Ok((stream, _)) = listener.accept() else { return };
            // A test that has seen enough does not listen.
            let _ = send.send(request(&stream));
            answer(stream, &reply);
        }
    });
    (url, paths)
}

fn request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let _headers = lines.take_while(|line| !line.is_empty()).count();
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn answer(mut stream: TcpStream, reply: &Reply) {
    match reply {
        Reply::Raw(head, body) => {
            // The client may have left in the middle.
            let _ = stream
                .write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes())
                .and_then(|()| stream.write_all(body));
        }
        Reply::Removing(body, cache) => {
            let (first, rest) = body.split_at(body.len() / 2);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), first].concat()).expect("the client listens");
            let deadline = std::time::Instant::now() + WAIT_MAX;
            while fs::read_dir(cache).map_or(0, Iterator::count) == 0 {
                assert!(std::time::Instant::now() < deadline, "nothing was begun");
                std::thread::yield_now();
            }
            // A part that is written just now may have a new entry beside it.
            while fs::remove_dir_all(cache).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound) {
            }
            stream.write_all(rest).expect("the client listens");
        }
        Reply::Silence => {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    }
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn artifact(location: ArtifactLocation, bytes: &[u8]) -> Artifact {
    let name = "bundle".parse().expect("a name");
    Artifact { name, version: "v1".to_owned(), sha256: digest(bytes), location }
}

struct Cache {
    folder: tempfile::TempDir,
}

impl Cache {
    fn new() -> Self {
        // Whoever links this crate installs the provider; here it is the test.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { folder: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    async fn fetch(&self, url: &str, bytes: &[u8]) -> Result<PathBuf, FetchError> {
        let artifact = artifact(ArtifactLocation::Url(url.to_owned()), bytes);
        fetch_with(&artifact, &self.path(), WAIT_MAX, Duration::from_millis(5)).await
    }

    async fn copy(&self, path: &Path, bytes: &[u8]) -> Result<PathBuf, FetchError> {
        let location = ArtifactLocation::Path(path.to_str().expect("UTF-8").to_owned());
        fetch(&artifact(location, bytes), &self.path(), WAIT_MAX).await
    }

    /// Waits until no part is left: a thread that was stopped needs a moment.
    async fn check_no_parts(&self) {
        let parts = || {
            let entries = fs::read_dir(self.path()).into_iter().flatten().flatten();
            entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".part")).count()
        };
        let deadline = std::time::Instant::now() + WAIT_MAX;
        while parts() > 0 {
            assert!(std::time::Instant::now() < deadline, "a part is left");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_download_is_verified_kept_and_used_again() {
    let cache = Cache::new();
    let bytes = vec![7; 3 << 20];
    let (url, paths) = serve(vec![ok(&bytes), ok(&bytes)]);
    let blob = cache.fetch(&url, &bytes).await.expect("it arrives");
    assert_eq!(blob, cache.path().join(digest(&bytes).to_string()));
    assert_eq!(fs::read(&blob).expect("readable"), bytes);
    assert_eq!(cache.fetch(&url, &bytes).await.expect("it is there"), blob);
    assert_eq!(paths.try_iter().count(), 1, "nothing is fetched twice");
    fs::write(&blob, "spoiled").expect("own file");
    cache.fetch(&url, &bytes).await.expect("it arrives again");
    assert_eq!(fs::read(&blob).expect("readable"), bytes);
    cache.check_no_parts().await;
}

#[tokio::test]
async fn another_file_is_refused_with_both_digests_at_once() {
    let cache = Cache::new();
    let (url, paths) = serve(vec![ok(b"changed"), ok(b"changed")]);
    let error = cache.fetch(&url, b"planned").await.expect_err("it is refused");
    assert_eq!(error.code(), ReasonCode::FetchDigest);
    let text = error.to_string();
    assert!(text.contains(&digest(b"planned").to_string()), "{text}");
    assert!(text.contains(&digest(b"changed").to_string()), "{text}");
    assert_eq!(paths.try_iter().count(), 1);
    cache.check_no_parts().await;
}

#[tokio::test]
async fn faults_of_the_platform_are_tried_again_and_others_are_not() {
    let cache = Cache::new();
    let cut = || Reply::Raw("200 OK\r\nContent-Length: 100".to_owned(), b"cut".to_vec());
    let (url, paths) = serve(vec![status("503 Busy"), cut(), status("429 Slow"), ok(b"x")]);
    cache.fetch(&url, b"x").await.expect("the fourth succeeds");
    assert_eq!(paths.try_iter().count(), 4);

    let (url, paths) = serve((0..9).map(|_| cut()).collect());
    let error = cache.fetch(&url, b"y").await.expect_err("it never comes whole");
    assert_eq!(error.code(), ReasonCode::FetchUnreachable);
    assert!(error.to_string().contains("cut off") && error.to_string().contains("5 tries"), "{error}");
    assert_eq!(paths.try_iter().count(), 5);

    for (answer, code) in [
        ("404 Not Found", ReasonCode::FetchMissing),
        ("410 Gone", ReasonCode::FetchMissing),
        ("403 Forbidden", ReasonCode::FetchUnreachable),
    ] {
        let (url, paths) = serve(vec![status(answer), ok(b"y")]);
        let error = cache.fetch(&url, b"y").await.expect_err("it is refused");
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(paths.try_iter().count(), 1, "{answer}");
    }
    cache.check_no_parts().await;
}

#[tokio::test]
async fn a_cache_that_is_removed_in_the_middle_is_made_anew() {
    let cache = Cache::new();
    let bytes = vec![7; 1 << 20];
    let removing = || Reply::Removing(bytes.clone(), cache.path());
    let (url, _paths) = serve(vec![removing(), removing(), ok(&bytes)]);
    let blob = cache.fetch(&url, &bytes).await.expect("it arrives in the end");
    assert_eq!(fs::read(blob).expect("it is there"), bytes);
    cache.check_no_parts().await;
    // Who removes it all the time gets an error. An empty cache: each answer waits for a new part in it.
    let cache = Cache::new();
    let removing = |_| Reply::Removing(bytes.clone(), cache.path());
    let (url, _paths) = serve((0..FETCH_TRIES_MAX).map(removing).collect());
    let error = cache.fetch(&url, &bytes).await.expect_err("it is never there");
    assert!(matches!(error, FetchError::Io { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_unreachable_and_a_silent_one_times_out() {
    let cache = Cache::new();
    let (url, _) = serve(Vec::new());
    let error = cache.fetch(&url, b"x").await.expect_err("no one listens");
    assert_eq!(error.code(), ReasonCode::FetchUnreachable);
    assert!(error.to_string().contains("refused"), "{error}");

    let (url, _paths) = serve(vec![Reply::Silence]);
    let artifact = artifact(ArtifactLocation::Url(url), b"x");
    let error = fetch(&artifact, &cache.path(), Duration::from_millis(200)).await.expect_err("it hangs");
    assert_eq!(error.code(), ReasonCode::FetchTimeout);
    cache.check_no_parts().await;
}

#[tokio::test]
async fn redirects_are_followed_a_few_times() {
    let cache = Cache::new();
    let redirect = || Reply::Raw("302 Found\r\nLocation: /next\r\nContent-Length: 0".to_owned(), Vec::new());
    let (url, paths) = serve(vec![redirect(), redirect(), ok(b"x")]);
    cache.fetch(&url, b"x").await.expect("it arrives");
    assert_eq!(paths.try_iter().collect::<Vec<_>>(), ["/web.tar", "/next", "/next"]);
    let (url, paths) = serve((0..20).map(|_| redirect()).collect());
    let error = cache.fetch(&url, b"y").await.expect_err("it never ends");
    assert_eq!(error.code(), ReasonCode::FetchUnreachable);
    assert!(paths.try_iter().count() <= 6);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_numbers() {
    let cache = Cache::new();
    let huge = Reply::Raw(format!("200 OK\r\nContent-Length: {}", 1u64 << 50), b"x".to_vec());
    let (url, _paths) = serve(vec![huge]);
    let error = cache.fetch(&url, b"x").await.expect_err("it does not fit");
    assert_eq!(error.code(), ReasonCode::PreflightDisk);
    assert!(error.to_string().contains(&(1u64 << 50).to_string()), "{error}");
    cache.check_no_parts().await;
}

#[tokio::test]
async fn a_dropped_download_leaves_nothing() {
    let cache = Cache::new();
    let head = Reply::Raw("200 OK\r\nContent-Length: 100000".to_owned(), vec![1; 1000]);
    let (url, _paths) = serve(vec![head, Reply::Silence]);
    let dropped = tokio::time::timeout(Duration::from_millis(100), cache.fetch(&url, b"x")).await;
    assert!(dropped.is_err(), "it was in progress");
    cache.check_no_parts().await;
}

#[tokio::test]
async fn a_file_of_this_host_is_copied_and_verified() {
    let cache = Cache::new();
    let file = cache.folder.path().join("web-v1.tar");
    fs::write(&file, "bytes").expect("writable");
    let blob = cache.copy(&file, b"bytes").await.expect("it is there");
    assert_eq!(fs::read(&blob).expect("readable"), b"bytes");
    fs::write(&file, "changed").expect("writable");
    assert_eq!(cache.copy(&file, b"bytes").await.expect("the copy is used"), blob);
    let error = cache.copy(&file, b"other").await.expect_err("it is refused");
    assert_eq!(error.code(), ReasonCode::FetchDigest);
    let missing = cache.copy(&file.join("x"), b"other").await.expect_err("not there");
    assert_eq!(missing.code(), ReasonCode::FetchMissing);
    let folder = cache.copy(cache.folder.path(), b"other").await.expect_err("no file");
    assert_eq!(folder.code(), ReasonCode::FetchMissing);
    let fifo = cache.folder.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("writable");
    let error = cache.copy(&fifo, b"other").await.expect_err("no file");
    assert_eq!(error.code(), ReasonCode::FetchMissing, "and nothing waited for a writer");
    cache.check_no_parts().await;
}

#[tokio::test]
async fn parts_of_an_earlier_process_are_cleaned_and_blobs_are_not() {
    let cache = Cache::new();
    clean(&cache.path()).expect("no cache is a clean cache");
    fs::create_dir(cache.path()).expect("writable");
    fs::write(cache.path().join(".part-1-0"), "x").expect("writable");
    fs::write(cache.path().join("blob"), "x").expect("writable");
    clean(&cache.path()).expect("writable");
    assert!(cache.path().join("blob").exists());
    cache.check_no_parts().await;
}

#[test]
fn secrets_of_a_url_are_not_shown() {
    let location = ArtifactLocation::Url("https://me:secret@host/x?signature=secret".to_owned());
    let shown = source_name(&location);
    assert!(!shown.contains("secret") && shown.contains("host/x"), "{shown}");
}
