//! One request to an API server, answered with an object or with why there is none.

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
            Self::Credentials(_) | Self::Silent(_) => Refusal::Unavailable { message: self.to_string() },
            Self::Status { code, body } => Refusal::of_status(*code, body),
        }
    }

    /// In the API server's own words.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Credentials(_) | Self::Silent(_) => self.to_string(),
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
            Self::Credentials(_) | Self::Silent(_) => None,
        }
    }
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
    let silent = |error: &dyn std::error::Error| RequestError::Silent(with_sources(error));
    let answer = client.send(request).await.map_err(|error| silent(&error))?;
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
