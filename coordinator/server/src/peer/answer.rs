//! Answers to what other coordinators ask.

use tokio::sync::broadcast::error::RecvError;
use trimaran_transport::{FrameReceiver, FrameSender};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::agent::{AgentQuery, Progress};
use trimaran_wire::v1::peer::{PeerQuestion, SessionsReport};

use super::question::own_report;
use super::sessions;
use crate::server::Server;

/// Answers a peer's question.
pub(super) async fn answer(
    server: &Server,
    (mut sender, receiver): (FrameSender, FrameReceiver),
    question: PeerQuestion,
) {
    let answered = match question {
        PeerQuestion::Report => match own_report(server).await {
            Some(report) => sender.send(&report.to_frame()).await.is_ok(),
            None => false,
        },
        PeerQuestion::Sessions => {
            let mut all = true;
            for page in sessions::pages(server) {
                all &= sender.send(&page.to_frame()).await.is_ok();
            }
            all
        }
        PeerQuestion::Agent { agent, query } => {
            pass_on(server, (&mut sender, receiver), &agent, &query).await
        }
        PeerQuestion::Progress => progress(server, &mut sender).await,
    };
    // A stream that ends without its end says that there is no answer.
    if answered {
        sender.finish();
    }
}

/// Carries a question to an agent whose session is here, with whatever follows it, and the answer back.
async fn pass_on(
    server: &Server,
    (sender, mut receiver): (&mut FrameSender, FrameReceiver),
    agent: &str,
    query: &AgentQuery,
) -> bool {
    let session = server.soft_state.lock().agents.get(agent).map(|agent| agent.session.clone());
    let Some(session) = session else { return false };
    let Ok((mut question, answer)) = session.open_stream().await else { return false };
    if question.send(&query.to_frame()).await.is_err() {
        return false;
    }
    let rest = async {
        while let Ok(Some(frame)) = receiver.next().await {
            if question.send(&frame).await.is_err() {
                break;
            }
        }
        question.finish();
        // The answer ends it.
        std::future::pending::<bool>().await
    };
    tokio::select! {
        never = rest => never,
        answered = carry(answer, sender) => answered,
    }
}

/// Carries frames to who asked; true at the end of the answer.
async fn carry(mut answer: FrameReceiver, sender: &mut FrameSender) -> bool {
    loop {
        let next = tokio::select! {
            next = answer.next() => next,
            // Who asked has gone.
            () = sender.stopped() => return false,
        };
        match next {
            Ok(Some(frame)) => {
                if sender.send(&frame).await.is_err() {
                    return false;
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Sends live progress of agents whose sessions are here, until who asked has gone.
async fn progress(server: &Server, sender: &mut FrameSender) -> bool {
    let mut reports = server.live_progress.subscribe();
    loop {
        let report = tokio::select! {
            report = reports.recv() => report,
            () = sender.stopped() => return false,
        };
        let progress = match report {
            Ok(progress) => vec![Progress::clone(&progress)],
            // Live progress that is missed is followed by newer one.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return true,
        };
        let page = SessionsReport { progress, ..SessionsReport::default() };
        if sender.send(&page.to_frame()).await.is_err() {
            return false;
        }
    }
}
