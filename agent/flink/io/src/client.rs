//! Requests to the JobManagers of one cluster.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream::try_unfold;
use parking_lot::{Mutex, MutexGuard};
use reqwest::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use trimaran_flink_core::rest::{Body, Method, Request, Response};
use trimaran_model::text::with_sources;
use trimaran_process::clock::system_wall;

use crate::access::{Access, AccessError};

/// Answers are documents of some kilobytes; a plan of thousands of operators has megabytes.
const ANSWER_BYTES_MAX: usize = 32 << 20;
/// A jar is sent in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;
/// Separates the parts of a form; no jar has it by accident.
const BOUNDARY: &str = "trimaran-d41d8cd98f00b204e9800998ecf8427e";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No JobManager has received it.
    #[error("no JobManager can be reached: {0}")]
    Unreachable(String),
    /// It may have been received.
    #[error("{url} gave no whole answer: {detail}")]
    Lost { url: String, detail: String },
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("can't read the jar `{path}`: {source}")]
    Jar { path: String, source: std::io::Error },
}

/// What a form carries.
pub(crate) enum Upload {
    /// A jar, by its file.
    Jar(PathBuf),
    /// The bytes of a small file.
    File(Vec<u8>),
}

pub(crate) struct Client {
    access: Access,
    /// Made with the first request, and again when a connection can't be made: certificates may have been replaced.
    http: Mutex<Option<reqwest::Client>>,
    urls: Vec<String>,
    /// Which of them answered last.
    last: AtomicUsize,
}

impl Client {
    pub(crate) fn new(urls: &[String], access: Access) -> Self {
        let urls = urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        Self { access, http: Mutex::default(), urls, last: AtomicUsize::new(0) }
    }

    async fn http(&self) -> Result<reqwest::Client, SendError> {
        let known = self.lock().clone();
        match known {
            Some(known) => Ok(known),
            None => {
                let made = self.access.client().await?;
                Ok(self.lock().insert(made).clone())
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<reqwest::Client>> {
        self.http.lock()
    }

    /// Sends a request to one JobManager: to `first`, where that is one of them, otherwise to the one that answered last, and
    /// to the next one where the request is not received. `upload` is what a request with a form carries.
    pub(crate) async fn send(
        &self,
        request: &Request,
        upload: Option<&Upload>,
        first: Option<&str>,
    ) -> Result<Response, SendError> {
        let (http, headers) = (self.http().await?, self.access.headers().await?);
        let wanted = first.and_then(|first| self.urls.iter().position(|url| url == first));
        let first = wanted.unwrap_or_else(|| self.last.load(Ordering::Relaxed));
        let mut whys = Vec::new();
        let is_last = |n: usize| n + 1 == self.urls.len();
        for n in 0..self.urls.len() {
            let index = (first + n) % self.urls.len();
            let url = &self.urls[index];
            let built = build(&http, url, request, upload).await?.headers(headers.clone());
            let asked = Asked { last: &self.last, index, next: (index + 1) % self.urls.len() };
            match built.send().await {
                // It knows of no leader, so it has not passed the request on. Another one may know.
                Ok(answer) if answer.status() == StatusCode::SERVICE_UNAVAILABLE && !is_last(n) => {
                    whys.push(format!("{url} knows no leader"));
                }
                Ok(answer) => {
                    let answer = read(url, answer).await?;
                    asked.answered();
                    return Ok(answer);
                }
                // The connection was never made: the next one may lead.
                Err(error) if error.is_connect() => whys.push(with_sources(&error)),
                Err(error) => return Err(SendError::Lost { url: url.clone(), detail: with_sources(&error) }),
            }
        }
        *self.lock() = None;
        Err(SendError::Unreachable(whys.join("; ")))
    }
}

/// One JobManager while it is asked. When it gives no answer, also because whoever waits gives up, the next one is asked
/// first from then on: one that hangs takes connections and never answers.
struct Asked<'a> {
    last: &'a AtomicUsize,
    index: usize,
    next: usize,
}

impl Asked<'_> {
    fn answered(self) {
        self.last.store(self.index, Ordering::Relaxed);
        std::mem::forget(self);
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        // Unless another request has found one that answers meanwhile.
        let _ = self.last.compare_exchange(self.index, self.next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

async fn build(
    http: &reqwest::Client,
    url: &str,
    request: &Request,
    upload: Option<&Upload>,
) -> Result<reqwest::RequestBuilder, SendError> {
    let address = format!("{url}{}", request.path);
    let builder = match request.method {
        Method::Get => http.get(address),
        Method::Post => http.post(address),
        Method::Patch => http.patch(address),
    };
    Ok(match &request.body {
        Body::None => builder,
        Body::Json(text) => builder.header("content-type", "application/json").body(text.clone()),
        Body::Jar { name, .. } | Body::File { name, .. } => {
            match upload.expect("whoever sends a form has fetched what it carries") {
                Upload::Jar(path) => {
                    let unreadable = |source| SendError::Jar { path: path.display().to_string(), source };
                    let (file, length) = opened(path).await.map_err(unreadable)?;
                    form(builder, name, file, length)
                }
                Upload::File(bytes) => {
                    let length = bytes.len() as u64;
                    form(builder, name, Cursor::new(bytes.clone()), length)
                }
            }
        }
    })
}

async fn read(url: &str, mut answer: reqwest::Response) -> Result<Response, SendError> {
    let status = answer.status().as_u16();
    let lost = |detail: String| SendError::Lost { url: url.to_owned(), detail };
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| lost(with_sources(&error)))? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(lost(format!("an answer has more than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Response { at: system_wall(), by: url.to_owned(), status, body })
}

async fn opened(path: &Path) -> std::io::Result<(tokio::fs::File, u64)> {
    let file = tokio::fs::File::open(path).await?;
    let length = file.metadata().await?.len();
    Ok((file, length))
}

/// A form with one file (RFC 7578), in pieces.
fn form(
    builder: reqwest::RequestBuilder,
    name: &str,
    file: impl AsyncRead + Send + 'static,
    length: u64,
) -> reqwest::RequestBuilder {
    let head = format!(
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"jarfile\"; filename=\"{name}\"\r\n\
         content-type: application/x-java-archive\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let length = length + (head.len() + tail.len()) as u64;
    let whole = Cursor::new(head).chain(file).chain(Cursor::new(tail));
    let pieces = try_unfold(Box::pin(whole), |mut whole| async move {
        let mut piece = vec![0; PIECE_BYTES];
        let count = whole.read(&mut piece).await?;
        piece.truncate(count);
        Ok::<_, std::io::Error>((count > 0).then_some((piece, whole)))
    });
    builder
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .header("content-length", length)
        .body(reqwest::Body::wrap_stream(pieces))
}
