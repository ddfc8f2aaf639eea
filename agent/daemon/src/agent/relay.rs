//! Enrolments and renewals of runners, passed on unchanged: a runner knows only its agent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::limits::ENROLL_FRAME_BYTES_MAX;
use trimaran_transport::{Alpn, CloseCode, Endpoint, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::enroll::{EnrollReply, EnrollRequest};

use trimaran_model::text::with_sources;

use crate::addresses;

/// The newcomer waits 25 s; both ways have to fit.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Passes requests to the first coordinator that answers.
#[derive(Clone)]
pub(crate) struct Relay {
    endpoint: Arc<Endpoint>,
    coordinators: Arc<Vec<String>>,
}

impl Relay {
    pub(crate) fn new(endpoint: Arc<Endpoint>, coordinators: Vec<String>) -> Self {
        Self { endpoint, coordinators: Arc::new(coordinators) }
    }

    /// Serves one session: one request, one reply.
    pub(crate) async fn serve(&self, session: Session) {
        let Ok((mut sender, mut receiver)) = session.accept_stream().await else { return };
        let Ok(Some(frame)) = receiver.next_within(ENROLL_FRAME_BYTES_MAX).await else { return };
        // Only what a coordinator can read is passed on; it judges the rest.
        if let Err(error) = EnrollRequest::from_frame(&frame) {
            return session.refuse_frame(&error.to_string());
        }
        let reply = match timeout(REQUEST_TIMEOUT, self.ask(&frame)).await {
            Ok(reply) => reply,
            Err(_) => refused(error_code::INDETERMINATE, "no coordinator answered in time"),
        };
        if sender.send(&reply).await.is_ok() {
            // An error says that the newcomer has read and closed.
            drop(sender.finish_and_wait().await);
        }
        session.close(CloseCode::Done, "");
    }

    /// The reply of the first coordinator that is reached, or a refusal that says how far the request came.
    async fn ask(&self, request: &Frame) -> Frame {
        let mut attempts = Vec::new();
        for name in self.coordinators.iter() {
            let found = match addresses::of_name(name).await {
                Ok(found) => found,
                Err(error) => {
                    attempts.push(format!("{name}: {error}"));
                    continue;
                }
            };
            for address in found {
                match self.endpoint.connect(address, Alpn::Enroll).await {
                    Ok(session) => {
                        let reply = session.request_one(request).await;
                        session.close(CloseCode::Done, "");
                        return reply.unwrap_or_else(|error| {
                            refused(error_code::INDETERMINATE, &with_sources(&error))
                        });
                    }
                    Err(error) => attempts.push(with_sources(&error)),
                }
            }
        }
        let why = format!("the agent reaches no coordinator: {}", attempts.join("; "));
        refused(error_code::UNREACHABLE, &why)
    }
}

fn refused(code: ErrorCode, message: &str) -> Frame {
    EnrollReply::Refused { code: code.0, message: message.to_owned() }.to_frame()
}
