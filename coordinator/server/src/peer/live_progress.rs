//! Live progress of agents that other coordinators serve, for those who watch here. It is asked for only while someone
//! watches.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use trimaran_transport::FrameReceiver;
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::peer::{PeerQuestion, SessionsReport};

use super::question;
use crate::server::Server;

/// How often it is looked whether someone watches, and which coordinators there are.
const INTERVAL: Duration = Duration::from_millis(250);

/// Follows the progress that the others have, as long as the process runs.
pub(crate) async fn follow_progress(server: Server) {
    let followed = Arc::new(Mutex::new(BTreeSet::new()));
    loop {
        tokio::time::sleep(INTERVAL).await;
        if !server.events.is_watched() {
            continue;
        }
        for id in server.node.peers.linked() {
            let is_new = followed.lock().insert(id);
            if is_new {
                let (asker, followed) = (server.clone(), followed.clone());
                server.tasks.spawn(async move {
                    if let Some(answer) = question::ask(&asker, id, &PeerQuestion::Progress).await {
                        follow(&asker, answer).await;
                    }
                    followed.lock().remove(&id);
                });
            }
        }
    }
}

/// Until no one watches any more, or the other coordinator goes.
async fn follow(server: &Server, mut answer: FrameReceiver) {
    let mut look = tokio::time::interval(INTERVAL);
    while server.events.is_watched() {
        let frame = tokio::select! {
            frame = answer.next() => frame,
            _ = look.tick() => continue,
        };
        let Ok(Some(frame)) = frame else { return };
        let Ok(page) = SessionsReport::from_frame(&frame) else { return };
        page.progress.iter().for_each(|progress| server.show_progress(progress));
    }
}
