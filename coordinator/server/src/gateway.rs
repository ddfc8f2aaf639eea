//! The front door: every session is taken here and handed on by its protocol.

use trimaran_transport::{Alpn, CloseCode, Session};

use crate::server::Server;
use crate::{admin, agent_session, enroll, peer};

/// Takes sessions until the process ends.
pub(crate) async fn run(server: Server) {
    while let Some(session) = server.endpoint.accept().await {
        let task = serve(server.clone(), session);
        server.tasks.spawn(task);
    }
}

async fn serve(server: Server, session: Session) {
    // The task of a session is no larger than its protocol needs: there are many agents.
    match session.alpn() {
        Alpn::Operator => admin::serve(server, session).await,
        Alpn::Agent => agent_session::serve(server, session).await,
        Alpn::Enroll => Box::pin(enroll::serve(server, session)).await,
        Alpn::Peer => Box::pin(peer::serve(server, session)).await,
        Alpn::Runner => {
            // Runners talk to their agent.
            session.close(CloseCode::Done, "this coordinator does not serve this protocol");
        }
    }
}
