//! A stored row that can't be read or decoded, as the error that ends the process.

use trimaran_model::error_code;
use trimaran_wire::v1::operator::Refusal;

/// The first damage that a view met: which row, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{row} is damaged: {why}")]
pub(crate) struct Damaged {
    pub(crate) row: String,
    pub(crate) why: String,
}

impl From<Damaged> for Refusal {
    fn from(damaged: Damaged) -> Self {
        Self {
            code: error_code::STORE_DAMAGED.0,
            message: damaged.to_string(),
            cause: None,
            help: None,
            diagnostics: Vec::new(),
        }
    }
}
