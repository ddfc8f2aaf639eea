//! Dialing: any of several endpoints, again and again, with delays that spread a fleet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trimaran_model::error_code;
use trimaran_model::report::Report;
use trimaran_model::text::with_sources;
use trimaran_transport::{Alpn, CloseCode, CloseReason, ConnectError, Endpoint, Session, backoff, random};

use crate::addresses;
use crate::certificate::Own;
use crate::log_on_change::LogOnChange;

/// A session that lived for so long was good: the next attempt is the first again.
const STABLE_SESSION: Duration = Duration::from_secs(5);

/// Keeps one session open.
pub(crate) struct Dialer {
    endpoint: Arc<Endpoint>,
    own: Own,
    alpn: Alpn,
    endpoints: Vec<String>,
    next: usize,
    attempt: u32,
    since: Instant,
    log: LogOnChange,
}

impl Dialer {
    pub(crate) fn new(endpoint: Arc<Endpoint>, own: Own, alpn: Alpn, endpoints: Vec<String>) -> Self {
        // A fleet does not begin with the same endpoint.
        let next = usize::try_from(random::next_u64() % endpoints.len().max(1) as u64).unwrap_or(0);
        Self {
            endpoint,
            own,
            alpn,
            endpoints,
            next,
            attempt: 0,
            since: Instant::now(),
            log: LogOnChange::default(),
        }
    }

    /// Whether there is another endpoint than the one in use.
    pub(crate) fn has_choice(&self) -> bool {
        self.endpoints.len() > 1
    }

    /// The next session. An error means that this process must not dial again.
    pub(crate) async fn dial(&mut self) -> Result<Session, Report> {
        loop {
            let name = self.endpoints[self.next % self.endpoints.len()].clone();
            self.next = self.next.wrapping_add(1);
            match self.try_one(&name).await {
                Ok(session) => {
                    self.log.forget();
                    self.since = Instant::now();
                    return Ok(session);
                }
                Err(Attempt::Final(report)) => return Err(report),
                Err(Attempt::Again(why)) => self.log.warn("not connected; trying again", &why),
            }
            self.pause().await;
        }
    }

    async fn try_one(&self, name: &str) -> Result<Session, Attempt> {
        let again =
            |error: &dyn std::error::Error| Attempt::Again(format!("{name}: {}", with_sources(error)));
        let mut failed = None;
        for address in addresses::of_name(name).await.map_err(|error| again(&error))? {
            match self.try_address(address).await {
                Ok(session) => return Ok(session),
                Err(Refused::Final(report)) => return Err(Attempt::Final(report)),
                Err(Refused::Here(error)) => failed = Some(again(&error)),
            }
        }
        Err(failed.expect("a name has at least one address"))
    }

    async fn try_address(&self, address: SocketAddr) -> Result<Session, Refused> {
        let dialed = match &self.own.agent {
            Some(agent) if self.alpn == Alpn::Runner => {
                self.endpoint.connect_to(address, self.alpn, agent).await
            }
            _ => self.endpoint.connect(address, self.alpn).await,
        };
        dialed.map_err(|error| {
            if let ConnectError::Closed { reason, .. } = &error {
                if let Some(report) = final_failure(reason) {
                    return Refused::Final(report);
                }
                if reason.code() == Some(CloseCode::Certificate) {
                    self.own.refused.notify_one();
                }
            }
            Refused::Here(error)
        })
    }

    /// A session ended: whether to dial again, after a delay.
    pub(crate) async fn ended(&mut self, reason: &CloseReason) -> Result<(), Report> {
        if let Some(report) = final_failure(reason) {
            return Err(report);
        }
        if reason.code() == Some(CloseCode::Certificate) {
            self.own.refused.notify_one();
        }
        if self.since.elapsed() >= STABLE_SESSION {
            self.attempt = 0;
        }
        self.log.warn("disconnected; trying again", &reason.to_string());
        self.pause().await;
        Ok(())
    }

    async fn pause(&mut self) {
        let delay = backoff::AGENT.delay(self.attempt, random::next_u64());
        self.attempt = self.attempt.saturating_add(1);
        tokio::time::sleep(delay.to_std()).await;
    }
}

/// Why one address of a name gave no session.
enum Refused {
    Here(ConnectError),
    Final(Report),
}

enum Attempt {
    Again(String),
    Final(Report),
}

/// Why this process must not dial again, when it must not.
pub(crate) fn final_failure(reason: &CloseReason) -> Option<Report> {
    if !reason.is_final() {
        return None;
    }
    Some(match reason.code() {
        Some(CloseCode::Revoked) => Report {
            cause: Some(reason.to_string()),
            ..Report::new(error_code::IDENTITY, "the certificate was revoked")
        },
        _ => superseded(),
    })
}

/// A later incarnation of this name has attached.
pub(crate) fn superseded() -> Report {
    Report::new(error_code::SUPERSEDED, "a later process with this name has taken over")
}
