//! The operator protocol: one request a stream, each authorized before anything else.

mod deploy;
mod read;
mod refused;
mod stream;
mod unknown_assignments;
mod write;

use std::net::IpAddr;

use trimaran_model::error_code::{self, ErrorCode};
use trimaran_model::id::{Identity, InvalidName, RunId, StageName, StagePart};
use trimaran_transport::{FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::document::Document;
use trimaran_wire::v1::common::{WireRun, WireStage};
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply, OperatorRequest, Refusal};

use crate::authorize::Verb;
use crate::server::Server;

/// A reply or a refusal.
pub(crate) type Answer = Result<OperatorReply, Refusal>;

/// Serves the requests of one operator's session.
pub(crate) async fn serve(server: Server, session: Session) {
    let Some(identity) = session.identity().cloned() else { return };
    while let Ok((sender, receiver)) = session.accept_stream().await {
        let task = one(server.clone(), identity.clone(), session.clone(), sender, receiver);
        server.tasks.spawn(task);
    }
}

async fn one(
    server: Server,
    identity: Identity,
    session: Session,
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
) {
    let request = match receiver.next().await {
        Ok(Some(frame)) => match OperatorRequest::from_frame(&frame) {
            Ok(request) => request,
            Err(error) => return session.refuse_frame(&error.to_string()),
        },
        _ => return,
    };
    let verb = Verb::of(&request.body);
    let answer = if server.refusals.check(&identity, verb) {
        match &request.body {
            OperatorBody::Watch { run, since_revision } => {
                return stream::watch(&server, sender, run.clone(), *since_revision).await;
            }
            OperatorBody::Logs { run, stage, host, query } => {
                let asked = stream::LogRequest { run, stage: stage.as_deref(), host: host.as_deref(), query };
                stream::logs(&server, &mut sender, asked).await
            }
            _ => Some(answer(&server, &identity, session.local_ip(), request).await),
        }
    } else {
        let message = format!("{identity} may not {}", verb.as_str());
        Some(Err(refusal(error_code::DENIED, message)))
    };
    if let Some(answer) = answer {
        let reply = answer.unwrap_or_else(OperatorReply::Refused);
        if sender.send(&reply.to_frame()).await.is_err() {
            return;
        }
    }
    // The asker may be gone; its request was executed all the same.
    let _ = sender.finish_and_wait().await;
}

async fn answer(
    server: &Server,
    identity: &Identity,
    reached: Option<IpAddr>,
    request: OperatorRequest,
) -> Answer {
    match request.request_id {
        Some(id) => write::write(server, identity, id, request.body).await,
        None => read::read(server, reached, request.body).await,
    }
}

/// A refusal with the catalogue's cause and help.
pub(crate) fn refusal(code: ErrorCode, message: impl Into<String>) -> Refusal {
    Refusal { code: code.0, message: message.into(), cause: None, help: None, diagnostics: Vec::new() }
}

/// A document at a revision.
pub(crate) fn document<D: Document>(revision: u64, document: &D) -> OperatorReply {
    OperatorReply::Document { revision, json: document.to_json() }
}

/// Reads `web#12`.
pub(crate) fn parse_run(text: &str) -> Result<WireRun, Refusal> {
    run_id(text).map(|id| WireRun::from(&id))
}

/// Reads `web#12` as the state names runs.
pub(crate) fn run_id(text: &str) -> Result<RunId, Refusal> {
    text.parse().map_err(|error: InvalidName| Refusal {
        cause: Some(error.to_string()),
        ..refusal(error_code::USAGE, format!("`{text}` is no run"))
    })
}

/// Reads `prod/lab-prod`.
pub(crate) fn parse_stage(text: &str) -> Result<WireStage, Refusal> {
    match text.parse::<StageName>() {
        Ok(stage) => {
            let target = match &stage.part {
                StagePart::Approve => None,
                StagePart::Deploy(target) => Some(target.to_string()),
            };
            Ok(WireStage { environment: stage.environment.to_string(), target })
        }
        Err(error) => Err(Refusal {
            cause: Some(error.to_string()),
            ..refusal(error_code::USAGE, format!("`{text}` is no stage"))
        }),
    }
}
