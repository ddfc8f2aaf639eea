//! What waits for the session with a coordinator.
//!
//! Messages are made when the session has room for them, from what is known then: a session that reads slowly gets
//! fewer messages and never an unbounded queue. Deliberately not here: the content of messages (`task`).

use std::collections::BTreeSet;

use trimaran_model::id::AssignmentId;

/// One message that has to be sent, in the order of urgency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outgoing {
    Unknown,
    Refused(AssignmentId),
    Result(AssignmentId),
    Commit(AssignmentId),
    Progress(AssignmentId),
}

/// Each message at most once.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: BTreeSet<Outgoing>,
}

impl Outbox {
    pub(crate) fn push(&mut self, message: Outgoing) {
        self.waiting.insert(message);
    }

    pub(crate) fn pop(&mut self) -> Option<Outgoing> {
        self.waiting.pop_first()
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
