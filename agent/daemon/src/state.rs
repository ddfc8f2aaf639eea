//! Where identity and journal of this process are: in its data directory, or in Secrets of a cluster.

mod secret;

use std::path::Path;
use std::{fmt, fs, io};

use trimaran_agent_core::Ownership;
use trimaran_model::error_code;
use trimaran_model::limits::{AGENT_KEPT_REVOKED_MAX, SECRET_KEPT_REVOKED_MAX};
use trimaran_model::report::Report;
use trimaran_process::DataDir;
use trimaran_process::files::write_atomically;
use trimaran_transport::files::{self, FilesError, IdentityFiles, RESET_KEY_BYTES};

pub(crate) use secret::{SecretState, acquire};

/// A file of the directory, or a value of the Secret.
const REVOKED: &str = "revoked";

/// The state of this process; clones are the same one.
#[derive(Clone)]
pub(crate) enum State {
    /// Files, which a lock keeps for this process.
    Directory(DataDir),
    /// Secrets, which a lease keeps for this process.
    Secret(SecretState),
}

impl State {
    /// The identity; `None` before enrolment.
    pub(crate) fn identity(&self) -> Result<Option<IdentityFiles>, Report> {
        match self {
            Self::Directory(data) => files::load_identity(data.root())
                .map_err(|error| Report::because(error_code::DATA_DIR, "the identity can't be used", &error)),
            Self::Secret(state) => state.identity(),
        }
    }

    /// Stores a new identity; durable when it returns.
    pub(crate) async fn save_identity(&self, identity: &IdentityFiles) -> Result<(), Report> {
        match self {
            Self::Directory(data) => files::save_identity(data.root(), identity).map_err(unwritten),
            Self::Secret(state) => state.save_identity(identity).await,
        }
    }

    /// Stores what a renewal changed: the certificate, and the roots where they are others now.
    pub(crate) async fn save_renewed(
        &self,
        renewed: &IdentityFiles,
        before: &IdentityFiles,
    ) -> Result<(), Report> {
        let data = match self {
            Self::Directory(data) => data,
            Self::Secret(state) => return state.save_identity(renewed).await,
        };
        if renewed.ca != before.ca {
            files::save_roots(data.root(), &renewed.ca).map_err(unwritten)?;
        }
        files::save_certificate(data.root(), &renewed.cert).map_err(unwritten)
    }

    /// The key by which a restarted process lets its old peers know that their sessions are gone.
    pub(crate) async fn reset_key(&self) -> Result<[u8; RESET_KEY_BYTES], Report> {
        match self {
            Self::Directory(data) => files::load_or_create_reset_key(data.root()).map_err(|error| {
                Report::because(error_code::DATA_DIR, "the reset key can't be used", &error)
            }),
            Self::Secret(state) => state.reset_key().await,
        }
    }

    /// The text of keys that count no more, as it was saved last; empty before that.
    pub(crate) fn revocations(&self) -> Result<String, Report> {
        let unreadable = |error: &dyn std::error::Error| {
            Report::because(error_code::DATA_DIR, format!("{REVOKED} can't be read"), error)
        };
        match self {
            Self::Directory(data) => match fs::read_to_string(data.root().join(REVOKED)) {
                Ok(text) => Ok(text),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                Err(error) => Err(unreadable(&error)),
            },
            Self::Secret(state) => String::from_utf8(state.value(REVOKED).unwrap_or_default())
                .map_err(|error| unreadable(&error)),
        }
    }

    /// Stores that text; durable when it returns.
    pub(crate) async fn save_revocations(&self, text: String) -> Result<(), Report> {
        let unwritten = |error: &dyn std::error::Error| {
            Report::because(error_code::DATA_DIR, format!("{REVOKED} can't be written"), error)
        };
        match self {
            Self::Directory(data) => {
                let file = data.root().join(REVOKED);
                let saved =
                    tokio::task::spawn_blocking(move || write_atomically(&file, text.as_bytes(), 0o600))
                        .await;
                saved.map_err(|error| unwritten(&error))?.map_err(|error| unwritten(&error))
            }
            Self::Secret(state) => state.put([(REVOKED.to_owned(), text.into_bytes())].into()).await,
        }
    }

    /// How many keys that text may name.
    pub(crate) fn kept_revocations_max(&self) -> usize {
        match self {
            Self::Directory(_) => AGENT_KEPT_REVOKED_MAX,
            Self::Secret(_) => SECRET_KEPT_REVOKED_MAX,
        }
    }

    /// The data directory, where that is the state.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(data) => Some(data.root()),
            Self::Secret(_) => None,
        }
    }

    /// Until when this process may act.
    pub(crate) fn ownership(&self) -> Ownership {
        match self {
            Self::Directory(_) => Ownership::default(),
            Self::Secret(state) => state.ownership(),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(data) => data.root().display().fmt(out),
            Self::Secret(state) => state.fmt(out),
        }
    }
}

fn unwritten(error: FilesError) -> Report {
    Report::because(error_code::DATA_DIR, "the identity can't be written", &error)
}
