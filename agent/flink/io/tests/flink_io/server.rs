//! A little server of HTTP/1.1, with TLS or without: one request a connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A request without its body.
pub(crate) struct Asked {
    /// With its query.
    pub(crate) path: String,
    /// Names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
}

/// Status and body; `None`: never answered.
pub(crate) type Answer = Option<(u16, String)>;

/// Ends when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (tls, answer) = (tls.clone(), answer.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &*answer).await,
                        // A client that is refused goes away.
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &*answer).await,
                            Err(_) => Ok(()),
                        },
                    }
                });
            }
        });
        Self { address, task }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answer: &(impl Fn(&Asked) -> Answer + ?Sized),
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
    // A connection that is closed with a body unread is reset, and the answer with it.
    let length = headers.get("content-length").and_then(|it| it.parse().ok()).unwrap_or(0);
    stream.read_exact(&mut vec![0; length]).await?;
    let asked = Asked { path, headers };
    let Some((status, body)) = answer(&asked) else { return std::future::pending().await };
    let length = body.len();
    let text = format!("HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}
