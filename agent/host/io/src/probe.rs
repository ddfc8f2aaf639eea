//! One probe over the network: an http request or a connection. No redirect is followed.
//!
//! At most 64 KiB of an answer's body are read. A body that goes on after them changes nothing: status and what was read
//! decide. Not here: whose process answered (`ports`), and probes by command (`helper`).

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use trimaran_model::limits;
use trimaran_model::pipeline::{HttpProbe, Probe, ProbeAddress, ProbeCheck, ProbeTls};

/// Where a successful answer came from: both ends of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// Where a probe is made.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The host's own address, which an address without a host means.
    pub own: IpAddr,
    /// Where the release is, which paths of files are relative to.
    pub release: &'a Path,
}

/// Probes once. The error is one short phrase for people.
pub async fn probe(probe: &Probe, place: Place<'_>) -> Result<Answered, String> {
    let asked = async {
        match &probe.check {
            ProbeCheck::Http(http) => ask(http, place).await,
            ProbeCheck::Tcp(address) => connect(address, place.own).await.map(|(_, answered)| answered),
            ProbeCheck::Command(_) => Err("a command is no probe over the network".to_owned()),
        }
    };
    match tokio::time::timeout(probe.timeout.to_std(), asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", probe.timeout)),
    }
}

async fn connect(address: &ProbeAddress, own: IpAddr) -> Result<(TcpStream, Answered), String> {
    let peer = resolve(address, own).await?;
    let stream = TcpStream::connect(peer).await.map_err(|error| describe_connect_error(&error))?;
    let local = stream.local_addr().map_err(|error| describe_connect_error(&error))?;
    Ok((stream, Answered { peer, local }))
}

async fn ask(http: &HttpProbe, place: Place<'_>) -> Result<Answered, String> {
    let (stream, answered) = connect(&http.url.address, place.own).await?;
    match &http.tls {
        None => exchange(http, answered.peer, stream).await?,
        Some(tls) => {
            let stream = secure(http, tls, place.release, answered.peer, stream).await?;
            exchange(http, answered.peer, stream).await?;
        }
    }
    Ok(answered)
}

/// A session with whoever has a certificate for the name that is asked for.
async fn secure(
    http: &HttpProbe,
    tls: &ProbeTls,
    release: &Path,
    peer: SocketAddr,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let file = release.join(&tls.ca);
    let roots =
        crate::blocking::spawn(move || read_roots(&file)).await.map_err(|error| error.to_string())??;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let named = http.host.clone().or_else(|| http.url.address.host.clone());
    let name = match named {
        Some(name) => ServerName::try_from(name).map_err(|error| error.to_string())?,
        None => ServerName::from(peer.ip()),
    };
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.map_err(|error| format!("no session by TLS: {error}"))
}

fn read_roots(file: &Path) -> Result<rustls::RootCertStore, String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("the certificates in {} can't be used: {error}", file.display())
    };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))? {
        let certificate = certificate.map_err(|error| failed(&error))?;
        roots.add(certificate).map_err(|error| failed(&error))?;
    }
    if roots.is_empty() { Err(failed(&"there is none")) } else { Ok(roots) }
}

/// One request and its answer.
async fn exchange(
    http: &HttpProbe,
    peer: SocketAddr,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), String> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits::PROBE_BODY_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|error| describe_error(&error))?;
    let ProbeAddress { host, port } = &http.url.address;
    let written = host.clone().unwrap_or_else(|| peer.ip().to_string());
    // As in a URL (RFC 3986, 3.2.2): without brackets the port could not be separated from the address.
    let written =
        if written.contains(':') { format!("[{written}]:{port}") } else { format!("{written}:{port}") };
    let mut request = hyper::Request::builder()
        .method(http.method.as_str())
        .uri(&http.url.path)
        .header(hyper::header::HOST, http.host.as_ref().unwrap_or(&written))
        .header(hyper::header::CONNECTION, "close");
    if !http.headers.keys().any(|name| name.eq_ignore_ascii_case("user-agent")) {
        request = request.header(hyper::header::USER_AGENT, "trimaran-probe/1");
    }
    for (name, value) in &http.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| describe_error(&error))?;
        read(http, response).await
    };
    tokio::pin!(answer);
    // The connection is driven beside the answer and ends with it.
    tokio::select! {
        biased;
        result = &mut answer => result,
        _ = connection => answer.await,
    }
}

/// Reads the answer up to the limit: one that stops in the middle before that is no success.
async fn read(http: &HttpProbe, response: hyper::Response<hyper::body::Incoming>) -> Result<(), String> {
    let status = response.status().as_u16();
    let (from, to) = http.expect.status;
    if !(from..=to).contains(&status) {
        return Err(format!("HTTP {status}"));
    }
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while bytes.len() < limits::PROBE_BODY_BYTES_MAX {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|error| describe_error(&error))?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
    }
    match &http.expect.contains {
        Some(wanted) if !String::from_utf8_lossy(&bytes).contains(wanted.as_str()) => {
            Err(format!("HTTP {status} without `{wanted}` in its first 64 KiB"))
        }
        _ => Ok(()),
    }
}

async fn resolve(address: &ProbeAddress, own: IpAddr) -> Result<SocketAddr, String> {
    let Some(host) = &address.host else { return Ok(SocketAddr::new(own, address.port)) };
    let mut found = tokio::net::lookup_host((host.as_str(), address.port))
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
