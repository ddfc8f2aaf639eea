//! Identity and journal in Secrets, kept for this process by a lease (`trimaran-kubernetes-state`).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trimaran_agent_core::Ownership;
use trimaran_kubernetes_state::{Client, Hold, HoldError, Opened, StateError, StateName, Store, Values};
use trimaran_model::error_code;
use trimaran_model::report::Report;
use trimaran_model::time::Timestamp;
use trimaran_transport::files::{IdentityFiles, RESET_KEY_BYTES};
use trimaran_transport::random;

use crate::log_on_change::LogOnChange;

const CERT: &str = "cert.pem";
const KEY: &str = "key.pem";
const CA: &str = "ca.pem";
const RESET_KEY: &str = "reset.key";
/// Between two tries of a write.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The lease of the state, renewed until the end of this process.
pub(crate) struct Held {
    name: StateName,
    client: Client,
    /// This process, by a name that no other one has.
    me: String,
    ownership: Ownership,
    end: CancellationToken,
    /// Why it is not ours any more.
    task: JoinHandle<Option<Report>>,
}

/// Waits for the lease; `stop` is canceled when another process has it later.
pub(crate) async fn acquire(
    client: Client,
    name: StateName,
    stop: CancellationToken,
) -> Result<Held, Report> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let me = format!("{}_{:016x}", host.trim(), random::next_u64());
    let mut hold = Hold::new(client.clone(), name.clone(), me.clone());
    hold.acquire().await.map_err(|error| not_held(&name, &error))?;
    tracing::info!(holder = me, "the lease of {name} is held");
    let (ownership, end) = (Ownership::until(hold.owned_until()), CancellationToken::new());
    let (owned, ended, state) = (ownership.clone(), end.clone(), name.clone());
    let task = tokio::spawn(async move {
        let lost = tokio::select! {
            lost = hold.keep(|until| owned.set(until)) => lost,
            () = ended.cancelled() => {
                owned.set(Timestamp(0));
                hold.release().await;
                return None;
            }
        };
        owned.set(Timestamp(0));
        stop.cancel();
        Some(not_held(&state, &lost))
    });
    Ok(Held { name, client, me, ownership, end, task })
}

impl Held {
    /// Makes this process the owner of the state. An API server that does not answer is asked again.
    pub(crate) async fn open(&self) -> Result<SecretState, Report> {
        let mut retry = Retry::default();
        loop {
            match Store::open(self.client.clone(), self.name.clone(), self.me.clone()).await {
                Ok((store, opened)) => return Ok(SecretState::new(store, opened, self.ownership.clone())),
                // Rights that are missing at the start are for a human.
                Err(StateError::Refused(why)) => return Err(refused(&self.name, why)),
                Err(error) => retry.after(&self.name, error).await?,
            }
        }
    }

    /// Releases the lease, when everything else has ended with this outcome.
    pub(crate) async fn end(self, outcome: Result<(), Report>) -> Result<(), Report> {
        self.end.cancel();
        match self.task.await {
            Ok(Some(lost)) => Err(lost),
            Ok(None) => outcome,
            Err(_) => outcome.and(Err(Report::new(error_code::BUG, "the task of the lease panicked"))),
        }
    }
}

/// The state as this process owns it; clones are the same one.
#[derive(Clone)]
pub(crate) struct SecretState(Arc<Inner>);

struct Inner {
    name: StateName,
    store: tokio::sync::Mutex<Store<Client>>,
    /// As they were read and written last.
    values: Mutex<Values>,
    /// What was read, until the journal starts.
    journal: Mutex<Vec<u8>>,
    ownership: Ownership,
}

impl SecretState {
    fn new(store: Store<Client>, opened: Opened, ownership: Ownership) -> Self {
        let Opened { values, journal, starts } = opened;
        let name = store.name().clone();
        tracing::info!(start = starts, bytes = journal.len(), "the state is in {name}");
        let (values, journal) = (Mutex::new(values), Mutex::new(journal));
        Self(Arc::new(Inner { name, store: tokio::sync::Mutex::new(store), values, journal, ownership }))
    }

    pub(crate) fn ownership(&self) -> Ownership {
        self.0.ownership.clone()
    }

    /// The identity; `None` before enrolment.
    pub(crate) fn identity(&self) -> Result<Option<IdentityFiles>, Report> {
        let values = self.0.values.lock();
        if !values.contains_key(CERT) {
            return Ok(None);
        }
        let text = |key: &str| {
            let value = values.get(key).cloned().ok_or_else(|| self.damaged(key, "is missing"))?;
            String::from_utf8(value).map_err(|_| self.damaged(key, "is no text"))
        };
        Ok(Some(IdentityFiles { cert: text(CERT)?, key: text(KEY)?, ca: text(CA)? }))
    }

    pub(crate) async fn save_identity(&self, identity: &IdentityFiles) -> Result<(), Report> {
        let IdentityFiles { cert, key, ca } = identity;
        let values = [(CERT, cert), (KEY, key), (CA, ca)];
        self.put(values.map(|(key, value)| (key.to_owned(), value.clone().into_bytes())).into()).await
    }

    /// Made at first use.
    pub(crate) async fn reset_key(&self) -> Result<[u8; RESET_KEY_BYTES], Report> {
        let known = self.0.values.lock().get(RESET_KEY).cloned();
        if let Some(known) = known {
            return known.try_into().map_err(|_| self.damaged(RESET_KEY, "has another length than a key"));
        }
        let key = random::bytes();
        self.put([(RESET_KEY.to_owned(), key.to_vec())].into()).await?;
        Ok(key)
    }

    /// What the journal held when the state was opened.
    pub(crate) fn take_journal(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.journal.lock())
    }

    /// Adds to the journal. Comes back when that is durable, or when another process owns the state.
    pub(crate) async fn append(&self, bytes: &[u8]) -> Result<(), Report> {
        let mut store = self.0.store.lock().await;
        let mut retry = Retry::default();
        while let Err(error) = store.append(bytes).await {
            retry.after(&self.0.name, error).await?;
        }
        Ok(())
    }

    /// As [`Self::append`], for a whole new journal.
    pub(crate) async fn replace(&self, bytes: &[u8]) -> Result<(), Report> {
        let mut store = self.0.store.lock().await;
        let mut retry = Retry::default();
        while let Err(error) = store.replace(bytes).await {
            retry.after(&self.0.name, error).await?;
        }
        Ok(())
    }

    /// A value beside the journal, as it was read or written last.
    pub(super) fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.0.values.lock().get(key).cloned()
    }

    /// Stores values; comes back as [`Self::append`] does.
    pub(super) async fn put(&self, values: Values) -> Result<(), Report> {
        let mut store = self.0.store.lock().await;
        let mut retry = Retry::default();
        while let Err(error) = store.put(values.clone()).await {
            retry.after(&self.0.name, error).await?;
        }
        self.0.values.lock().clone_from(store.values());
        Ok(())
    }

    fn damaged(&self, key: &str, what: &str) -> Report {
        Report::new(error_code::STORE_DAMAGED, format!("the key `{key}` of {self} {what}"))
    }
}

impl fmt::Display for SecretState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.name.fmt(out)
    }
}

/// Whether and when something is tried again.
#[derive(Default)]
struct Retry(LogOnChange);

impl Retry {
    /// Waits before the next try.
    ///
    /// # Errors
    /// Another try would be of no use.
    async fn after(&mut self, name: &StateName, error: StateError) -> Result<(), Report> {
        match error {
            StateError::Unreachable(_) | StateError::Refused(_) => {
                self.0.warn(&format!("{name} can't be read or written; trying again"), &error.to_string());
                tokio::time::sleep(RETRY_PAUSE).await;
                Ok(())
            }
            StateError::Fenced(why) => Err(superseded(name, why)),
            StateError::Damaged(why) => {
                let message = format!("the state in {name} is damaged");
                let help = "restore the Secret, or delete the Secrets of this name and enroll the agent again: it then continues from what the coordinators and the cluster know";
                Err(report(error_code::STORE_DAMAGED, message, why, help))
            }
            StateError::Foreign(_) | StateError::Full => {
                let message = format!("{name} can't be used as a state");
                let help =
                    "name another Secret with `--state`, or use a volume as the data directory without it";
                Err(report(error_code::DATA_DIR, message, error.to_string(), help))
            }
        }
    }
}

fn not_held(name: &StateName, error: &HoldError) -> Report {
    match error {
        HoldError::Lost { .. } => superseded(name, error.to_string()),
        HoldError::Refused(why) => refused(name, why.clone()),
    }
}

fn superseded(name: &StateName, why: String) -> Report {
    let help = "nothing: the other process continues; one process at a time works with a state";
    report(error_code::SUPERSEDED, format!("another process has taken over {name}"), why, help)
}

fn refused(name: &StateName, why: String) -> Report {
    let help = "give the agent's service account the rights that `trimaran target rbac TARGET --state secret:NAMESPACE/NAME` prints, in a namespace that is there, or name a kubeconfig with `--state-kubeconfig`";
    report(error_code::DATA_DIR, format!("{name} can't be used"), why, help)
}

fn report(code: error_code::ErrorCode, message: String, why: String, help: &str) -> Report {
    Report { cause: Some(why), help: Some(help.to_owned()), ..Report::new(code, message) }
}
