//! The key of a target, and what was sealed with it.
//!
//! The first agent of a target makes the key and keeps it as a Secret in the target's namespace: every later agent, and
//! one that lost its directory, finds it there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use trimaran_agent_core::platform::{Part, PartSink, PlatformError};
use trimaran_kubernetes_driver::Loaded;
use trimaran_model::reason::ReasonCode;
use trimaran_sealing::{OpeningKey, is_sealed, open};

use crate::place::Place;
use crate::request::{JSON, Method, RequestError, encoded};

/// The value of the Secret that holds the key.
const FIELD: &str = "key";

impl Place {
    /// Answers with what values are sealed with.
    pub(crate) async fn sealing_key(&self, answer: impl PartSink) -> Result<(), PlatformError> {
        let key = self.opening_key().await.map_err(|error| PlatformError {
            code: match error.code() {
                Some(401 | 403) => ReasonCode::PermissionDenied,
                _ => ReasonCode::ApiUnavailable,
            },
            message: format!("the key of target {}: {}", self.target, error.message()),
        })?;
        // Whoever asked may have gone.
        let _ = answer.put(Part::SealingKey(key.sealing_key().to_bytes())).await;
        Ok(())
    }

    /// Opens all that is sealed among the documents.
    pub(crate) async fn open_all(&self, documents: &mut [Value]) -> Result<(), Loaded> {
        for document in documents.iter_mut().filter(|document| is_sealed(document)) {
            let key = self.opening_key().await.map_err(|error| {
                let message = format!("the key of target {}: {}", self.target, error.message());
                Loaded::Unavailable { message }
            })?;
            let opened = open(document, self.target.as_str(), key);
            opened.map_err(|error| Loaded::Invalid { message: error.to_string() })?;
        }
        Ok(())
    }

    async fn opening_key(&self) -> Result<&OpeningKey, RequestError> {
        self.opening.get_or_try_init(|| self.find_or_make_key()).await
    }

    async fn find_or_make_key(&self) -> Result<OpeningKey, RequestError> {
        let name = format!("trimaran-sealing-{}", self.target);
        let secrets = format!("/api/v1/namespaces/{}/secrets", encoded(&self.namespace));
        let path = format!("{secrets}/{}", encoded(&name));
        match self.request(Method::GET, &path, JSON, None).await {
            Ok(secret) => return key_of(&secret),
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(error),
        }
        let mut bytes = [0; OpeningKey::BYTES];
        let random = aws_lc_rs::rand::fill(&mut bytes);
        random.map_err(|_| RequestError::Silent("the system gives no random bytes".to_owned()))?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "type": "trimaran.dev/sealing-key", "immutable": true, "data": {FIELD: STANDARD.encode(bytes)},
        });
        match self.request(Method::POST, &secrets, JSON, Some(&secret)).await {
            Ok(secret) => key_of(&secret),
            // Another agent was faster: its key counts.
            Err(error) if error.code() == Some(409) => {
                key_of(&self.request(Method::GET, &path, JSON, None).await?)
            }
            Err(error) => Err(error),
        }
    }
}

fn key_of(secret: &Value) -> Result<OpeningKey, RequestError> {
    let text = secret.pointer(&format!("/data/{FIELD}")).and_then(Value::as_str).unwrap_or_default();
    let bytes: Option<[u8; OpeningKey::BYTES]> = STANDARD.decode(text).ok().and_then(|it| it.try_into().ok());
    let broken = || RequestError::Silent("the Secret that holds it has no key any more".to_owned());
    Ok(OpeningKey::from_random(&bytes.ok_or_else(broken)?))
}
