//! One HTTP probe: 2xx within the timeout, the whole answer at most 64 KiB, no redirect followed, no TLS.

use std::net::{IpAddr, SocketAddr};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use trimaran_model::limits;
use trimaran_model::pipeline::HealthCheck;

/// Probes once; without a host in the URL, at `own`. The error is one short phrase for people.
pub async fn probe(health: &HealthCheck, own: IpAddr) -> Result<(), String> {
    match tokio::time::timeout(health.timeout.to_std(), ask(health, own)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", health.timeout)),
    }
}

async fn ask(health: &HealthCheck, own: IpAddr) -> Result<(), String> {
    let address = address(health, own).await?;
    let stream = TcpStream::connect(address).await.map_err(|error| connect_words(&error))?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits::PROBE_BODY_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| words(&error))?;
    let host = health.http.host.clone().unwrap_or_else(|| address.ip().to_string());
    let request = hyper::Request::get(&health.http.path)
        .header(hyper::header::HOST, format!("{host}:{}", health.http.port))
        .header(hyper::header::USER_AGENT, "trimaran-probe/1")
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| words(&error))?;
        read(response).await
    };
    tokio::pin!(answer);
    // The connection is driven beside the answer and ends with it.
    tokio::select! {
        biased;
        result = &mut answer => result,
        _ = connection => answer.await,
    }
}

/// Reads the whole answer, so that one without an end is no success.
async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<(), String> {
    let status = response.status();
    if !status.is_success() {
        return Err(format!("HTTP {}", status.as_u16()));
    }
    let mut body = response.into_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| words(&error))?;
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > limits::PROBE_BODY_BYTES_MAX {
            return Err("the answer is longer than 64 KiB".to_owned());
        }
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

fn connect_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        _ => format!("can't connect: {error}"),
    }
}

fn words(error: &hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "the connection was closed before the answer was complete".to_owned();
    }
    if error.is_parse() {
        return "the answer is not HTTP".to_owned();
    }
    format!("the answer broke off: {error}")
}
