//! Refusals of one identity and verb in one minute: one audit record, and no change.

use super::convert::record;
use crate::audit::Record;

pub(super) fn audit(verb: &str, object: &str, count: u32) -> Record {
    record("refused", format!("{verb} {object} {count} times"))
}
