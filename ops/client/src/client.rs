//! One operator's way to a cluster: a session to any coordinator, requests that are repeated safely.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Mutex, OnceCell};
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::time::Wall;
use trimaran_transport::files::IdentityFiles;
use trimaran_transport::{
    Alpn, CertificateStore, Clock, CloseCode, ConnectError, Endpoint, EndpointConfig, EndpointLimits,
    FrameReceiver, RequestError, Session, Trust, random,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply, OperatorRequest, Refusal};

use crate::config::Context;
use crate::enroll;

/// How long a request is repeated on other endpoints before the client gives up: longer than a coordinator
/// needs to start again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one endpoint may take to answer a dial. Shorter than the transport's own bound: a new dial asks at
/// once, while the old one's repetitions come at growing distances.
const DIAL: Duration = Duration::from_millis(1500);

/// Why a request has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// No endpoint answered; `attempts` says what each one did.
    #[error("no coordinator answers: {attempts}")]
    Unreachable { attempts: String },
    /// Sent, and the answer was lost: repeat it with the same request id.
    #[error("the outcome is not known: {why}")]
    Indeterminate { why: String },
    #[error("{why}")]
    Identity { why: String },
    #[error("{why}")]
    Protocol { why: String },
}

/// A client of one cluster. Connects when it is first used and again when a session is lost.
pub struct Client {
    context: Context,
    endpoint: OnceCell<Endpoint>,
    session: Mutex<Option<Session>>,
}

/// The frames of one streamed answer.
pub struct Replies(FrameReceiver);

impl Replies {
    /// The next reply; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<OperatorReply>, ClientError> {
        let lost =
            |error: trimaran_transport::RecvError| ClientError::Unreachable { attempts: error.to_string() };
        let Some(frame) = self.0.next().await.map_err(lost)? else { return Ok(None) };
        match OperatorReply::from_frame(&frame).map_err(protocol)? {
            OperatorReply::Refused(refusal) => Err(ClientError::Refused(refusal)),
            reply => Ok(Some(reply)),
        }
    }
}

/// Installs the process's cryptography, for HTTP clients beside this one.
pub fn install_crypto() {
    trimaran_transport::install_crypto_provider();
}

/// The system's clock, by which an operator's machine judges certificates.
pub(crate) fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

pub(crate) fn protocol(error: impl std::fmt::Display) -> ClientError {
    ClientError::Protocol { why: format!("the coordinator's answer can't be read: {error}") }
}

impl Client {
    pub fn new(context: Context) -> Self {
        install_crypto();
        Self { context, endpoint: OnceCell::new(), session: Mutex::new(None) }
    }

    /// Sends a request and returns the revision and JSON of its document.
    pub async fn request(
        &self,
        request_id: Option<[u8; 16]>,
        body: OperatorBody,
    ) -> Result<(u64, String), ClientError> {
        match self.ask(request_id, body).await? {
            OperatorReply::Document { revision, json } => Ok((revision, json)),
            OperatorReply::Refused(refusal) => Err(ClientError::Refused(refusal)),
            OperatorReply::Event { .. } | OperatorReply::Logs(_) => Err(protocol("it is no document")),
        }
    }

    /// Sends a request that is answered by a stream.
    pub async fn stream(&self, body: OperatorBody) -> Result<Replies, ClientError> {
        let frame = OperatorRequest { request_id: None, body }.to_frame();
        let session = self.session().await?;
        match session.request(&frame).await {
            Ok(receiver) => Ok(Replies(receiver)),
            Err(error) => {
                self.forget().await;
                Err(ClientError::Unreachable { attempts: error.to_string() })
            }
        }
    }

    /// Sends the request until one coordinator answers or the patience is over.
    async fn ask(
        &self,
        request_id: Option<[u8; 16]>,
        body: OperatorBody,
    ) -> Result<OperatorReply, ClientError> {
        let frame = OperatorRequest { request_id, body }.to_frame();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut sent = false;
        let mut attempt = 0;
        loop {
            let error = match self.session().await {
                Ok(session) => match exchange(&session, &frame).await {
                    Ok(reply) => match again(reply) {
                        Ok(reply) => return Ok(reply),
                        Err(error) => error,
                    },
                    Err(error) => {
                        sent = true;
                        self.forget().await;
                        ClientError::Unreachable { attempts: error.to_string() }
                    }
                },
                Err(error @ ClientError::Identity { .. }) => return Err(error),
                Err(error) => error,
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(given_up(error, sent && request_id.is_some()));
            }
            let delay = trimaran_transport::backoff::OPERATOR.delay(attempt, random::next_u64());
            attempt += 1;
            tokio::time::sleep(delay.to_std()).await;
        }
    }

    async fn forget(&self) {
        *self.session.lock().await = None;
    }

    async fn session(&self) -> Result<Session, ClientError> {
        let mut current = self.session.lock().await;
        if let Some(session) = current.as_ref().filter(|session| session.close_reason().is_none()) {
            return Ok(session.clone());
        }
        let endpoint = self.endpoint.get_or_try_init(|| self.bind()).await?;
        let mut attempts = Vec::new();
        for address in addresses(&self.context.endpoints)? {
            let dialed = tokio::time::timeout(DIAL, endpoint.connect(address, Alpn::Operator)).await;
            let Ok(dialed) = dialed else {
                attempts.push(format!("{address} did not answer"));
                continue;
            };
            match dialed {
                Ok(session) => {
                    *current = Some(session.clone());
                    return Ok(session);
                }
                Err(ConnectError::Certificate { source, .. }) => {
                    return Err(ClientError::Identity { why: format!("{address}: {source}") });
                }
                Err(error) => attempts.push(error.to_string()),
            }
        }
        Err(ClientError::Unreachable { attempts: attempts.join("; ") })
    }

    async fn bind(&self) -> Result<Endpoint, ClientError> {
        let mut files = self.files()?;
        if let Some(renewed) = enroll::renew_if_due(&self.context, &files).await {
            files = renewed;
        }
        let bad =
            |what: String| ClientError::Identity { why: format!("the identity of this context: {what}") };
        let trust = Trust::from_pem(&files.ca).map_err(|error| bad(error.to_string()))?;
        let store = CertificateStore::new(&files).map_err(|error| bad(error.to_string()))?;
        let config = EndpointConfig {
            alpns: Vec::new(),
            trust: Some(trust),
            store,
            clock: system_clock(),
            revoked: Arc::new(|_| false),
            reset_key: None,
            limits: EndpointLimits::CLIENT,
        };
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        Endpoint::bind(any, config).map_err(|error| ClientError::Unreachable { attempts: error.to_string() })
    }

    fn files(&self) -> Result<IdentityFiles, ClientError> {
        let read = |path: &std::path::Path| {
            std::fs::read_to_string(path)
                .map_err(|error| ClientError::Identity { why: format!("{}: {error}", path.display()) })
        };
        Ok(IdentityFiles {
            cert: read(&self.context.cert)?,
            key: read(&self.context.key)?,
            ca: read(&self.context.ca)?,
        })
    }
}

/// One request on one session.
async fn exchange(
    session: &Session,
    frame: &trimaran_wire::frame::Frame,
) -> Result<OperatorReply, RequestError> {
    let reply = session.request_one(frame).await?;
    match OperatorReply::from_frame(&reply) {
        Ok(reply) => Ok(reply),
        Err(error) => {
            session.close(CloseCode::Protocol, &error.to_string());
            Err(RequestError::NoReply)
        }
    }
}

/// Passes a reply on, or says that another attempt may succeed.
fn again(reply: OperatorReply) -> Result<OperatorReply, ClientError> {
    let passing = [error_code::BUSY, error_code::NO_QUORUM, error_code::INDETERMINATE];
    match reply {
        OperatorReply::Refused(refusal) if passing.contains(&ErrorCode(refusal.code)) => {
            Err(ClientError::Refused(refusal))
        }
        reply => Ok(reply),
    }
}

fn given_up(error: ClientError, may_be_done: bool) -> ClientError {
    match error {
        ClientError::Unreachable { attempts } if may_be_done => ClientError::Indeterminate { why: attempts },
        other => other,
    }
}

/// All addresses of the endpoints, in order.
pub(crate) fn addresses(endpoints: &[String]) -> Result<Vec<SocketAddr>, ClientError> {
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    for endpoint in endpoints {
        match endpoint.to_socket_addrs() {
            Ok(addresses) => found.extend(addresses),
            Err(error) => wrong.push(format!("{endpoint}: {error}")),
        }
    }
    if found.is_empty() {
        let attempts = if wrong.is_empty() { "no endpoint is known".to_owned() } else { wrong.join("; ") };
        return Err(ClientError::Unreachable { attempts });
    }
    Ok(found)
}
