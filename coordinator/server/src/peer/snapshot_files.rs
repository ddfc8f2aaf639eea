//! Snapshots for peers that lag: built as files from a view of the rows, and sent in chunks behind their manifest.
//!
//! Everything here runs beside the raft loop, which is notified of the end alone. What a crash leaves of the files is removed at
//! the next start. Not here: what arrives from peers (`snapshot_intake`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use trimaran_model::text::with_sources;
use trimaran_store::{Store, snapshot};
use trimaran_transport::{FrameReceiver, FrameSender};
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::raft::{Blob, Message, Snapshot, SnapshotMeta};
use trimaran_wire::snapshot::SnapshotManifest;

/// How long rows that are applied may take to be written before a build is given up.
const ROWS_TIMEOUT: Duration = Duration::from_secs(10);
const ROWS_PAUSE: Duration = Duration::from_millis(10);
/// Chunks that are read before the stream takes them; each is about 256 KiB.
const CHUNKS_AHEAD: usize = 4;
/// A peer that takes nothing for so long, or does not say what became of the whole, is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What became of the work on a file.
pub(crate) enum SnapshotEvent {
    Built(Snapshot),
    BuildFailed,
}

type Report = Box<dyn Fn(SnapshotEvent) + Send + Sync>;

/// The files of one member. A clone is the same.
#[derive(Clone)]
pub(crate) struct SnapshotFiles(Arc<Parts>);

struct Parts {
    folder: PathBuf,
    store: Store,
    report: Report,
}

impl SnapshotFiles {
    /// Empties the folder: its files are of an earlier process. `report` runs on threads of these files.
    pub(crate) fn new(folder: PathBuf, store: Store, report: Report) -> std::io::Result<Self> {
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        Ok(Self(Arc::new(Parts { folder, store, report })))
    }

    fn path(&self, meta: &SnapshotMeta) -> PathBuf {
        self.0.folder.join(format!("out-{}-{}.snapshot", meta.index, meta.term))
    }

    /// Builds the file for peers, on a thread of its own.
    pub(crate) fn build(&self, min_index: u64) {
        let files = self.clone();
        let work = move || match files.write(min_index) {
            Ok(snapshot) => (files.0.report)(SnapshotEvent::Built(snapshot)),
            Err(why) => {
                tracing::error!(why, "a snapshot for another coordinator could not be built");
                (files.0.report)(SnapshotEvent::BuildFailed);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("snapshot".to_owned()).spawn(work) {
            tracing::error!(%error, "a thread could not be started");
            (self.0.report)(SnapshotEvent::BuildFailed);
        }
    }

    fn write(&self, min_index: u64) -> Result<Snapshot, String> {
        let store = &self.0.store;
        let until = Instant::now() + ROWS_TIMEOUT;
        while store.applied() < min_index {
            if Instant::now() > until {
                return Err(format!("the rows of revision {min_index} are not written"));
            }
            std::thread::sleep(ROWS_PAUSE);
        }
        std::fs::create_dir_all(&self.0.folder).map_err(|error| error.to_string())?;
        let building = self.0.folder.join("building.snapshot");
        let written = snapshot::write(&store.read_view(), store.identity().cluster_id, &building);
        let manifest = written.map_err(|error| with_sources(&error))?;
        self.remove_earlier();
        std::fs::rename(&building, self.path(&manifest.meta)).map_err(|error| error.to_string())?;
        Ok(Snapshot { meta: manifest.meta.clone(), manifest: Blob(manifest.to_bytes().into()) })
    }

    fn remove_earlier(&self) {
        let entries = std::fs::read_dir(&self.0.folder).into_iter().flatten().flatten();
        for entry in entries.filter(|it| it.file_name().to_str().is_some_and(|it| it.starts_with("out-"))) {
            // One that is being sent stays readable for who sends it; one that stays is removed at the next start.
            let _ = std::fs::remove_file(entry.path());
        }
    }

    /// Sends the manifest, the chunks and the message that announces them, and waits until the peer has staged all of it.
    pub(super) async fn send(
        &self,
        (mut sender, mut answer): (FrameSender, FrameReceiver),
        message: Message,
    ) -> Result<(), String> {
        let snapshot = message.snapshot.as_ref().ok_or("the message announces no snapshot")?;
        let manifest =
            SnapshotManifest::from_bytes(&snapshot.manifest.0).map_err(|error| error.to_string())?;
        let frames = snapshot::frames(&self.path(&snapshot.meta)).map_err(|error| with_sources(&error))?;
        let mut chunks = read_ahead(frames)?;
        send(&mut sender, &manifest.to_frame()).await?;
        while let Some(chunk) = chunks.recv().await {
            send(&mut sender, &chunk?).await?;
        }
        send(&mut sender, &message.to_frame()).await?;
        sender.finish();
        match tokio::time::timeout(STALL_TIMEOUT, answer.next()).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(_))) => Err("it answers where nothing is to be answered".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not say what became of it".to_owned()),
        }
    }
}

async fn send(sender: &mut FrameSender, frame: &Frame) -> Result<(), String> {
    match tokio::time::timeout(STALL_TIMEOUT, sender.send(frame)).await {
        Ok(sent) => sent.map_err(|error| error.to_string()),
        Err(_) => Err("it takes nothing any more".to_owned()),
    }
}

/// Reads a file on a thread of its own, as far ahead as the channel has space.
fn read_ahead(mut frames: snapshot::Frames) -> Result<mpsc::Receiver<Result<Frame, String>>, String> {
    let (read, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let work = move || {
        while let Some(frame) = frames.next().map_err(|error| with_sources(&error)).transpose() {
            let failed = frame.is_err();
            if read.blocking_send(frame).is_err() || failed {
                return;
            }
        }
    };
    let spawned = std::thread::Builder::new().name("snapshot-out".to_owned()).spawn(work);
    spawned.map(|_| chunks).map_err(|error| error.to_string())
}
