//! How the agent shows itself to JobManagers, and knows them: certificates, and headers whose values are secrets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Identity};
use tokio::io::AsyncReadExt as _;
use trimaran_model::target::FlinkAccess;
use trimaran_model::text::with_sources;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of one secret or bundle of certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What stands in a target, and where its secrets are.
#[derive(Debug, Clone, Default)]
pub struct Access {
    settings: FlinkAccess,
    secrets: Option<PathBuf>,
}

/// A file that can't be used. Its content is never named.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AccessError {
    #[error("the target names the secret `{secret}`, and the agent was started without `--secrets DIR`")]
    NoSecrets { secret: String },
    #[error("can't read `{path}`: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("`{path}` has no PEM certificates: {detail}")]
    Ca { path: String, detail: String },
    #[error("the secret `{secret}` is no PEM certificate with its key: {detail}")]
    Identity { secret: String, detail: String },
    #[error("the secret `{secret}` can't be the value of header `{header}`")]
    Header { secret: String, header: String },
    #[error("no client can be made: {0}")]
    Client(String),
}

impl Access {
    /// `secrets`: the directory of the agent's `--secrets`.
    pub fn new(settings: FlinkAccess, secrets: Option<PathBuf>) -> Self {
        Self { settings, secrets }
    }

    /// A client with the certificates as they are now.
    pub(crate) async fn client(&self) -> Result<reqwest::Client, AccessError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(path) = &self.settings.ca {
            let pem = read(Path::new(path)).await?;
            let unusable = |detail: String| AccessError::Ca { path: path.clone(), detail };
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| unusable(with_sources(&error)))?;
            if certificates.is_empty() {
                return Err(unusable("it is empty".to_owned()));
            }
            builder = builder.tls_certs_only(certificates);
        }
        if let Some(secret) = &self.settings.client_cert {
            let pem = self.secret(secret).await?;
            let unusable = |error: reqwest::Error| AccessError::Identity {
                secret: secret.clone(),
                detail: with_sources(&error),
            };
            builder = builder.identity(Identity::from_pem(&pem).map_err(unusable)?);
        }
        builder.build().map_err(|error| AccessError::Client(with_sources(&error)))
    }

    /// The headers of one request.
    pub(crate) async fn headers(&self) -> Result<HeaderMap, AccessError> {
        let mut headers = HeaderMap::new();
        for (header, secret) in &self.settings.headers {
            let unusable = || AccessError::Header { secret: secret.clone(), header: header.clone() };
            let value = self.secret(secret).await?;
            // Editors and `echo` end a file with a line's end, which is not meant.
            let value = value.strip_suffix(b"\n").unwrap_or(&value);
            let mut value = HeaderValue::from_bytes(value).map_err(|_| unusable())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::try_from(header).map_err(|_| unusable())?, value);
        }
        Ok(headers)
    }

    async fn secret(&self, name: &str) -> Result<Vec<u8>, AccessError> {
        let Some(directory) = &self.secrets else {
            return Err(AccessError::NoSecrets { secret: name.to_owned() });
        };
        read(&directory.join(name)).await
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    let failed = |source| AccessError::Io { path: path.display().to_string(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).await.map_err(failed)?;
    Ok(bytes)
}
