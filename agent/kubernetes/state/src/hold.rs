//! Holding the Lease: taken at the start, renewed every two seconds, released at the end.

use std::future::Future;
use std::time::Duration;

use trimaran_model::time::{Millis, Timestamp};
use trimaran_process::clock::boot_time;

use crate::api::{ApiError, Leases, Version};
use crate::election::{Election, OWNED_FOR, Step};
use trimaran_kubernetes_core::state_name::StateName;

/// Between two requests (client-go's `RetryPeriod`).
const INTERVAL: Duration = Duration::from_secs(2);
/// While one waits this is logged again, so that a log shows that it does.
const PROGRESS_INTERVAL: Millis = Millis::minutes(1);

/// Why the Lease can't be held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    #[error("`{holder}` has taken the lease {lease} over")]
    Lost { lease: String, holder: String },
    /// Credentials or rights; before anything began.
    #[error("{0}")]
    Refused(String),
}

/// The Lease of one process.
pub struct Hold<L> {
    api: L,
    name: StateName,
    election: Election,
    version: Option<Version>,
    /// Until then it is ours, on the boot-time clock.
    owned_until: Timestamp,
}

/// One round of questions.
enum Round {
    Held,
    Waits {
        holder: String,
    },
    /// Another one was faster, or no clear answer came.
    Again(Option<String>),
}

impl<L: Leases> Hold<L> {
    /// `me` is the name of this process, which no other one ever has.
    pub fn new(api: L, name: StateName, me: String) -> Self {
        Self { api, name, election: Election::new(me), version: None, owned_until: Timestamp(0) }
    }

    /// Until when it is ours, on the boot-time clock.
    pub fn owned_until(&self) -> Timestamp {
        self.owned_until
    }

    /// Waits until it is ours. An API server that does not answer is asked again.
    ///
    /// # Errors
    /// What the API server refuses, which waiting does not change.
    pub async fn acquire(&mut self) -> Result<(), HoldError> {
        let lease = self.lease();
        let mut reported = Reported::default();
        loop {
            match self.round().await? {
                Round::Held => return Ok(()),
                Round::Waits { holder } => {
                    reported.report(&format!(
                        "lease {lease} is held by `{holder}`: waiting until it is released or ends"
                    ));
                }
                Round::Again(Some(why)) => {
                    reported.report(&format!("lease {lease} can't be taken; trying again: {why}"))
                }
                Round::Again(None) => {}
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Keeps it until another one has it; `owned` gets until when it is ours after each renewal.
    pub async fn keep(&mut self, owned: impl Fn(Timestamp)) -> HoldError {
        let lease = self.lease();
        let mut is_over = false;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let why = match self.round().await {
                Ok(Round::Held) => {
                    owned(self.owned_until);
                    if std::mem::take(&mut is_over) {
                        tracing::info!("lease {lease} is renewed again: work goes on");
                    }
                    continue;
                }
                Ok(Round::Again(why)) => why.unwrap_or_else(|| "others change it".to_owned()),
                Ok(Round::Waits { holder }) => return HoldError::Lost { lease, holder },
                // Rights that were taken away may come back; without an answer nothing is done.
                Err(HoldError::Refused(why)) => why,
                Err(lost @ HoldError::Lost { .. }) => return lost,
            };
            if !is_over && boot_time() >= self.owned_until {
                is_over = true;
                tracing::error!("lease {lease} can't be renewed: nothing is done until it can: {why}");
            }
        }
    }

    /// Gives it up, so that the next one need not wait. Whoever calls this acts no more.
    pub async fn release(&mut self) {
        let lease = self.lease();
        match self.try_release().await {
            Ok(true) => tracing::info!("lease {lease} is released"),
            Ok(false) => {}
            Err(error) => tracing::warn!("lease {lease} could not be released, and ends: {error}"),
        }
    }

    /// Whether it was ours. It is read anew: a renewal may have been given up halfway.
    async fn try_release(&mut self) -> Result<bool, ApiError> {
        self.version = None;
        let found = self.api.read_lease(self.name.name()).await?;
        let Some(found) = found.filter(|found| found.holder == self.election.me()) else { return Ok(false) };
        self.api.release_lease(self.name.name(), &found.version).await.map(|()| true)
    }

    async fn round(&mut self) -> Result<Round, HoldError> {
        let name = self.name.name().to_owned();
        // It is not read while no one else writes it: its version says whether that is so.
        if let Some(version) = self.version.take() {
            let sent = boot_time();
            match self.api.renew_lease(&name, &version, self.election.me(), None).await {
                Ok(version) => return Ok(self.hold(sent, version)),
                Err(ApiError::Conflict) => {}
                Err(error) => {
                    self.version = Some(version);
                    return failed(error);
                }
            }
        }
        let found = match self.api.read_lease(&name).await {
            Ok(found) => found,
            Err(error) => return failed(error),
        };
        let sent = boot_time();
        match self.election.observe(sent, found.as_ref()) {
            Step::Create => self.ask(sent, self.api.create_lease(&name, self.election.me()).await),
            Step::Take { version, transitions } => {
                let taken =
                    self.api.renew_lease(&name, &version, self.election.me(), Some(transitions)).await;
                self.ask(sent, taken)
            }
            Step::Renew { version } => {
                let renewed = self.api.renew_lease(&name, &version, self.election.me(), None).await;
                self.ask(sent, renewed)
            }
            Step::Wait { holder, .. } => Ok(Round::Waits { holder }),
            Step::Lost { holder } => Err(HoldError::Lost { lease: self.lease(), holder }),
        }
    }

    fn ask(&mut self, sent: Timestamp, answer: Result<Version, ApiError>) -> Result<Round, HoldError> {
        match answer {
            Ok(version) => Ok(self.hold(sent, version)),
            Err(error) => failed(error),
        }
    }

    fn hold(&mut self, sent: Timestamp, version: Version) -> Round {
        self.election.won();
        self.version = Some(version);
        self.owned_until = sent + OWNED_FOR;
        Round::Held
    }

    /// `NAMESPACE/NAME`.
    fn lease(&self) -> String {
        format!("{}/{}", self.name.namespace(), self.name.name())
    }
}

fn failed(error: ApiError) -> Result<Round, HoldError> {
    match error {
        ApiError::Conflict => Ok(Round::Again(None)),
        ApiError::Unclear(why) => Ok(Round::Again(Some(why))),
        ApiError::Refused(why) => Err(HoldError::Refused(why)),
    }
}

/// What was logged last, and when.
#[derive(Default)]
struct Reported(Option<(String, Timestamp)>);

impl Reported {
    fn report(&mut self, text: &str) {
        let now = boot_time();
        let is_known =
            |(text_before, at): &(String, Timestamp)| text_before == text && now < *at + PROGRESS_INTERVAL;
        if !self.0.as_ref().is_some_and(is_known) {
            tracing::info!("{text}");
            self.0 = Some((text.to_owned(), now));
        }
    }
}

/// What a future answers, or `Unclear` when that takes too long.
pub(crate) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let late = |_| Err(ApiError::Unclear(format!("no answer within {} s", limit.as_secs())));
    tokio::time::timeout(limit, request).await.unwrap_or_else(late)
}
