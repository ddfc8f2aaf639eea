//! Enrolments and renewals of runners, passed on unchanged: a runner knows only its agent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use trimaran_model::error_code;
use trimaran_model::id::Digest;
use trimaran_model::limits::ENROLL_FRAME_BYTES_MAX;
use trimaran_transport::{CloseCode, Endpoint, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::enroll::{EnrollReply, EnrollRequest};

use crate::failure::words;

/// The newcomer waits 25 s; both ways have to fit.
const PATIENCE: Duration = Duration::from_secs(20);

/// Passes requests to the first coordinator that answers.
#[derive(Clone)]
pub(crate) struct Relay {
    endpoint: Arc<Endpoint>,
    root: Digest,
    coordinators: Arc<Vec<String>>,
}

impl Relay {
    pub(crate) fn new(endpoint: Arc<Endpoint>, root: Digest, coordinators: Vec<String>) -> Self {
        Self { endpoint, root, coordinators: Arc::new(coordinators) }
    }

    /// Serves one session: one request, one reply.
    pub(crate) async fn serve(&self, session: Session) {
        let Ok((mut sender, mut receiver)) = session.accept_stream().await else { return };
        let Ok(Some(frame)) = receiver.next_within(ENROLL_FRAME_BYTES_MAX).await else { return };
        // Only what a coordinator can read is passed on; it judges the rest.
        if let Err(error) = EnrollRequest::from_frame(&frame) {
            return session.refuse_frame(&error.to_string());
        }
        let reply = match timeout(PATIENCE, self.ask(&frame)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(why)) => refused(why),
            Err(_) => refused("no coordinator answered in time".to_owned()),
        };
        if sender.send(&reply).await.is_ok() {
            // An error says that the newcomer has read and closed.
            drop(sender.finish_and_wait().await);
        }
        session.close(CloseCode::Done, "");
    }

    async fn ask(&self, request: &Frame) -> Result<Frame, String> {
        let mut attempts = Vec::new();
        for name in self.coordinators.iter() {
            let found = tokio::net::lookup_host(name.as_str()).await;
            let Some(address) = found.ok().and_then(|mut found| found.next()) else {
                attempts.push(format!("{name} has no address"));
                continue;
            };
            match self.endpoint.enroll(address, self.root).await {
                Ok(session) => {
                    let reply = session.request_one(request).await;
                    session.close(CloseCode::Done, "");
                    return reply.map_err(|error| words(&error));
                }
                Err(error) => attempts.push(words(&error)),
            }
        }
        Err(attempts.join("; "))
    }
}

fn refused(why: String) -> Frame {
    EnrollReply::Refused {
        code: error_code::UNREACHABLE.0,
        message: format!("no coordinator is reached: {why}"),
    }
    .to_frame()
}
