//! An API server for tests: it answers as it is set up to, and remembers what it was asked.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::clusters::Clusters;
use crate::credentials::Credentials;
use crate::route::Route;

/// Status and body to a request such as `GET /api/v1`; `None`: a watch that goes on.
type Answers = fn(&str) -> Option<(u16, Value)>;

pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<String>>>,
    bookmarks: watch::Sender<u64>,
    folder: tempfile::TempDir,
}

impl Fake {
    pub(crate) async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let bookmarks = watch::Sender::new(0);
        let (known, ticks) = (asked.clone(), bookmarks.subscribe());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answers, known.clone(), ticks.clone()));
            }
        });
        Self { url, asked, bookmarks, folder: tempfile::tempdir().expect("a folder") }
    }

    /// How often such a thing was asked.
    pub(crate) fn count(&self, is_such: impl Fn(&str) -> bool) -> usize {
        self.asked.lock().iter().filter(|asked| is_such(asked)).count()
    }

    /// Sends a bookmark by every watch.
    pub(crate) fn bookmark(&self) {
        self.bookmarks.send_modify(|count| *count += 1);
    }

    /// The way by a kubeconfig of this name.
    pub(crate) fn route(&self, name: &str, token: &str, clusters: &Arc<Clusters>) -> Route {
        let path = self.folder.path().join(name);
        let config = json!({
            "current-context": name, "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "clusters": [{"name": name, "cluster": {"server": self.url}}],
            "users": [{"name": name, "user": {"token": token}}],
        });
        std::fs::write(&path, config.to_string()).expect("a file");
        Route::new(Credentials::File(path), clusters.clone())
    }
}

async fn serve(
    mut stream: TcpStream,
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
    mut bookmarks: watch::Receiver<u64>,
) {
    let mut read = Vec::new();
    while let Some(request) = next_request(&mut stream, &mut read).await {
        let answer = answers(&request);
        asked.lock().push(request);
        let Some((code, body)) = answer else {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut sent = stream.write_all(head.as_bytes()).await;
            while sent.is_ok() && bookmarks.changed().await.is_ok() {
                let line = json!({"type": "BOOKMARK", "object": {
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "9"}}});
                let line = format!("{line}\n");
                sent = stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes()).await;
            }
            return;
        };
        let body = body.to_string();
        let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\n\r\n", body.len());
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Method and path.
async fn next_request(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some((head, rest)) = text.split_once("\r\n\r\n") {
            let header =
                |line: &str| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
            let length: usize = head.lines().find_map(header).unwrap_or(0);
            if rest.len() >= length {
                read.drain(..head.len() + 4 + length);
                return Some(head.lines().next()?.rsplit_once(' ')?.0.to_owned());
            }
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}
