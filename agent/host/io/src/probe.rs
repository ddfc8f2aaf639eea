//! One HTTP probe: 2xx within the timeout, no redirect followed, no TLS.
//!
//! At most 64 KiB of the answer's body are read. A body that goes on after them changes nothing: the status decides.
//! Not here: whose process answered (`ports`).

use std::net::{IpAddr, SocketAddr};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use trimaran_model::limits;
use trimaran_model::pipeline::HealthCheck;

/// Where a successful answer came from: both ends of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// Probes once; without a host in the URL, at `own`. The error is one short phrase for people.
pub async fn probe(health: &HealthCheck, own: IpAddr) -> Result<Answered, String> {
    match tokio::time::timeout(health.timeout.to_std(), ask(health, own)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", health.timeout)),
    }
}

async fn ask(health: &HealthCheck, own: IpAddr) -> Result<Answered, String> {
    let peer = address(health, own).await?;
    let stream = TcpStream::connect(peer).await.map_err(|error| describe_connect_error(&error))?;
    let local = stream.local_addr().map_err(|error| describe_connect_error(&error))?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits::PROBE_BODY_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| describe_error(&error))?;
    let host = health.http.host.clone().unwrap_or_else(|| match peer.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        // As in a URL (RFC 3986, 3.2.2): without brackets the port could not be separated from the address.
        IpAddr::V6(ip) => format!("[{ip}]"),
    });
    let request = hyper::Request::get(&health.http.path)
        .header(hyper::header::HOST, format!("{host}:{}", health.http.port))
        .header(hyper::header::USER_AGENT, "trimaran-probe/1")
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| describe_error(&error))?;
        read(response).await
    };
    tokio::pin!(answer);
    // The connection is driven beside the answer and ends with it.
    tokio::select! {
        biased;
        result = &mut answer => result,
        _ = connection => answer.await,
    }
    .map(|()| Answered { peer, local })
}

/// Reads the answer up to the limit: one that stops in the middle before that is no success.
async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<(), String> {
    let status = response.status();
    if !status.is_success() {
        return Err(format!("HTTP {}", status.as_u16()));
    }
    let mut body = response.into_body();
    let mut bytes = 0;
    while bytes < limits::PROBE_BODY_BYTES_MAX {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| describe_error(&error))?;
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    Ok(())
}

async fn address(health: &HealthCheck, own: IpAddr) -> Result<SocketAddr, String> {
    let Some(host) = &health.http.host else { return Ok(SocketAddr::new(own, health.http.port)) };
    let mut found = tokio::net::lookup_host((host.as_str(), health.http.port))
        .await
        .map_err(|error| format!("the host `{host}` can't be resolved: {error}"))?;
    found.next().ok_or_else(|| format!("the host `{host}` has no address"))
}

fn describe_connect_error(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => format!("can't connect: {error}"),
    }
}

fn describe_error(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "the connection was closed before the answer was complete".to_owned();
    }
    if error.is_parse() {
        return "the answer is not HTTP".to_owned();
    }
    format!("the answer broke off: {error}")
}
