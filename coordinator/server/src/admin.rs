//! The operator protocol: one request a stream, each authorized before anything else.

mod adopt;
mod backup;
mod border;
mod deploy;
mod live_reason;
mod members;
mod questions;
mod read;
mod refused;
pub(crate) mod reply;
mod status;
mod stream;
mod unknown_assignments;
mod write;

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_model::limits::{DOCUMENT_BYTES_MAX, DOCUMENT_PART_BYTES};
use trimaran_transport::{FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::RequestKey;
use trimaran_wire::v1::operator::{OperatorBody, OperatorReply, OperatorRequest, Refusal};

use self::reply::{Answer, refusal};
use crate::authorize::Verb;
use crate::server::Server;

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
    let Ok(Some(frame)) = receiver.next().await else { return };
    let request = match OperatorRequest::from_frame(&frame) {
        Ok(request) => request,
        Err(error) => return session.refuse_frame(&error.to_string()),
    };
    // Over the bytes that came: a later build that encodes the same request otherwise knows it again.
    let body_sha256 = Sha256::digest(&frame.body).into();
    let verb = Verb::of(&request.body);
    // What is rare and large is boxed, so that the task of a short request is small.
    let answer = if server.refusals.check(&identity, verb) {
        match request {
            OperatorRequest { body: OperatorBody::Watch { run, since }, .. } => {
                let watch = stream::watch(&server, &identity, sender, run, since.map(Into::into));
                return Box::pin(watch).await;
            }
            OperatorRequest { body: OperatorBody::Backup, .. } => {
                Box::pin(backup::send(&server, &identity, &mut sender)).await
            }
            OperatorRequest { body: OperatorBody::PlanDifference(request), .. } => {
                Box::pin(questions::difference(&server, &identity, &mut sender, request)).await
            }
            OperatorRequest { body: OperatorBody::SealingKey { target }, .. } => {
                Some(Box::pin(questions::sealing_key(&server, &identity, &target)).await)
            }
            OperatorRequest { body: OperatorBody::Logs { run, stage, host, previous, query }, .. } => {
                let asked = stream::LogRequest { run, stage, host, previous, query };
                Box::pin(stream::logs(&server, &identity, &mut sender, asked)).await
            }
            other => Some(answer(&server, &identity, session.local_ip(), body_sha256, other).await),
        }
    } else {
        let message = format!("{identity} may not {}", verb.as_str());
        Some(Err(refusal(error_code::DENIED, message)))
    };
    if let Some(answer) = answer {
        let reply = answer.unwrap_or_else(OperatorReply::Refused);
        if !send_whole(&mut sender, reply).await {
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
    body_sha256: [u8; 32],
    request: OperatorRequest,
) -> Answer {
    match request.request_id {
        Some(id) => write::write(server, identity, RequestKey { id, body_sha256 }, request.body).await,
        None => Box::pin(read::read(server, identity, reached, request.body)).await,
    }
}

/// Sends a reply, a long document in parts; false when the session ended.
async fn send_whole(sender: &mut FrameSender, reply: OperatorReply) -> bool {
    let OperatorReply::Document { revision, json } = reply else {
        return sender.send(&reply.to_frame()).await.is_ok();
    };
    if json.len() > DOCUMENT_BYTES_MAX {
        let message = format!("the answer has {} bytes, more than {DOCUMENT_BYTES_MAX}", json.len());
        let help = Some("Ask for less: name a pipeline or target, or lower `--limit`.".to_owned());
        let refused = OperatorReply::Refused(Refusal { help, ..refusal(error_code::USAGE, message) });
        return sender.send(&refused.to_frame()).await.is_ok();
    }
    let mut rest = json.as_str();
    while rest.len() > DOCUMENT_PART_BYTES {
        let end = (0..=DOCUMENT_PART_BYTES).rev().find(|at| rest.is_char_boundary(*at));
        let (part, behind) = rest.split_at(end.expect("0 is a boundary"));
        if sender.send(&OperatorReply::Part(part.to_owned()).to_frame()).await.is_err() {
            return false;
        }
        rest = behind;
    }
    sender.send(&document_end(revision, rest).to_frame()).await.is_ok()
}

fn document_end(revision: u64, json: &str) -> OperatorReply {
    OperatorReply::Document { revision, json: json.to_owned() }
}
