//! An operator takes everything that the cluster has stored: one audit record, before the first row is read, so that the
//! record is in the backup itself.

use super::convert::record;
use crate::audit::Record;

pub(super) fn audit(coordinator: &str) -> Record {
    record("back_up", format!("coordinator/{coordinator}"))
}
