//! One request to an API server, answered with an object or with why there is none.

use std::error::Error;

pub(crate) use http::Method;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use trimaran_kubernetes_driver::Refusal;
use trimaran_model::text::with_sources;

pub(crate) const JSON: &str = "application/json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";

/// An object has at most 2 MiB or so; lists of a namespace have more.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Why a request has no object as its answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// There is no client.
    #[error("{0}")]
    Credentials(String),
    /// Who answers can't prove to be the one that was asked: nothing was sent.
    #[error("the API server is not trusted: {0}")]
    Untrusted(String),
    /// No answer, or half of one.
    #[error("the API server does not answer: {0}")]
    Silent(String),
    #[error("the API server answers with status {code}: {body}")]
    Status { code: u16, body: String },
}

impl RequestError {
    /// What it means for a call of the driver.
    pub(crate) fn refusal(&self) -> Refusal {
        match self {
            Self::Credentials(_) | Self::Untrusted(_) | Self::Silent(_) => {
                Refusal::Unavailable { message: self.to_string() }
            }
            Self::Status { code, body } => Refusal::of_status(*code, body),
        }
    }

    /// In the API server's own words.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Credentials(_) | Self::Untrusted(_) | Self::Silent(_) => self.to_string(),
            Self::Status { code, body } => {
                let status: Option<Value> = serde_json::from_str(body).ok();
                let message = status.as_ref().and_then(|status| status["message"].as_str());
                message.map_or_else(|| format!("the API server answers with status {code}"), str::to_owned)
            }
        }
    }

    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            Self::Credentials(_) | Self::Untrusted(_) | Self::Silent(_) => None,
        }
    }

    /// Of a request that was not answered.
    fn unanswered(error: &kube::Error) -> Self {
        let text = with_sources(error);
        if inner::<kube::client::AuthError>(error).is_some() {
            return Self::Credentials(text);
        }
        match inner::<rustls::Error>(error) {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Untrusted(text),
            Some(_) | None => Self::Silent(text),
        }
    }
}

/// The first error of a kind among an error and its sources.
fn inner<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // What is wrapped is no source of its wrapper here.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// Sends a request; `path` begins with `/` and may have a query.
pub(crate) async fn send(
    client: &Client,
    method: Method,
    path: &str,
    kind: &str,
    body: Vec<u8>,
) -> Result<Value, RequestError> {
    let text = send_for_text(client, method, path, kind, body).await?;
    serde_json::from_slice(&text).map_err(|error| RequestError::Silent(format!("it is no JSON: {error}")))
}

/// As [`send`], with whatever bytes are answered.
pub(crate) async fn send_for_text(
    client: &Client,
    method: Method,
    path: &str,
    kind: &str,
    body: Vec<u8>,
) -> Result<Vec<u8>, RequestError> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", kind)
        .header("accept", JSON)
        .body(Body::from(body))
        .map_err(|error| RequestError::Silent(format!("`{path}` is no path: {error}")))?;
    let silent = |error: &dyn Error| RequestError::Silent(with_sources(error));
    let answer = client.send(request).await.map_err(|error| RequestError::unanswered(&error))?;
    let code = answer.status().as_u16();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| silent(&*error))?.to_bytes();
    if code >= 300 {
        let body = String::from_utf8_lossy(&body).into_owned();
        return Err(RequestError::Status { code, body });
    }
    Ok(body.to_vec())
}

/// A value as a part of a path or query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unanswered(error: std::io::Error) -> RequestError {
        RequestError::unanswered(&kube::Error::Service(Box::new(error)))
    }

    #[test]
    fn another_server_is_not_silence() {
        let other = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let found = unanswered(std::io::Error::other(std::io::Error::other(other)));
        assert!(matches!(&found, RequestError::Untrusted(text) if text.contains("UnknownIssuer")), "{found}");
        let cut = unanswered(std::io::Error::other(rustls::Error::HandshakeNotComplete));
        assert!(matches!(cut, RequestError::Silent(_)), "{cut}");
        let refused = unanswered(std::io::ErrorKind::ConnectionRefused.into());
        assert!(matches!(refused, RequestError::Silent(_)), "{refused}");
    }

    #[test]
    fn without_credentials_nothing_can_be_asked() {
        let error = kube::Error::Auth(kube::client::AuthError::UnrefreshableTokenResponse);
        assert!(matches!(RequestError::unanswered(&error), RequestError::Credentials(_)));
    }
}
