//! Questions of a coordinator, each on a stream of its own: passed on to the platform of their target, and its answer back
//! part by part. A slow reader slows the platform down, and one that goes away ends the question.

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use trimaran_agent_core::driver::Driver;
use trimaran_agent_core::platform::{Part, PartSink, Platform, PlatformError, Question, Unread};
use trimaran_model::assignment::Assignment;
use trimaran_model::id::{Digest, InstallationId, TargetName};
use trimaran_model::limits::LOG_BATCHES_MAX;
use trimaran_model::release::Content;
use trimaran_targets::Platforms;
use trimaran_transport::{FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::{CodecError, Message as _};
use trimaran_wire::v1::agent::{AgentAnswer, AgentQuery, AgentQuestion, ContentAnswer};
use trimaran_wire::v1::common::name;

/// Serves the streams that the coordinator opens, until the session ends. Streams are bounded by the session.
pub(crate) async fn answer<D: Driver + 'static, P: Platform<D>>(session: &Session, platforms: &Platforms<P>) {
    let mut questions = JoinSet::new();
    loop {
        tokio::select! {
            stream = session.accept_stream() => {
                let Ok((sender, receiver)) = stream else { return };
                questions.spawn(one::<D, P>(session.clone(), sender, receiver, platforms.clone()));
            }
            Some(_) = questions.join_next() => {}
        }
    }
}

async fn one<D: Driver, P: Platform<D>>(
    session: Session,
    mut sender: FrameSender,
    mut receiver: FrameReceiver,
    platforms: Platforms<P>,
) {
    let Ok(Some(frame)) = receiver.next().await else { return };
    let (target, mut question) = match AgentQuery::from_frame(&frame).and_then(asked) {
        Ok(asked) => asked,
        Err(error) => return session.refuse_frame(&error.to_string()),
    };
    if let Question::Plan { order, content } = &mut question
        && let Some(wanted) = order.release.as_ref().and_then(|release| release.workload.content())
    {
        match whole_content(&mut receiver, wanted).await {
            Ok(Some(bytes)) => *content = Some(bytes),
            // Whoever asked has gone in the middle of it.
            Ok(None) => return,
            Err(error) => return session.refuse_frame(&error.to_string()),
        }
    }
    let (parts_to, mut parts) = mpsc::channel(LOG_BATCHES_MAX);
    let answering = platforms.query::<D>(&target, question, Parts(parts_to));
    tokio::pin!(answering);
    let mut ended = None;
    loop {
        tokio::select! {
            // What was put before the end comes out before it.
            biased;
            part = parts.recv() => {
                let Some(part) = part else { break };
                if sender.send(&framed(part).to_frame()).await.is_err() { return }
            }
            outcome = &mut answering, if ended.is_none() => ended = Some(outcome),
            // Whoever asked has gone.
            () = sender.stopped() => return,
        }
    }
    if let Some(Err(PlatformError { code, message })) = ended {
        let refused = AgentAnswer::Refused { code: code.as_str().to_owned(), message };
        if sender.send(&refused.to_frame()).await.is_err() {
            return;
        }
    }
    sender.finish();
}

/// The parts that follow a question, up to the end of the stream. `None`: it broke off.
async fn whole_content(
    receiver: &mut FrameReceiver,
    content: Content,
) -> Result<Option<Vec<u8>>, CodecError> {
    let mut bytes = Vec::new();
    loop {
        let frame = match receiver.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            Err(_) => return Ok(None),
        };
        match ContentAnswer::from_frame(&frame)? {
            ContentAnswer::Part(part) if (bytes.len() + part.len()) as u64 <= content.bytes => {
                bytes.extend(part);
            }
            ContentAnswer::Part(_) | ContentAnswer::Refused { .. } => {
                return Err(CodecError::value("no part of the content of a question"));
            }
        }
    }
    if Digest(Sha256::digest(&bytes).into()) != content.digest {
        return Err(CodecError::value("the content of a question does not have its digest"));
    }
    Ok(Some(bytes))
}

fn asked(query: AgentQuery) -> Result<(TargetName, Question), CodecError> {
    let question = match query.question {
        AgentQuestion::Logs { instances, previous, query } => {
            let instances = instances.iter().map(|instance| name(instance)).collect::<Result<_, _>>()?;
            Question::Logs { instances, previous, query }
        }
        AgentQuestion::Plan(assignment) => {
            Question::Plan { order: Box::new(Assignment::try_from(assignment)?), content: None }
        }
        AgentQuestion::SealingKey => Question::SealingKey,
        AgentQuestion::Running { pipeline, hosts } => {
            let installation = InstallationId { pipeline: name(&pipeline)?, target: name(&query.target)? };
            let hosts = hosts.iter().map(|host| name(host)).collect::<Result<_, _>>()?;
            Question::Running { installation, hosts }
        }
    };
    Ok((name(&query.target)?, question))
}

fn framed(part: Part) -> AgentAnswer {
    match part {
        Part::Plan(lines) => AgentAnswer::Plan(lines),
        Part::Logs(lines) => AgentAnswer::Logs(lines),
        Part::SealingKey(key) => AgentAnswer::SealingKey(key),
        Part::Running(running) => AgentAnswer::Running(running),
    }
}

/// Parts on their way to the stream.
#[derive(Clone)]
struct Parts(mpsc::Sender<Part>);

impl PartSink for Parts {
    async fn put(&self, part: Part) -> Result<(), Unread> {
        self.0.send(part).await.map_err(|_| Unread)
    }
}
