//! Savepoints in a bucket of S3, or of a store that speaks its protocol. They are listed and never read or written: Flink does
//! that with its own keys.

mod listing;
mod settings;
mod signature;

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use reqwest::{Certificate, Url};
use trimaran_flink_core::call::SavepointSeen;
use trimaran_flink_core::storage::{Bucket, METADATA, is_state_name};
use trimaran_model::text::with_sources;
use trimaran_process::clock::system_wall;

use listing::{Object, Page};
use settings::KeysError;
pub use settings::S3Settings;
use signature::{Unsigned, encoded};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// States of one directory that are looked at. One stop makes one, and a job keeps a few checkpoints.
const STATES_MAX: usize = 1000;
/// Questions that wait side by side.
const AT_ONCE: usize = 8;

/// Why a place in a bucket can't be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum S3Error {
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error("the certificates in `{path}` can't be used: {detail}")]
    Ca { path: String, detail: String },
    #[error("`{0}` is no URL of an object store")]
    Endpoint(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("the store answers {status} {detail}")]
    Refused { status: u16, detail: String },
    #[error("the store's answer is no listing")]
    Unreadable,
    #[error("there are more than {STATES_MAX} states")]
    TooMany,
}

/// A client of the agent's object store, which connects when it is needed.
pub(crate) struct S3 {
    settings: S3Settings,
    http: OnceLock<reqwest::Client>,
}

impl S3 {
    pub(crate) fn new(settings: S3Settings) -> Self {
        Self { settings, http: OnceLock::new() }
    }

    /// The complete savepoints and checkpoints directly below a place. Of one that is not complete there is nothing that
    /// could be named.
    pub(crate) async fn list(&self, place: Bucket<'_>) -> Result<Vec<SavepointSeen>, S3Error> {
        let prefix = if place.key.is_empty() { String::new() } else { format!("{}/", place.key) };
        let mut below = Vec::new();
        let mut from: Option<String> = None;
        loop {
            let mut query = vec![("delimiter", "/"), ("list-type", "2"), ("prefix", prefix.as_str())];
            query.extend(from.as_deref().map(|from| ("continuation-token", from)));
            let page = self.page(place.name, &mut query).await?;
            let is_state = |it: &String| it.strip_prefix(&prefix).is_some_and(is_state_name);
            below.extend(page.prefixes.into_iter().filter(is_state));
            if below.len() > STATES_MAX {
                return Err(S3Error::TooMany);
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let looks: Vec<_> = below.iter().map(|state| self.complete(place, state).boxed()).collect();
        let seen: Vec<Option<SavepointSeen>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        Ok(seen.into_iter().flatten().collect())
    }

    /// A state by its prefix, which ends with a slash; `None` when it is not complete.
    async fn complete(&self, place: Bucket<'_>, state: &str) -> Result<Option<SavepointSeen>, S3Error> {
        let key = format!("{state}{METADATA}");
        let mut query = vec![("list-type", "2"), ("max-keys", "1"), ("prefix", key.as_str())];
        let page = self.page(place.name, &mut query).await?;
        let metadata = page.objects.into_iter().find(|object| object.key == key);
        let Bucket { scheme, name, .. } = place;
        Ok(metadata.map(|Object { modified, .. }| SavepointSeen {
            path: format!("{scheme}://{name}/{}", state.trim_end_matches('/')),
            is_complete: true,
            modified,
        }))
    }

    async fn page(&self, bucket: &str, query: &mut [(&str, &str)]) -> Result<Page, S3Error> {
        query.sort_unstable();
        let pair = |(name, value): &(&str, &str)| format!("{name}={}", encoded(value));
        let query = query.iter().map(pair).collect::<Vec<_>>().join("&");
        let base = match &self.settings.endpoint {
            Some(endpoint) => format!("{endpoint}/{bucket}"),
            None => format!("https://{bucket}.s3.{}.amazonaws.com/", self.settings.region),
        };
        let url = Url::parse(&base).map_err(|_| S3Error::Endpoint(base))?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(S3Error::Endpoint(url.to_string())),
        };
        let keys = self.settings.keys().await?;
        let unsigned =
            Unsigned { region: &self.settings.region, host: &host, path: url.path(), query: &query };
        let mut request = self.http().await?.get(format!("{url}?{query}"));
        for (name, value) in signature::headers(&unsigned, &keys, system_wall()) {
            request = request.header(name, value);
        }
        let unreachable = |error: reqwest::Error| S3Error::Unreachable(with_sources(&error));
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.text().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(S3Error::Refused { status: status.as_u16(), detail: listing::refusal(&body) });
        }
        listing::page(&body).ok_or(S3Error::Unreadable)
    }

    async fn http(&self) -> Result<&reqwest::Client, S3Error> {
        if let Some(known) = self.http.get() {
            return Ok(known);
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(path) = &self.settings.ca {
            let unusable = |detail: String| S3Error::Ca { path: path.display().to_string(), detail };
            let pem = tokio::fs::read(path).await.map_err(|error| unusable(error.to_string()))?;
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| unusable(with_sources(&error)))?;
            builder = builder.tls_certs_only(certificates);
        }
        let made = builder.build().map_err(|error| S3Error::Unreachable(with_sources(&error)))?;
        Ok(self.http.get_or_init(|| made))
    }
}
