//! The way to one cluster: credentials, the client, and the signs that it gives.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::watch;
use trimaran_model::text::with_sources;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_process::clock::boot_time;

use crate::request::{JSON, Method, RequestError, send};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);
/// A cluster that gave no sign for so long is not seen any more.
const SILENCE: Millis = Millis::seconds(15);

/// Where the credentials of a cluster are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Credentials {
    /// A kubeconfig with its current context.
    File(PathBuf),
    /// The service account of the pod that this agent runs in.
    Pod,
}

pub(crate) struct Link {
    credentials: Credentials,
    client: tokio::sync::Mutex<Option<(Stamp, Client)>>,
    /// Counts the changes that any watch has shown.
    changes: watch::Sender<u64>,
    /// Counts how often all watches have to begin anew.
    restarts: watch::Sender<u64>,
    /// When something of the cluster was received last, on the boot-time clock.
    received: AtomicU64,
}

/// What changes when the file of a kubeconfig is replaced.
type Stamp = Option<SystemTime>;

impl Link {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            client: tokio::sync::Mutex::default(),
            changes: watch::Sender::new(0),
            restarts: watch::Sender::new(0),
            received: AtomicU64::new(0),
        }
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The client, made with the first call and again when the kubeconfig was replaced.
    pub(crate) async fn client(&self) -> Result<Client, RequestError> {
        let mut known = self.client.lock().await;
        let stamp = self.stamp();
        if let Some((of, client)) = &*known
            && *of == stamp
        {
            return Ok(client.clone());
        }
        let client = self.connect().await.map_err(RequestError::Credentials)?;
        *known = Some((stamp, client.clone()));
        Ok(client)
    }

    fn stamp(&self) -> Stamp {
        match &self.credentials {
            Credentials::File(path) => path.metadata().and_then(|it| it.modified()).ok(),
            Credentials::Pod => None,
        }
    }

    async fn connect(&self) -> Result<Client, String> {
        let mut config = match &self.credentials {
            Credentials::File(path) => {
                let wrong = |error: &dyn std::error::Error| {
                    format!("the kubeconfig `{}` can't be used: {}", path.display(), with_sources(error))
                };
                let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .map_err(|error| wrong(&error))?
            }
            Credentials::Pod => Config::incluster().map_err(|error| {
                format!(
                    "this agent runs in no pod with a service account, and the target names no kubeconfig: {}",
                    with_sources(&error)
                )
            })?,
        };
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Watches and logs are silent for long; every other request has a deadline of its own.
        config.read_timeout = None;
        config.write_timeout = None;
        // The driver decides when something is tried again.
        config.default_retry = false;
        Client::try_from(config).map_err(|error| with_sources(&error))
    }

    /// Changes with everything that any watch of the cluster shows.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes when watches have to begin anew.
    pub(crate) fn restarts(&self) -> watch::Receiver<u64> {
        self.restarts.subscribe()
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The cluster gave a sign.
    pub(crate) fn received(&self) {
        self.received.fetch_max(boot_time().0, Ordering::AcqRel);
    }

    /// Since when the cluster gives no sign; `None` while it does.
    pub(crate) fn silent_since(&self, now: Timestamp) -> Option<Timestamp> {
        let received = Timestamp(self.received.load(Ordering::Acquire));
        (now >= received + SILENCE).then_some(received)
    }

    /// Asks for a sign.
    pub(crate) async fn probe(&self) {
        let was_silent = self.silent_since(boot_time()).is_some();
        let asked = async {
            let client = self.client().await?;
            send(&client, Method::GET, "/version", JSON, Vec::new()).await
        };
        if tokio::time::timeout(PROBE_TIMEOUT, asked).await.is_ok_and(|answer| answer.is_ok()) {
            self.received();
            if was_silent {
                // Connections that hung may hang for minutes more, and what they showed is old.
                self.restarts.send_modify(|count| *count += 1);
            }
        }
        self.changed();
    }
}
