//! The seam to the coordinators, from whom releases come.

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use trimaran_wire::v1::agent::ContentQuery;

/// Why coordinators did not answer, or not to the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It may answer a moment later, from the part on that is missing.
    #[error("{0}")]
    Unreachable(String),
    /// It does not have what was asked for.
    #[error("{0}")]
    Refused(String),
}

/// Whoever serves this agent now.
pub trait Coordinators: Send + Sync + 'static {
    /// Puts the parts of an answer into `parts`, in order and none twice. Ends with the whole answer, or says why not.
    fn ask(
        &self,
        query: ContentQuery,
        parts: mpsc::Sender<Vec<u8>>,
    ) -> BoxFuture<'static, Result<(), AskError>>;
}
