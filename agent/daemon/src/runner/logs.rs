//! Questions of the agent for the output of services and the releases on the host, each on a stream of its own.

use tokio::task::JoinSet;
use trimaran_host::Host;
use trimaran_model::id::InstallationId;
use trimaran_transport::{FrameReceiver, FrameSender, Session};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::runner::{LogLine, LogLines, RunnerQuery, RunningRelease};

/// Bytes of lines in one frame, unless one line alone is longer: far below a frame's limit.
const BATCH_BYTES: usize = 64 * 1024;

/// Serves the streams that the agent opens, until the session ends. Streams are bounded by the session.
pub(crate) async fn answer(session: &Session, host: &Host) {
    let mut questions = JoinSet::new();
    loop {
        tokio::select! {
            stream = session.accept_stream() => {
                let Ok((sender, receiver)) = stream else { return };
                questions.spawn(one(session.clone(), sender, receiver, host.clone()));
            }
            Some(_) = questions.join_next() => {}
        }
    }
}

async fn one(session: Session, mut sender: FrameSender, mut receiver: FrameReceiver, host: Host) {
    let Ok(Some(frame)) = receiver.next().await else { return };
    let query = match RunnerQuery::from_frame(&frame) {
        Ok(RunnerQuery::Logs(query)) => query,
        Ok(RunnerQuery::Running { installation }) => {
            let Ok(installation) = InstallationId::try_from(installation) else {
                return session.refuse_frame("no name of an installation");
            };
            if sender.send(&running(&host, &installation).await.to_frame()).await.is_ok() {
                sender.finish();
            }
            return;
        }
        Err(error) => return session.refuse_frame(&error.to_string()),
    };
    let mut lines = host.logs(&query);
    loop {
        tokio::select! {
            batch = lines.next() => {
                let Some(batch) = batch else { break };
                for lines in batches(batch) {
                    // The agent knows which host this is.
                    let frame = LogLines { host: String::new(), lines, missing: None }.to_frame();
                    if sender.send(&frame).await.is_err() { return }
                }
            }
            () = sender.stopped() => return,
        }
    }
    sender.finish();
}

/// The release that should run here; what can't be read is not there for whoever asks.
async fn running(host: &Host, installation: &InstallationId) -> RunningRelease {
    let shown = host.show(installation).await;
    let serving = shown.as_ref().and_then(|shown| shown.report.current);
    let stored = shown.and_then(|shown| shown.current).filter(|stored| Some(stored.digest) == serving);
    // The agent knows which host this is.
    RunningRelease {
        host: String::new(),
        digest: serving.map(|digest| digest.0),
        missing: host.broken(installation).map(str::to_owned),
        release: stored.map(|stored| (&stored.release).into()),
    }
}

/// Lines in frames of bounded size.
fn batches(lines: Vec<LogLine>) -> Vec<Vec<LogLine>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for line in lines {
        bytes += line.line.len() + 16;
        if bytes > BATCH_BYTES && batches.last().is_some_and(|batch| !batch.is_empty()) {
            batches.push(Vec::new());
            bytes = line.line.len() + 16;
        }
        batches.last_mut().expect("never empty").push(line);
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_the_order_and_are_bounded() {
        let line = |n: usize| LogLine { at_ms: 0, stderr: false, release: None, line: format!("{n:0>9000}") };
        let lines: Vec<LogLine> = (0..40).map(line).collect();
        let split = batches(lines.clone());
        assert!(split.len() > 4 && split.iter().all(|batch| batch.len() <= 7), "{}", split.len());
        assert_eq!(split.concat(), lines);
        assert!(batches(Vec::new()).is_empty());
    }
}
