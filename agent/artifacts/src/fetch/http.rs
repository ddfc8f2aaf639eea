//! An artifact behind an http or https URL.
//!
//! Each download has a client of its own, dropped at its end: an idle runner holds neither connections nor
//! the system's certificates in memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::mpsc;
use trimaran_model::id::Digest;
use trimaran_model::limits::{FETCH_PIECES_QUEUED_MAX, FETCH_REDIRECTS_MAX};
use trimaran_model::text::with_sources;

use super::part::Part;
use super::source::source_name;
use super::{Failure, FetchError};
use crate::blocking::spawn;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that sends nothing for so long is abandoned.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn download(
    url: &str,
    planned: Digest,
    cache: &Path,
    deadline: Duration,
) -> Result<PathBuf, Failure> {
    let from = source_name(&trimaran_model::release::ArtifactLocation::Url(url.to_owned()));
    let unreachable = |detail: String| FetchError::Unreachable { from: from.clone(), detail };
    let parsed = Url::parse(url).map_err(|error| unreachable(format!("no URL: {error}")))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(unreachable(format!("`{}` is neither http nor https", parsed.scheme())).into());
    }
    let mut url = parsed;
    let response = loop {
        let client = client(&url, deadline).map_err(|error| unreachable(words(&error)))?;
        let request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        let response = request.send().await.map_err(|error| classify(&from, &error))?;
        match secure_redirect(&url, &response) {
            // At most once: from here on the client follows alone.
            Some(next) => url = next,
            None => break check_status(response, &from)?,
        }
    };
    stream(response, &from, planned, cache).await
}

/// A client that speaks TLS only where the URL asks for it: a host without certificates can still fetch from
/// its own network.
fn client(url: &Url, deadline: Duration) -> Result<Client, reqwest::Error> {
    let plain = url.scheme() == "http";
    let redirect = Policy::custom(move |attempt| match attempt.previous().len() {
        FETCH_REDIRECTS_MAX.. => attempt.error("too many redirects"),
        _ if plain && attempt.url().scheme() != "http" => attempt.stop(),
        _ => attempt.follow(),
    });
    let mut builder = Client::builder()
        .user_agent(concat!("trimaran/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT.min(deadline))
        .read_timeout(IDLE_TIMEOUT.min(deadline))
        .redirect(redirect)
        .pool_max_idle_per_host(0)
        .http1_only();
    if plain {
        builder = builder.tls_certs_only([]);
    }
    if is_loopback(url) {
        // A proxy of the environment can't reach this host's own loopback.
        builder = builder.no_proxy();
    }
    builder.build()
}

/// Where a plain client has stopped because TLS is needed from there on.
fn secure_redirect(url: &Url, response: &Response) -> Option<Url> {
    if url.scheme() != "http" || !response.status().is_redirection() {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(location).ok().filter(|next| next.scheme() == "https")
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

fn check_status(response: Response, from: &str) -> Result<Response, Failure> {
    let status = response.status();
    let detail = format!("the server answered {status}");
    match status {
        _ if status == StatusCode::OK => Ok(response),
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            Err(FetchError::Missing { from: from.to_owned(), detail }.into())
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(Failure::Passing(detail)),
        _ if status.is_server_error() => Err(Failure::Passing(detail)),
        _ => Err(FetchError::Unreachable { from: from.to_owned(), detail }.into()),
    }
}

/// The socket is read here and the file is written on a thread of its own, with a short queue between.
async fn stream(
    mut response: Response,
    from: &str,
    planned: Digest,
    cache: &Path,
) -> Result<PathBuf, Failure> {
    let length = response.content_length();
    let (send, mut receive) = mpsc::channel::<Piece>(FETCH_PIECES_QUEUED_MAX);
    let (owned_cache, owned_from) = (cache.to_owned(), from.to_owned());
    let writer = spawn(move || -> Result<_, FetchError> {
        let mut part = Part::create(&owned_cache, &owned_from, length)?;
        while let Some(piece) = receive.blocking_recv() {
            match piece {
                Piece::Bytes(bytes) => part.write(&bytes)?,
                Piece::End => return part.finish(planned).map(Some),
            }
        }
        // The reader failed or was dropped; so is the part.
        Ok(None)
    });
    let read = loop {
        match response.chunk().await {
            Ok(Some(bytes)) => {
                // A writer that is gone has its own error.
                if send.send(Piece::Bytes(bytes)).await.is_err() {
                    break Ok(());
                }
            }
            Ok(None) => {
                let _ = send.send(Piece::End).await;
                break Ok(());
            }
            Err(error) => break Err(classify(from, &error)),
        }
    };
    drop(send);
    let written = writer.await.map_err(|error| {
        let source = std::io::Error::other(error);
        FetchError::io("write into", cache, source)
    })?;
    // A disk that refused is the cause also where the connection was cut a moment later.
    let written = written?;
    read?;
    let lost = || FetchError::io("write into", cache, std::io::ErrorKind::BrokenPipe.into());
    Ok(written.ok_or_else(lost)?)
}

enum Piece {
    Bytes(Bytes),
    /// Without it the bytes before are not the whole file.
    End,
}

/// Faults of the way are tried again; faults of the request are not.
fn classify(from: &str, error: &reqwest::Error) -> Failure {
    if error.is_builder() || error.is_redirect() {
        return FetchError::Unreachable { from: from.to_owned(), detail: words(error) }.into();
    }
    Failure::Passing(words(error))
}

/// The chain of causes without URLs: they may hold secrets.
fn words(error: &reqwest::Error) -> String {
    let first = match error {
        _ if error.is_timeout() => "timed out",
        _ if error.is_connect() => "can't connect",
        _ if error.is_redirect() => "too many or bad redirects",
        _ if error.is_body() || error.is_decode() => "the answer was cut off",
        _ => "the request failed",
    };
    match std::error::Error::source(error) {
        Some(cause) => format!("{first}: {}", with_sources(cause)),
        None => first.to_owned(),
    }
}
