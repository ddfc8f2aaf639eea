//! `cluster backup create`: all rows at one revision, read on a thread of its own and sent as fast as the asker takes them.
//!
//! The view that is read is at or above everything that was answered before, on whichever coordinator it is.

use std::time::Duration;

use tokio::sync::mpsc::{self, Sender};
use trimaran_model::error_code;
use trimaran_model::id::Identity;
use trimaran_query as query;
use trimaran_transport::FrameSender;
use trimaran_wire::backup::{BackupHeader, BackupWriter};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::command::{Command, CommandBody};
use trimaran_wire::v1::common::WireIdentity;
use trimaran_wire::v1::operator::{OperatorReply, Refusal};

use super::reply::{Answer, accepted, refusal};
use crate::rows::{Rows, View};
use crate::server::Server;

/// Frames that are read before the asker takes them; each is about 256 KiB.
const FRAMES_AHEAD: usize = 4;
/// An asker that takes nothing for so long is given up: the view that is held for it costs space on the disk.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends the frames. `None`: all were sent, or the asker is gone.
pub(super) async fn send(server: &Server, identity: &Identity, sender: &mut FrameSender) -> Option<Answer> {
    let Ok(slot) = server.backups.clone().try_acquire_owned() else {
        let message = format!("another backup is being read from coordinator `{}`", server.name);
        return Some(Err(refusal(error_code::BUSY, message)));
    };
    if let Err(refusal) = record(server, identity).await {
        return Some(Err(refusal));
    }
    let (frames_to, mut frames) = mpsc::channel(FRAMES_AHEAD);
    let reader = server.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        View::new(&reader.node).read(|rows| read(&reader, rows, &frames_to))
    });
    while let Some(frame) = frames.recv().await {
        let reply = OperatorReply::Backup(frame).to_frame();
        match tokio::time::timeout(STALL_TIMEOUT, sender.send(&reply)).await {
            Ok(Ok(())) => {}
            // The reader ends with its channel.
            Ok(Err(_)) | Err(_) => return None,
        }
    }
    match reading.await {
        Ok(Ok(())) => None,
        Ok(Err(damaged)) => Some(Err(damaged.into())),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Writes down who takes a backup, before a row is read: it is in the backup too, and one that breaks off has a record all the
/// same. Views are at or above everything that was answered before, then.
async fn record(server: &Server, identity: &Identity) -> Result<(), Refusal> {
    let body = CommandBody::BackUp { coordinator: server.name.to_string() };
    server.disk_space.observe(&server.node);
    let command = Command { identity: WireIdentity::from(identity), request: None, body };
    let (revision, _) = accepted(server, server.node.propose(command).await)?;
    server.node.wait_rows(revision).await;
    Ok(())
}

/// Reads the frames of the whole file; the last one is missing when the rows are damaged.
fn read(server: &Server, rows: &Rows<'_>, frames: &Sender<Vec<u8>>) {
    let Some(meta) = rows.snapshot_meta() else { return };
    let cluster = query::cluster(rows);
    let header = BackupHeader {
        cluster_id: server.node.store.identity().cluster_id,
        incarnation: cluster.incarnation,
        epoch: cluster.epoch.0,
        meta,
        wall_ms: server.node.wall().0,
        coordinator: server.name.to_string(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        root_pem: server.issuer.root_pem().to_owned(),
    };
    let (mut writer, first) = BackupWriter::begin(&header);
    // False when the asker is gone.
    let send = |frame| frames.blocking_send(frame).is_ok();
    if !send(first) {
        return;
    }
    if let Some(state_hash) = rows.each_chunk(&mut |chunk| send(writer.chunk(chunk))) {
        send(writer.end(state_hash));
    }
}
