//! Releases from the coordinator that serves this agent now.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use trimaran_artifacts::{AskError, Coordinators};
use trimaran_transport::Session;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{ContentAnswer, ContentQuery};

/// An agent that has just lost its coordinator finds another one within this time.
const SESSION_WAIT: Duration = Duration::from_secs(15);

/// The session that there is now, if there is one.
pub(super) type CurrentSession = watch::Receiver<Option<Session>>;

/// Asks whichever coordinator serves this agent.
pub(super) struct ReleaseSource(pub(super) CurrentSession);

impl Coordinators for ReleaseSource {
    fn ask(
        &self,
        query: ContentQuery,
        parts: mpsc::Sender<Vec<u8>>,
    ) -> BoxFuture<'static, Result<(), AskError>> {
        let mut sessions = self.0.clone();
        async move {
            let away = || AskError::Unreachable("no coordinator serves this agent".to_owned());
            let waiting = timeout(SESSION_WAIT, sessions.wait_for(Option::is_some));
            let session = match waiting.await {
                Ok(Ok(session)) => (*session).clone().ok_or_else(away)?,
                Ok(Err(_)) | Err(_) => return Err(away()),
            };
            ask(&session, query, parts).await
        }
        .boxed()
    }
}

async fn ask(session: &Session, query: ContentQuery, parts: mpsc::Sender<Vec<u8>>) -> Result<(), AskError> {
    let broken = |error: &dyn std::fmt::Display| AskError::Unreachable(error.to_string());
    let mut answer = session.request(&query.to_frame()).await.map_err(|error| broken(&error))?;
    while let Some(frame) = answer.next().await.map_err(|error| broken(&error))? {
        match ContentAnswer::from_frame(&frame) {
            Ok(ContentAnswer::Part(part)) => {
                // Whoever asked has gone.
                if parts.send(part).await.is_err() {
                    return Err(AskError::Unreachable("the answer was not read".to_owned()));
                }
            }
            Ok(ContentAnswer::Refused { message }) => return Err(AskError::Refused(message)),
            Err(error) => {
                session.refuse_frame(&error.to_string());
                return Err(broken(&error));
            }
        }
    }
    Ok(())
}
