//! The own certificate: made by enrolment, renewed in the second half of its validity, also when it has expired.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::id::{AgentName, Identity};
use trimaran_model::report::Report;
use trimaran_model::text::with_sources;
use trimaran_transport::enroll::{Token, make_csr, make_key_and_csr, renew_at};
use trimaran_transport::files::IdentityFiles;
use trimaran_transport::{
    Alpn, CertificateStore, CloseCode, Endpoint, EndpointConfig, EndpointLimits, RevokedKeys, Trust, backoff,
    random,
};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::enroll::{EnrollReply, EnrollRequest};

use crate::addresses;
use crate::clock::ClusterClock;
use crate::log_on_change::LogOnChange;
use crate::state::State;

/// Whether a renewal is due is checked this often.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// One request for a certificate, through a relay.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);

/// The identity of this process.
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) identity: Identity,
    pub(crate) store: Arc<CertificateStore>,
    pub(crate) trust: Trust,
    /// Of a runner: the agent that it was enrolled with. It takes orders of no other one.
    pub(crate) agent: Option<Identity>,
    /// Where it is stored.
    state: State,
    /// Wakes the renewal: a peer refused the certificate, or would.
    pub(crate) refused: Arc<Notify>,
    /// Issuers that count no more, where this process is judged by them; an agent is.
    pub(crate) issuers: RevokedKeys,
}

impl Own {
    /// Reads the identity of a state; `None` before enrolment.
    pub(crate) fn load(state: &State, identity: &Identity) -> Result<Option<Self>, Report> {
        let unusable = |error: &dyn std::error::Error| {
            Report::because(error_code::DATA_DIR, "the identity can't be used", error)
        };
        let Some(files) = state.identity()? else { return Ok(None) };
        let store = CertificateStore::new(&files).map_err(|error| unusable(&error))?;
        let trust = Trust::from_pem(&files.ca).map_err(|error| unusable(&error))?;
        let found = store.info().map(|info| info.identity);
        if found.as_ref() != Some(identity) {
            let found = found.map_or("no one".to_owned(), |found| found.to_string());
            let message = format!("{state} belongs to {found}, not to {identity}");
            return Err(Report::new(error_code::DATA_DIR, message));
        }
        let agent = match state.directory() {
            Some(root) => pinned_agent(root).map_err(|error| unusable(&error))?,
            None => None,
        };
        let (identity, state, refused) = (identity.clone(), state.clone(), Arc::default());
        let issuers = RevokedKeys::default();
        Ok(Some(Self { identity, store, trust, agent, state, refused, issuers }))
    }

    /// Whether a token is one of this identity's cluster.
    pub(crate) fn is_of_the_cluster_of(&self, token: &Token) -> Result<(), Report> {
        if token.root() == self.trust.root_fingerprint() {
            return Ok(());
        }
        let (state, identity) = (&self.state, &self.identity);
        let message = format!("{state} belongs to {identity} of another cluster than the token's");
        Err(Report::new(error_code::DATA_DIR, message))
    }

    /// An endpoint's settings with this identity.
    pub(crate) fn endpoint(&self, clock: &ClusterClock) -> EndpointConfig {
        EndpointConfig {
            alpns: Vec::new(),
            trust: Some(self.trust.clone()),
            store: self.store.clone(),
            clock: clock.for_transport(),
            revoked: Arc::new(|_| false),
            reset_key: None,
            limits: EndpointLimits::CLIENT,
        }
    }

    /// Whether a coordinator signed the certificate that is a member no more.
    pub(crate) fn is_by_a_removed_coordinator(&self) -> bool {
        self.store.info().is_some_and(|info| self.issuers.refuses_issuer(&info))
    }

    /// Keeps the certificate young until the process ends.
    pub(crate) async fn keep_renewed(self, endpoint: Arc<Endpoint>, clock: ClusterClock, via: Vec<String>) {
        let entropy = random::next_u64();
        let mut log = LogOnChange::default();
        loop {
            // After a refusal it is tried at once: the certificate may have expired while everything stood still.
            let nudged = tokio::select! {
                () = tokio::time::sleep(CHECK_INTERVAL) => false,
                () = self.refused.notified() => true,
            };
            let Some(info) = self.store.info() else { continue };
            let due = clock.now() >= renew_at(info.not_before, info.not_after, entropy);
            let over = nudged && clock.now() >= renew_at(info.not_before, info.not_after, 0);
            if !due && !over && !self.is_by_a_removed_coordinator() {
                continue;
            }
            match self.renew(&endpoint, &via).await {
                Ok(()) => {
                    log.forget();
                    tracing::info!("the certificate was renewed");
                }
                Err(why) => log.warn("the certificate could not be renewed; trying again", &why),
            }
        }
    }

    /// Renews now, when the certificate is past its end: nothing else works with it.
    pub(crate) async fn renew_if_expired(&self, endpoint: &Endpoint, clock: &ClusterClock, via: &[String]) {
        let mut log = LogOnChange::default();
        let mut attempt = 0;
        while self.store.info().is_some_and(|info| clock.now() >= info.not_after) {
            match self.renew(endpoint, via).await {
                Ok(()) => return tracing::info!("the expired certificate was renewed"),
                Err(why) => {
                    log.warn("the certificate has expired and could not be renewed; trying again", &why)
                }
            }
            tokio::time::sleep(backoff::AGENT.delay(attempt, random::next_u64()).to_std()).await;
            attempt += 1;
        }
    }

    async fn renew(&self, endpoint: &Endpoint, via: &[String]) -> Result<(), String> {
        let files = self.state.identity().map_err(|report| in_one_line(&report))?;
        let files = files.ok_or_else(|| format!("the identity is gone from {}", self.state))?;
        let csr = make_csr(&files.key, "trimaran").map_err(|error| with_sources(&error))?;
        let chain = self.store.chain().ok_or("there is no certificate")?;
        let request = EnrollRequest::Renew { chain, csr };
        let reply = ask(endpoint, via, None, &request).await.map_err(|(_, why)| why)?;
        let EnrollReply::Issued { cert, ca, agent, .. } = reply else { return Err(refusal(&reply).1) };
        let renewed = IdentityFiles { cert, ca: self.roots(&files.ca, ca), key: files.key.clone() };
        // Taken into use first: what can't be used must not replace the file.
        self.store.replace(&renewed).map_err(|error| with_sources(&error))?;
        let saved = self.state.save_renewed(&renewed, &files).await;
        saved.map_err(|report| in_one_line(&report))?;
        let Some(root) = self.state.directory() else { return Ok(()) };
        pin_agent(root, agent).map_err(|error| with_sources(&error))
    }

    /// The roots that are trusted from now on: those that a coordinator of this cluster says, while they overlap with the
    /// ones before.
    fn roots(&self, before: &str, now: String) -> String {
        match self.trust.replace(&now) {
            Ok(changed) => {
                if changed {
                    tracing::info!("the roots of the cluster have changed");
                }
                now
            }
            Err(error) => {
                tracing::error!(%error, "the roots that a coordinator names are not trusted");
                before.to_owned()
            }
        }
    }
}

/// Uses a one-time token: the key is made here and stays here. Waits for a coordinator to answer.
pub(crate) async fn enroll(
    state: &State,
    identity: &Identity,
    token: &str,
    via: &[String],
    clock: &ClusterClock,
) -> Result<Own, Report> {
    let token: Token = token.parse().map_err(|error: trimaran_transport::enroll::InvalidToken| {
        Report::new(error_code::TOKEN_UNKNOWN, error.to_string())
    })?;
    let made = make_key_and_csr(&identity.to_string());
    let (key, csr) = made.map_err(|error| Report::because(error_code::BUG, "no key can be made", &error))?;
    let config = EndpointConfig {
        alpns: Vec::new(),
        trust: None,
        store: CertificateStore::empty(),
        clock: clock.for_transport(),
        revoked: Arc::new(|_| false),
        reset_key: None,
        limits: EndpointLimits::CLIENT,
    };
    let endpoint = Endpoint::bind(addresses::any_local(via), config)
        .map_err(|error| Report::because(error_code::UNREACHABLE, "no socket can be opened", &error))?;
    let request = EnrollRequest::Token { token: token.text(), csr };
    let mut log = LogOnChange::default();
    let mut attempt = 0;
    let reply = loop {
        match ask(&endpoint, via, Some(token.root()), &request).await {
            Ok(reply) => break reply,
            Err((Sent::No, why)) => log.warn("not enrolled yet; trying again", &why),
            Err((Sent::Foreign, why)) => {
                let message = "the token is of another cluster than the endpoints";
                return Err(Report { cause: Some(why), ..Report::new(error_code::TOKEN_UNKNOWN, message) });
            }
            Err((Sent::Yes, why)) => {
                let message = "it is not known whether the token was used; ask for a new one";
                return Err(Report { cause: Some(why), ..Report::new(error_code::INDETERMINATE, message) });
            }
        }
        tokio::time::sleep(backoff::AGENT.delay(attempt, random::next_u64()).to_std()).await;
        attempt += 1;
    };
    let EnrollReply::Issued { cert, ca, name, role, agent, .. } = reply else {
        let (code, message) = refusal(&reply);
        return Err(Report::new(code, message));
    };
    if format!("{role}/{name}") != identity.to_string() {
        let message = format!("the token is for {role}/{name}, not for {identity}");
        return Err(Report::new(error_code::TOKEN_UNKNOWN, message));
    }
    let unwritten = |error: &dyn std::error::Error| {
        Report::because(error_code::DATA_DIR, "the identity can't be written", error)
    };
    // Before the certificate, with which the directory is enrolled.
    if let Some(root) = state.directory() {
        pin_agent(root, agent).map_err(|error| unwritten(&error))?;
    }
    state.save_identity(&IdentityFiles { cert, key, ca }).await?;
    endpoint.shutdown("enrolled").await;
    tracing::info!(%identity, "enrolled");
    Own::load(state, identity)?.ok_or_else(|| Report::new(error_code::BUG, "the identity was not written"))
}

fn in_one_line(report: &Report) -> String {
    format!("{}: {}", report.message, report.cause_text())
}

/// The file beside the certificate that names the agent of a runner.
fn agent_file(root: &Path) -> PathBuf {
    root.join("identity/agent")
}

fn pinned_agent(root: &Path) -> io::Result<Option<Identity>> {
    match fs::read_to_string(agent_file(root)) {
        Ok(text) => {
            let name = text.trim().parse::<AgentName>();
            name.map(|name| Some(Identity::Agent(name))).map_err(io::Error::other)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn pin_agent(root: &Path, agent: Option<String>) -> io::Result<()> {
    let Some(agent) = agent else { return Ok(()) };
    let file = agent_file(root);
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    trimaran_process::files::write_atomically(&file, format!("{agent}\n").as_bytes(), 0o600)
        .map_err(io::Error::other)
}

/// Whether a request may have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    No,
    /// Nor will it: everybody who answers is of another cluster.
    Foreign,
    Yes,
}

/// Asks the first that answers, in the cluster with the root of a token, or the own one.
async fn ask(
    endpoint: &Endpoint,
    via: &[String],
    root: Option<trimaran_model::id::Digest>,
    request: &EnrollRequest,
) -> Result<EnrollReply, (Sent, String)> {
    let mut attempts = Vec::new();
    let mut foreign = 0;
    for address in resolve_all(via).await {
        let dialed = match root {
            Some(root) => endpoint.enroll(address, root).await,
            None => endpoint.connect(address, Alpn::Enroll).await,
        };
        let session = match dialed {
            Ok(session) => session,
            Err(error) => {
                foreign += usize::from(error.is_foreign());
                attempts.push(with_sources(&error));
                continue;
            }
        };
        let frame = request.to_frame();
        let reply = tokio::time::timeout(REQUEST_TIMEOUT, session.request_one(&frame)).await;
        session.close(CloseCode::Done, "");
        let frame = match reply {
            Ok(Ok(frame)) => frame,
            Ok(Err(error)) => return Err((Sent::Yes, with_sources(&error))),
            Err(_) => return Err((Sent::Yes, format!("{address} did not answer in time"))),
        };
        match EnrollReply::from_frame(&frame).map_err(|error| (Sent::Yes, error.to_string()))? {
            // Nothing was done with the request; another one may do better.
            EnrollReply::Refused { code, message } if passes(ErrorCode(code)) => {
                attempts.push(format!("{address}: {message}"));
            }
            reply => return Ok(reply),
        }
    }
    let sent = if foreign > 0 && foreign == attempts.len() { Sent::Foreign } else { Sent::No };
    Err((sent, attempts.join("; ")))
}

/// Whether a refusal says nothing about the request itself.
fn passes(code: ErrorCode) -> bool {
    [error_code::UNREACHABLE, error_code::NO_QUORUM, error_code::NO_LEADER, error_code::BUSY].contains(&code)
}

async fn resolve_all(via: &[String]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for endpoint in via {
        if let Ok(found) = addresses::of_name(endpoint).await {
            addresses.extend(found);
        }
    }
    addresses
}

fn refusal(reply: &EnrollReply) -> (ErrorCode, String) {
    match reply {
        EnrollReply::Refused { code, message } => (ErrorCode(*code), message.clone()),
        EnrollReply::Issued { .. } | EnrollReply::Joined(_) => {
            (error_code::BUG, "the reply is no refusal".to_owned())
        }
    }
}

#[cfg(test)]
mod tests;
