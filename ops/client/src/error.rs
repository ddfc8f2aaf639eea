//! Why a request has no answer.

use trimaran_wire::v1::operator::Refusal;

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
    /// A coordinator refused the certificate, or it is not one.
    #[error("{why}")]
    Identity { why: String },
    /// A file of the identity can't be read here; nothing was asked.
    #[error("{}: {why}", path.display())]
    IdentityFile { path: std::path::PathBuf, why: String },
    #[error("{why}")]
    Protocol { why: String },
}

/// An answer that is not one.
pub(crate) fn protocol(error: impl std::fmt::Display) -> ClientError {
    ClientError::Protocol { why: format!("the coordinator's answer can't be read: {error}") }
}
