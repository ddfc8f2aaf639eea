//! Errors of the binary's commands as its users see them: each with a code, and with it the exit code.

use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::report::Report;
use trimaran_model::text::with_sources;
use trimaran_replica::Fatal;
use trimaran_store::OpenError;

use crate::init::InitError;
use crate::join::JoinError;
use crate::raft_loop::NodeError;
use crate::run::RunError;

impl From<InitError> for Report {
    fn from(error: InitError) -> Self {
        let code = match &error {
            InitError::Exists { .. } | InitError::Data(_) | InitError::Write(_) | InitError::Files(_) => {
                error_code::DATA_DIR
            }
            InitError::Store(trimaran_store::InitError::AlreadyInitialized { .. }) => error_code::DATA_DIR,
            InitError::Store(trimaran_store::InitError::Open(open)) => of_open(open),
            InitError::Store(trimaran_store::InitError::Write { .. }) => error_code::DATA_DIR,
            InitError::Authority(_) | InitError::Csr(_) | InitError::Trust(_) => error_code::BUG,
        };
        report(code, &error)
    }
}

impl From<JoinError> for Report {
    fn from(error: JoinError) -> Self {
        let code = match &error {
            JoinError::Exists { .. } | JoinError::Data(_) | JoinError::Write(_) | JoinError::Files(_) => {
                error_code::DATA_DIR
            }
            JoinError::Store(trimaran_store::InitError::Open(open)) => of_open(open),
            JoinError::Store(_) => error_code::DATA_DIR,
            JoinError::NotDialable { .. } | JoinError::TokenFile(_) => error_code::USAGE,
            JoinError::Token(_) | JoinError::Foreign => error_code::TOKEN_UNKNOWN,
            JoinError::Csr(_) | JoinError::Authority(_) => error_code::BUG,
            JoinError::Unreachable { .. } => error_code::UNREACHABLE,
            JoinError::Lost { .. } => error_code::INDETERMINATE,
            JoinError::Refused { code, .. } => ErrorCode(*code),
        };
        report(code, &error)
    }
}

impl From<RunError> for Report {
    fn from(error: RunError) -> Self {
        let code = match &error {
            RunError::Data(_)
            | RunError::IssuerKey(_)
            | RunError::Files(_)
            | RunError::NoIdentity
            | RunError::Name { .. } => error_code::DATA_DIR,
            RunError::Authority(_) | RunError::Store(_) | RunError::Trust(_) => error_code::DATA_DIR,
            RunError::Open(open) => of_open(open),
            RunError::Rows(_)
            | RunError::Engine { .. }
            | RunError::Hash { .. }
            | RunError::Fatal(NodeError::Damaged(_)) => error_code::STORE_DAMAGED,
            RunError::Fatal(NodeError::Removed | NodeError::RemovedBy { .. }) => error_code::DATA_DIR,
            RunError::Level(_) | RunError::Fatal(NodeError::Fatal(Fatal::Entry { .. })) => {
                error_code::BUILD_TOO_OLD
            }
            RunError::Bind(_) => error_code::USAGE,
            RunError::Node(_) | RunError::Renew(_) | RunError::Fatal(_) => error_code::BUG,
        };
        report(code, &error)
    }
}

/// A data directory that does not open.
pub(crate) fn open(error: &OpenError) -> Report {
    report(of_open(error), error)
}

fn of_open(error: &OpenError) -> ErrorCode {
    match error {
        OpenError::NotInitialized { .. } | OpenError::Locked { .. } => error_code::DATA_DIR,
        OpenError::Failed { .. } => error_code::DATA_DIR,
        OpenError::Damaged { .. } | OpenError::Load { .. } => error_code::STORE_DAMAGED,
    }
}

/// The error's first words are what failed, those of its sources why.
fn report(code: ErrorCode, error: &dyn std::error::Error) -> Report {
    Report { cause: error.source().map(with_sources), ..Report::new(code, error.to_string()) }
}
