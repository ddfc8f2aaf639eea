//! What was refused to whom: counted here, and written to the audit log in one record a minute.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use trimaran_model::id::Identity;
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;

use crate::authorize::{Verb, authorize};
use crate::node::Node;

/// Refusals of one identity and verb that share one audit record.
const REFUSALS_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);

/// Counts refusals and hands them to the log once a minute.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<(Identity, Verb), u32>>);

impl Refusals {
    /// Whether `identity` may do `verb`; a refusal is counted.
    pub(crate) fn check(&self, identity: &Identity, verb: Verb) -> bool {
        let allowed = authorize(identity, verb);
        if !allowed {
            let mut counts = self.0.lock();
            *counts.entry((identity.clone(), verb)).or_default() += 1;
        }
        allowed
    }

    /// Writes what was counted to the audit log, each minute.
    pub(crate) async fn report(&self, node: &Node) {
        let mut every = tokio::time::interval(REFUSALS_INTERVAL);
        loop {
            every.tick().await;
            let counts = std::mem::take(&mut *self.0.lock());
            for ((identity, verb), count) in counts {
                let body =
                    CommandBody::Refusals { verb: verb.as_str().to_owned(), object: String::new(), count };
                let command = Command { identity: WireIdentity::from(&identity), request: None, body };
                // Without a leader the count is lost; the refusal itself was given.
                let _ = node.propose(command).await;
            }
        }
    }
}
