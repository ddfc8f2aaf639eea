//! The error of a file or directory of a dev cluster.

use trimaran_model::error_code;

use crate::error::CliError;

/// `what` can't be used, for this reason of the system.
pub(super) fn io_error(what: &str, error: &std::io::Error) -> CliError {
    CliError::new(error_code::DATA_DIR, format!("{what} can't be used")).cause(error.to_string())
}
