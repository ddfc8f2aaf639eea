//! Requests that were answered, and what commands give.

use trimaran_model::id::{Digest, Epoch, Fence, Identity, RequestId, RunId, StageName};
use trimaran_model::time::WallTime;

use crate::refusal::Refusal;

/// An answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub identity: Identity,
    pub id: RequestId,
    /// SHA-256 of the body: tells a repetition from a misuse.
    pub body: Digest,
    pub outcome: Outcome,
    pub at: WallTime,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Nothing,
    Run(RunId),
    Decided {
        run: RunId,
        stage: Option<StageName>,
        /// The option, `canceled` or `resumed`.
        decision: String,
        by: Identity,
    },
    Applied {
        targets: Vec<String>,
        pipelines: Vec<String>,
    },
    /// So many parts of a content are stored.
    Stored {
        parts: u32,
    },
    Token {
        name: String,
        expires: WallTime,
    },
    Runners {
        names: Vec<String>,
        change: String,
    },
    Enrolled {
        identity: Identity,
    },
    /// A cluster that was restored goes on with this epoch.
    Resumed {
        epoch: Epoch,
        incarnation: u64,
    },
    /// The feature level is this one.
    Finalized {
        level: u16,
    },
    /// The agent is attached by this number; earlier incarnations are superseded.
    Attached {
        attach: u64,
    },
    /// A report was applied, now or before.
    ReportApplied,
    ResultSuperseded {
        by: Fence,
    },
    ReportUnknown,
    Refused(Refusal),
}
