//! Errors of the binary's commands as its users see them: each with a code, and with it the exit code.

use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::report::Report;
use trimaran_model::text::with_sources;
use trimaran_store::OpenError;

use crate::config::ConfigError;
use crate::init::InitError;
use crate::raft_loop::NodeError;
use crate::run::RunError;

impl From<InitError> for Report {
    fn from(error: InitError) -> Self {
        let code = match &error {
            InitError::Exists { .. } | InitError::Write(..) | InitError::Files(_) => error_code::DATA_DIR,
            InitError::Store(trimaran_store::InitError::AlreadyInitialized { .. }) => error_code::DATA_DIR,
            InitError::Store(trimaran_store::InitError::Open(open)) => of_open(open),
            InitError::Store(trimaran_store::InitError::Write { .. }) => error_code::DATA_DIR,
            InitError::Authority(_) | InitError::Csr(_) | InitError::Trust(_) => error_code::BUG,
        };
        report(code, &error)
    }
}

impl From<RunError> for Report {
    fn from(error: RunError) -> Self {
        let code = match &error {
            RunError::Data(_) | RunError::Files(_) | RunError::NoIdentity | RunError::Name { .. } => {
                error_code::DATA_DIR
            }
            RunError::Authority(_) | RunError::Store(_) | RunError::Trust(_) => error_code::DATA_DIR,
            RunError::Open(open) => of_open(open),
            RunError::Rows(_)
            | RunError::Engine { .. }
            | RunError::Hash { .. }
            | RunError::Fatal(NodeError::Damaged(_)) => error_code::STORE_DAMAGED,
            RunError::Bind(_) => error_code::USAGE,
            RunError::Node(_) | RunError::Renew(_) | RunError::Fatal(_) => error_code::BUG,
        };
        report(code, &error)
    }
}

impl From<ConfigError> for Report {
    fn from(error: ConfigError) -> Self {
        report(error_code::USAGE, &error)
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
