//! What one coordinator asks another about itself and its agents.

use std::collections::BTreeMap;
use std::time::Duration;

use trimaran_process::clock;
use trimaran_transport::{FrameReceiver, FrameSender};
use trimaran_wire::codec::Message as _;
use trimaran_wire::document::AlarmDocument;
use trimaran_wire::v1::peer::{MemberReport, PeerQuestion, PeerStream};

use super::link;
use crate::low_disk;
use crate::own_clock;
use crate::server::Server;

/// How long the others may take to say how they are. One that is paused or cut off must not hold a status up.
const REPORT_TIMEOUT: Duration = Duration::from_millis(800);

/// What is known of a member.
#[derive(Debug, Clone)]
pub(crate) enum Reported {
    Alive(MemberReport),
    /// There is no session with it, or it does not answer.
    Away,
}

impl Reported {
    /// What the member has to say of its own machine.
    pub(crate) fn alarms(&self) -> Vec<AlarmDocument> {
        let Self::Alive(report) = self else { return Vec::new() };
        let disk = report.disk_low.clone().map(low_disk::alarm);
        disk.into_iter().chain(report.clock_wrong.clone().map(own_clock::alarm)).collect()
    }
}

/// Asks a peer; `None` when there is no session with it.
pub(super) async fn ask(server: &Server, id: u64, question: &PeerQuestion) -> Option<FrameReceiver> {
    let (sender, receiver) = begin(server, id, question).await?;
    sender.finish();
    Some(receiver)
}

async fn begin(server: &Server, id: u64, question: &PeerQuestion) -> Option<(FrameSender, FrameReceiver)> {
    let session = server.node.peers.session(id)?;
    let (mut sender, receiver) = link::open_both(server, &session, id, PeerStream::Question).await.ok()?;
    sender.send(&question.to_frame()).await.ok()?;
    Some((sender, receiver))
}

/// How these members are, this one included; all are asked at once.
pub(crate) async fn reports(server: &Server, members: &[u64]) -> BTreeMap<u64, Reported> {
    let mut asked = tokio::task::JoinSet::new();
    for id in members.iter().copied() {
        let server = server.clone();
        asked.spawn(async move {
            let report = tokio::time::timeout(REPORT_TIMEOUT, report(&server, id)).await;
            (id, report.ok().flatten().map_or(Reported::Away, Reported::Alive))
        });
    }
    asked.join_all().await.into_iter().collect()
}

async fn report(server: &Server, id: u64) -> Option<MemberReport> {
    if id == server.node.store.identity().raft_id {
        return own_report(server).await;
    }
    let mut answer = ask(server, id, &PeerQuestion::Report).await?;
    let frame = answer.next().await.ok()??;
    MemberReport::from_frame(&frame).ok().filter(|report| report.raft_id == id)
}

pub(super) async fn own_report(server: &Server) -> Option<MemberReport> {
    let status = server.node.status().await?;
    let refused = server.endpoint.counters().refused();
    Some(MemberReport {
        raft_id: status.id,
        leader: status.role.leader,
        term: status.role.term,
        applied: status.applied.index,
        hash: status.hash,
        first_index: status.first,
        snapshot_index: status.snapshot.index,
        disk_free: server.disk_space.free(),
        refused_handshakes: refused.handshakes,
        refused_frames: refused.frames,
        wall_ms: clock::system_wall().0,
        disk_low: server.disk_space.pressure(&server.node),
        clock_wrong: server.own_clock.alarm(&server.node),
    })
}
