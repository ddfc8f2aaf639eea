//! Snapshots of the leader as they arrive: each chunk is checked and staged in the store before the next one is taken, one
//! snapshot at a time. Replication goes on meanwhile.
//!
//! What is refused leaves nothing behind, and its sender begins again. Not here: what raft decides about a snapshot that is
//! whole (`raft_loop`).

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use trimaran_engine::Engine;
use trimaran_engine::rows::COLD_TABLES_FROM;
use trimaran_model::limits::DISK_FULL_BYTES;
use trimaran_model::text::with_sources;
use trimaran_replica::staging::{Staging, StagingError, StagingJob};
use trimaran_store::{DiskSpace, StageError, StagedRows, Store};
use trimaran_transport::FrameReceiver;
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::raft::Message;
use trimaran_wire::snapshot::SnapshotManifest;

use crate::raft_loop::{Slot, Slots};

/// Chunks that wait to be staged; each is about 256 KiB.
const CHUNKS_WAITING: usize = 4;
/// A sender that sends nothing for so long is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a snapshot was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    /// Nothing is wrong with what came of it: it may come again.
    #[error("{0}")]
    NotNow(String),
    #[error("the snapshot of revision {index} is refused: {why}")]
    Refused { index: u64, why: String },
    /// It does not even begin as one.
    #[error("it begins with no manifest: {0}")]
    NoManifest(String),
}

/// Takes snapshots for one store. A clone is the same.
#[derive(Clone)]
pub(crate) struct SnapshotIntake {
    store: Store,
    disk: PathBuf,
    receiving: Slots,
}

impl SnapshotIntake {
    /// `disk` is where the store is.
    pub(crate) fn new(store: Store, disk: PathBuf) -> Self {
        Self { store, disk, receiving: Slots::default() }
    }

    /// Receives all that one stream has: rows that are staged, and the message of `from` that announces them.
    pub(super) async fn receive(
        &self,
        from: u64,
        receiver: &mut FrameReceiver,
    ) -> Result<(Message, StagedRows), IntakeError> {
        let first = next(receiver).await?;
        let manifest = SnapshotManifest::from_frame(&first)
            .map_err(|error| IntakeError::NoManifest(error.to_string()))?;
        let Some(slot) = self.receiving.take(1) else {
            return Err(IntakeError::NotNow("another snapshot is being received".to_owned()));
        };
        self.check_space(&manifest)?;
        tracing::info!(index = manifest.meta.index, bytes = manifest.totals.bytes, "a snapshot is received");
        self.stage(from, receiver, manifest, slot).await
    }

    fn check_space(&self, manifest: &SnapshotManifest) -> Result<(), IntakeError> {
        let SnapshotManifest { meta, totals, .. } = manifest;
        let space = DiskSpace::of(&self.disk).map_err(|error| IntakeError::NotNow(error.to_string()))?;
        let needed = totals.bytes.saturating_add(DISK_FULL_BYTES);
        if space.free >= needed {
            return Ok(());
        }
        Err(IntakeError::NotNow(format!(
            "the snapshot of revision {} has up to {} MiB and the disk {} MiB: free {} MiB",
            meta.index,
            totals.bytes >> 20,
            space.free >> 20,
            (needed - space.free).div_ceil(1 << 20)
        )))
    }

    async fn stage(
        &self,
        from: u64,
        receiver: &mut FrameReceiver,
        manifest: SnapshotManifest,
        slot: Slot,
    ) -> Result<(Message, StagedRows), IntakeError> {
        let index = manifest.meta.index;
        let refused = |why: String| IntakeError::Refused { index, why };
        if manifest.cluster_id != self.store.identity().cluster_id {
            return Err(refused("it is of another cluster".to_owned()));
        }
        let (chunks, staged) = self.begin(&manifest, slot)?;
        let message = loop {
            let frame = next(receiver).await?;
            if Message::check_kind(&frame).is_ok() {
                break Message::from_frame(&frame).map_err(|error| refused(error.to_string()))?;
            }
            if chunks.send(Some(frame)).await.is_err() {
                // The thread has ended before, and says why.
                return Err(match ended(staged).await {
                    Ok(_) => refused("it has no end".to_owned()),
                    Err(why) => why,
                });
            }
        };
        let is_announced = message.from == from
            && message.snapshot.as_ref().is_some_and(|it| {
                it.meta == manifest.meta && it.manifest.0.as_ref() == manifest.to_bytes().as_slice()
            });
        if !is_announced {
            return Err(refused("it is not the one that its message announces".to_owned()));
        }
        // The thread has ended already when this fails, and says why.
        drop(chunks.send(None).await);
        Ok((message, ended(staged).await?))
    }

    /// Starts the thread that stages: `None` is the end of the chunks.
    fn begin(
        &self,
        manifest: &SnapshotManifest,
        slot: Slot,
    ) -> Result<(mpsc::Sender<Option<Frame>>, Outcome), IntakeError> {
        let (chunks, mut waiting) = mpsc::channel(CHUNKS_WAITING);
        let (done, staged) = oneshot::channel();
        let (store, state_hash, index) = (self.store.clone(), manifest.state_hash, manifest.meta.index);
        let mut staging = Staging::new(manifest, check_row);
        let work = move || {
            let jobs = std::iter::from_fn(|| Some(job(&mut staging, waiting.blocking_recv()?)));
            let result = store.stage(state_hash, jobs).map_err(|error| match error {
                StageError::Rows(error) => IntakeError::Refused { index, why: with_sources(&error) },
                // It is this disk, or the stream ended before its time.
                error @ (StageError::Write(_) | StageError::Cut) => IntakeError::NotNow(with_sources(&error)),
            });
            drop(slot);
            // No one waits any more when the stream was given up: the rows are removed.
            drop(done.send(result));
        };
        let spawned = std::thread::Builder::new().name("snapshot-in".to_owned()).spawn(work);
        spawned.map(|_| (chunks, staged)).map_err(|error| IntakeError::NotNow(error.to_string()))
    }
}

type Outcome = oneshot::Receiver<Result<StagedRows, IntakeError>>;

async fn ended(staged: Outcome) -> Result<StagedRows, IntakeError> {
    let panicked = || IntakeError::NotNow("the thread that stages it ended with a panic".to_owned());
    staged.await.unwrap_or_else(|_| Err(panicked()))
}

fn job(staging: &mut Staging, frame: Option<Frame>) -> Result<StagingJob, StagingError> {
    match frame {
        Some(frame) => staging.chunk(&frame),
        None => staging.end(),
    }
}

/// The next frame. One that is damaged closes the session.
async fn next(receiver: &mut FrameReceiver) -> Result<Frame, IntakeError> {
    let why = match tokio::time::timeout(STALL_TIMEOUT, receiver.next()).await {
        Ok(Ok(Some(frame))) => return Ok(frame),
        Ok(Ok(None)) => "its stream ended before it was whole".to_owned(),
        Ok(Err(error)) => with_sources(&error),
        Err(_) => "nothing more of it came".to_owned(),
    };
    Err(IntakeError::NotNow(why))
}

/// A row of the state has to be one that this build can read; of the others the table has to be known.
fn check_row(key: &[u8], value: &[u8]) -> Result<u128, String> {
    if key.first().is_none_or(|table| *table < COLD_TABLES_FROM) {
        Engine::check_row(key, value).map_err(|error| error.to_string())?;
        return Ok(Engine::row_hash(key, value));
    }
    Engine::check_table(key).map(|()| 0).map_err(|error| error.to_string())
}
