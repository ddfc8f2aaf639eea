//! A change of members that is in force here, while it may be that no one else knows so. Why that counts is in `members`.

use crate::io::Waiter;
use crate::state_machine::EntryMeta;

/// The last change that was applied, until a quorum of the members as they are now knows it.
#[derive(Debug)]
pub(crate) struct Unconfirmed<R> {
    /// Who waits for it, and what the state machine replied.
    pub(crate) waiter: Option<(Waiter, R)>,
    /// The entry of the change, or the one that left its joint configuration.
    pub(crate) change: EntryMeta,
    /// The empty entry that this replica appended when it was in force.
    pub(crate) by: Option<EntryMeta>,
}
