//! The front door: every session is taken here and handed on by its protocol.

use std::collections::BTreeMap;
use std::sync::Mutex;

use trimaran_model::id::Identity;
use trimaran_transport::{Alpn, CloseCode, Session};
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;

use crate::authorize::{Verb, authorize};
use crate::server::Server;
use crate::{admin, agent_session, enroll};

/// Refusals of one identity and verb that share one audit record.
const REFUSALS_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// Takes sessions until the process ends.
pub(crate) async fn run(server: Server) {
    while let Some(session) = server.endpoint.accept().await {
        let task = serve(server.clone(), session);
        server.spawn(task);
    }
}

async fn serve(server: Server, session: Session) {
    match session.alpn() {
        Alpn::Operator => admin::serve(server, session).await,
        Alpn::Agent => agent_session::serve(server, session).await,
        Alpn::Enroll => enroll::serve(server, session).await,
        Alpn::Peer | Alpn::Runner => {
            // One member has no peers, and runners talk to their agent.
            session.close(CloseCode::Done, "this coordinator does not serve this protocol");
        }
    }
}

/// Counts refusals and hands them to the log once a minute.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<(Identity, Verb), u32>>);

impl Refusals {
    /// Whether `identity` may do `verb`; a refusal is counted.
    pub(crate) fn check(&self, identity: &Identity, verb: Verb) -> bool {
        let allowed = authorize(identity, verb);
        if !allowed {
            let mut counts = self.0.lock().expect("no panic while the lock is held");
            *counts.entry((identity.clone(), verb)).or_default() += 1;
        }
        allowed
    }

    /// Writes what was counted to the audit log, each minute.
    pub(crate) async fn report(server: Server) {
        let mut every = tokio::time::interval(REFUSALS_EVERY);
        loop {
            every.tick().await;
            let counts =
                std::mem::take(&mut *server.refusals.0.lock().expect("no panic while the lock is held"));
            for ((identity, verb), count) in counts {
                let body =
                    CommandBody::Refusals { verb: verb.as_str().to_owned(), object: String::new(), count };
                let command = Command { identity: WireIdentity::from(&identity), request: None, body };
                // Without a leader the count is lost; the refusal itself was given.
                let _ = server.node.propose(command).await;
            }
        }
    }
}
