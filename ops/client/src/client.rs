//! One operator's way to a cluster: a session to any coordinator, requests that are repeated safely.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tokio::task::JoinSet;
use tokio::time::Instant;
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::limits::DOCUMENT_BYTES_MAX;
use trimaran_transport::files::IdentityFiles;
use trimaran_transport::{
    Alpn, CertificateStore, CloseCode, CloseReason, ConnectError, Endpoint, EndpointConfig, EndpointLimits,
    FrameReceiver, RequestError, Session, Trust, random,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::document::{Document as _, GrantDocument, TokenDocument};
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::operator::{EnrollOrder, OperatorBody, OperatorReply, OperatorRequest};

use crate::config::Context;
use crate::enroll;
use crate::error::{ClientError, protocol};
use crate::ground::{addresses, install_crypto, system_clock};
use crate::token;

/// How long a request is repeated once a coordinator was reached, and while it is not known what became of it:
/// longer than a coordinator needs to start again.
const REPEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it is tried to reach any coordinator at all.
const REACH_TIMEOUT: Duration = Duration::from_millis(2800);
/// How long the endpoints may take to answer a dial. Shorter than the transport's own bound: a new dial asks at
/// once, while the old one's repetitions come at growing distances.
const DIAL_TIMEOUT: Duration = Duration::from_millis(1400);
/// How long another coordinator may take to answer a dial when the one that was asked has no leader.
const ANOTHER_DIAL_TIMEOUT: Duration = Duration::from_millis(500);
/// A request that has no answer yet is sent to a second coordinator too after so long: the first one may be dead, which
/// its silence alone says. Under a request id it is still executed once.
const HEDGE_DELAY: Duration = Duration::from_millis(600);
/// How long a request is repeated to coordinators that have no quorum.
const NO_QUORUM_TIMEOUT: Duration = Duration::from_secs(4);
/// A coordinator that is silent for so long is taken for dead by who has another one to go to.
const SILENT_AFTER: Duration = Duration::from_millis(1500);
const SILENCE_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// The next endpoint is dialed too when the one before it is silent for so long.
const NEXT_DIAL_DELAY: Duration = Duration::from_millis(200);

/// Called once when a request is sent again: why, and for how long it is repeated.
pub type OnRepeat = Box<dyn Fn(&str, Duration) + Send + Sync>;

/// A client of one cluster. Connects when it is first used and again when a session is lost.
pub struct Client {
    context: Context,
    endpoint: OnceCell<Arc<Endpoint>>,
    session: Mutex<Option<Session>>,
    on_repeat: Option<OnRepeat>,
}

/// The frames of one streamed answer.
pub struct Replies {
    frames: FrameReceiver,
    session: Session,
    /// There are other coordinators: a silent one is left.
    has_choice: bool,
}

impl Replies {
    /// The next reply; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<OperatorReply>, ClientError> {
        let lost =
            |error: trimaran_transport::RecvError| ClientError::Unreachable { attempts: error.to_string() };
        let frame = tokio::select! {
            frame = self.frames.next() => frame.map_err(lost)?,
            () = silence(&self.session), if self.has_choice => {
                self.session.close(CloseCode::Silent, "");
                let attempts = format!("{} is silent", self.session.remote_address());
                return Err(ClientError::Unreachable { attempts });
            }
        };
        let Some(frame) = frame else { return Ok(None) };
        match OperatorReply::from_frame(&frame).map_err(protocol)? {
            OperatorReply::Refused(refusal) => Err(ClientError::Refused(refusal)),
            reply => Ok(Some(reply)),
        }
    }
}

impl Client {
    pub fn new(context: Context) -> Self {
        install_crypto();
        Self { context, endpoint: OnceCell::new(), session: Mutex::new(None), on_repeat: None }
    }

    /// Calls `on_repeat` when a change is sent again because its answer was lost.
    pub fn on_repeat(mut self, on_repeat: OnRepeat) -> Self {
        self.on_repeat = Some(on_repeat);
        self
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
            OperatorReply::Event { .. } | OperatorReply::Part(_) => Err(protocol("it is not a document")),
            OperatorReply::Logs(_) | OperatorReply::Difference { .. } | OperatorReply::Backup(_) => {
                Err(protocol("it is not a document"))
            }
        }
    }

    /// Asks for a one-time token. It is made here, from this client's own key and the request, so that a repetition under
    /// the same request id gives the same one and no file has to keep it. Only its hash is sent: the cluster sees the
    /// token when it is used, and never before.
    pub async fn enroll(
        &self,
        request_id: [u8; 16],
        order: EnrollOrder,
    ) -> Result<TokenDocument, ClientError> {
        let token = token::make(&self.files()?, request_id, &order)?;
        let body = OperatorBody::Enroll { order, token_sha256: token.hash().0 };
        let (_, json) = self.request(Some(request_id), body).await?;
        let GrantDocument { name, expires_at } = GrantDocument::from_json(&json).map_err(protocol)?;
        Ok(TokenDocument { name, token: token.text(), expires_at })
    }

    /// Sends a request that is answered by a stream.
    pub async fn stream(&self, body: OperatorBody) -> Result<Replies, ClientError> {
        let frame = OperatorRequest { request_id: None, body }.to_frame();
        let session = self.session(Instant::now() + REACH_TIMEOUT).await?;
        match session.request(&frame).await {
            Ok(frames) => {
                let has_choice = self.context.endpoints.len() > 1;
                Ok(Replies { frames, session, has_choice })
            }
            Err(error) => {
                self.drop_session().await;
                Err(unanswered(&error))
            }
        }
    }

    /// Sends the request until one coordinator answers or the time is over: soon when none is reached, later
    /// when one was.
    async fn ask(
        &self,
        request_id: Option<[u8; 16]>,
        body: OperatorBody,
    ) -> Result<OperatorReply, ClientError> {
        let frame = OperatorRequest { request_id, body }.to_frame();
        let start = Instant::now();
        let (mut deadline, mut limit) = (start + REACH_TIMEOUT, start + REPEAT_TIMEOUT);
        let mut in_doubt = false;
        let mut attempt = 0;
        loop {
            let mut leaderless = None;
            let error = match self.session(deadline).await {
                Ok(session) => {
                    deadline = limit;
                    let asked = session.remote_address();
                    match self.exchange(session, &frame).await {
                        Ok(reply) => match check_repeatable(reply) {
                            Ok(reply) => return Ok(reply),
                            Err(error) => {
                                if is_refused_with(&error, error_code::NO_QUORUM) {
                                    limit = limit.min(start + NO_QUORUM_TIMEOUT);
                                    deadline = limit;
                                }
                                leaderless =
                                    Some(asked).filter(|_| !is_refused_with(&error, error_code::BUSY));
                                error
                            }
                        },
                        Err(error) => {
                            self.drop_session().await;
                            if refuses_identity(error.closed()) {
                                return Err(unanswered(&error));
                            }
                            if request_id.is_some() && !std::mem::replace(&mut in_doubt, true) {
                                self.notify_repeat(&error.to_string());
                            }
                            unanswered(&error)
                        }
                    }
                }
                Err(error @ (ClientError::Identity { .. } | ClientError::IdentityFile { .. })) => {
                    return Err(error);
                }
                Err(error) => error,
            };
            attempt += 1;
            let delay = trimaran_transport::backoff::OPERATOR.delay(attempt - 1, random::next_u64());
            if Instant::now() + delay.to_std() >= deadline {
                return Err(final_error(error, in_doubt, attempt, start.elapsed()));
            }
            if let Some(asked) = leaderless {
                self.ask_another(asked).await;
            }
            tokio::time::sleep(delay.to_std()).await;
        }
    }

    /// One request: on this session, and on one with another coordinator when that takes long. The session that
    /// answered is used from then on.
    async fn exchange(&self, session: Session, frame: &Frame) -> Result<OperatorReply, RequestError> {
        let mut first = std::pin::pin!(exchange(&session, frame));
        if self.context.endpoints.len() < 2 {
            return first.await;
        }
        tokio::select! {
            answer = &mut first => return answer,
            () = tokio::time::sleep(HEDGE_DELAY) => {}
        }
        let second = async {
            let other = self.dial_other(session.remote_address(), DIAL_TIMEOUT).await?;
            let answer = exchange(&other, frame).await.ok()?;
            Some((other, answer))
        };
        tokio::select! {
            answer = &mut first => return answer,
            answer = second => {
                if let Some((other, answer)) = answer {
                    *self.session.lock().await = Some(other);
                    return Ok(answer);
                }
            }
        }
        first.await
    }

    /// The next attempt goes to another coordinator than this one where there is one: it may be cut off from the others, or
    /// was removed and does not know it, and would never find a leader.
    async fn ask_another(&self, than: SocketAddr) {
        if let Some(other) = self.dial_other(than, ANOTHER_DIAL_TIMEOUT).await {
            *self.session.lock().await = Some(other);
        }
    }

    /// A session with another coordinator than this one.
    async fn dial_other(&self, than: SocketAddr, timeout: Duration) -> Option<Session> {
        let endpoint = self.endpoint.get()?;
        let mut addresses = addresses(&self.context.endpoints).ok()?;
        addresses.retain(|address| *address != than);
        dial(endpoint, addresses, timeout).await.ok()
    }

    fn notify_repeat(&self, why: &str) {
        if let Some(on_repeat) = &self.on_repeat {
            on_repeat(why, REPEAT_TIMEOUT);
        }
    }

    async fn drop_session(&self) {
        *self.session.lock().await = None;
    }

    /// The session that there is, or one with the endpoint that answers first.
    async fn session(&self, deadline: Instant) -> Result<Session, ClientError> {
        let mut current = self.session.lock().await;
        if let Some(session) = current.as_ref().filter(|session| session.close_reason().is_none()) {
            return Ok(session.clone());
        }
        let endpoint = self.endpoint.get_or_try_init(|| self.bind()).await?;
        let timeout = DIAL_TIMEOUT.min(deadline.saturating_duration_since(Instant::now()));
        let session = dial(endpoint, addresses(&self.context.endpoints)?, timeout).await?;
        *current = Some(session.clone());
        Ok(session)
    }

    async fn bind(&self) -> Result<Arc<Endpoint>, ClientError> {
        let mut files = self.files()?;
        // A coordinator that does not answer now does not answer the request either.
        let renewed = tokio::time::timeout(DIAL_TIMEOUT, enroll::renew_if_due(&self.context, &files)).await;
        if let Some(renewed) = renewed.ok().flatten() {
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
        let bound = Endpoint::bind(any, config);
        bound.map(Arc::new).map_err(|error| ClientError::Unreachable { attempts: error.to_string() })
    }

    fn files(&self) -> Result<IdentityFiles, ClientError> {
        let read = |path: &std::path::Path| {
            std::fs::read_to_string(path)
                .map_err(|error| ClientError::IdentityFile { path: path.to_owned(), why: error.to_string() })
        };
        Ok(IdentityFiles {
            cert: read(&self.context.cert)?,
            key: read(&self.context.key)?,
            ca: read(&self.context.ca)?,
        })
    }
}

/// Ends once the other side has been silent for long.
async fn silence(session: &Session) {
    while session.silent_for() < SILENT_AFTER {
        tokio::time::sleep(SILENCE_CHECK_INTERVAL).await;
    }
}

/// Whether a coordinator answered with this code.
fn is_refused_with(error: &ClientError, code: ErrorCode) -> bool {
    matches!(error, ClientError::Refused(refusal) if refusal.code == code.0)
}

/// Dials every address, each a moment after the one before it, and takes the first session.
async fn dial(
    endpoint: &Arc<Endpoint>,
    addresses: Vec<SocketAddr>,
    timeout: Duration,
) -> Result<Session, ClientError> {
    let mut dials = JoinSet::new();
    for (number, address) in (0..).zip(addresses.iter().copied()) {
        let endpoint = endpoint.clone();
        dials.spawn(async move {
            tokio::time::sleep(NEXT_DIAL_DELAY * number).await;
            (address, endpoint.connect(address, Alpn::Operator).await)
        });
    }
    let mut attempts = BTreeMap::new();
    let first = async {
        while let Some(dialed) = dials.join_next().await {
            match dialed {
                Ok((_, Ok(session))) => return Some(Ok(session)),
                Ok((address, Err(ConnectError::Certificate { source, .. }))) => {
                    return Some(Err(ClientError::Identity { why: format!("{address}: {source}") }));
                }
                Ok((address, Err(ConnectError::Closed { reason, .. })))
                    if refuses_identity(Some(&reason)) =>
                {
                    return Some(Err(ClientError::Identity { why: format!("{address}: {reason}") }));
                }
                Ok((address, Err(error))) => drop(attempts.insert(address, error.to_string())),
                Err(error) => return Some(Err(protocol(error))),
            }
        }
        None
    };
    let dialed = tokio::time::timeout(timeout, first).await;
    if let Ok(Some(answer)) = dialed {
        return answer;
    }
    let silent = |address: &SocketAddr| format!("{address} did not answer");
    let words = addresses.iter().map(|it| attempts.get(it).cloned().unwrap_or_else(|| silent(it)));
    Err(ClientError::Unreachable { attempts: words.collect::<Vec<_>>().join("; ") })
}

/// One request on one session; a long document comes in parts.
async fn exchange(session: &Session, frame: &Frame) -> Result<OperatorReply, RequestError> {
    let mut frames = session.request(frame).await?;
    let mut parts = String::new();
    loop {
        let reply = frames.next().await?.ok_or(RequestError::NoReply)?;
        let refused = |why: &str| {
            session.close(CloseCode::Protocol, why);
            RequestError::NoReply
        };
        match OperatorReply::from_frame(&reply).map_err(|error| refused(&error.to_string()))? {
            OperatorReply::Part(part) if parts.len() + part.len() <= DOCUMENT_BYTES_MAX => {
                parts.push_str(&part)
            }
            OperatorReply::Part(_) => return Err(refused("a document is too long")),
            OperatorReply::Document { revision, json } => {
                return Ok(OperatorReply::Document { revision, json: parts + &json });
            }
            other => return Ok(other),
        }
    }
}

/// What it means that a session gave no reply.
fn unanswered(error: &RequestError) -> ClientError {
    match error.closed() {
        Some(reason) if refuses_identity(Some(reason)) => ClientError::Identity { why: reason.to_string() },
        _ => ClientError::Unreachable { attempts: error.to_string() },
    }
}

/// The coordinator answered, and said no to the certificate: asking again changes nothing. It judges the
/// certificate after the client believes itself connected, so the refusal may end a dial or a request.
fn refuses_identity(reason: Option<&CloseReason>) -> bool {
    let Some(CloseReason::Peer { code, .. }) = reason else { return false };
    matches!(code, CloseCode::Certificate | CloseCode::Revoked)
}

/// Passes a reply on, or the error after which another attempt may succeed.
fn check_repeatable(reply: OperatorReply) -> Result<OperatorReply, ClientError> {
    let passing = [error_code::BUSY, error_code::NO_QUORUM, error_code::NO_LEADER, error_code::INDETERMINATE];
    match reply {
        OperatorReply::Refused(refusal) if passing.contains(&ErrorCode(refusal.code)) => {
            Err(ClientError::Refused(refusal))
        }
        reply => Ok(reply),
    }
}

/// The last error, with what was tried. A change that may be done is in doubt.
fn final_error(error: ClientError, in_doubt: bool, attempts: u32, took: Duration) -> ClientError {
    let tried = format!("tried {attempts} times in {:.1} s", took.as_secs_f64());
    match error {
        ClientError::Unreachable { attempts: why } if in_doubt => {
            ClientError::Indeterminate { why: format!("{why} ({tried})") }
        }
        ClientError::Unreachable { attempts: why } => {
            ClientError::Unreachable { attempts: format!("{why} ({tried})") }
        }
        other => other,
    }
}
