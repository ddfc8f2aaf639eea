//! Snapshots as files: built from a view of the rows for peers that lag, sent in frames, received, and read for the
//! installation.
//!
//! Everything here runs beside the raft loop, which is notified of the end alone. A file counts once it is whole, checked to its
//! last byte and synced; what a crash leaves is removed at the next start.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trimaran_replica::{InstallJob, Row};
use trimaran_store::{Store, snapshot};
use trimaran_transport::FrameSender;
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::raft::{Blob, Message, Snapshot, SnapshotMeta};

/// How long rows that are applied may take to be written before a build is given up.
const ROWS_TIMEOUT: Duration = Duration::from_secs(10);
const ROWS_PAUSE: Duration = Duration::from_millis(10);

/// What became of the work on a file.
pub(crate) enum SnapshotEvent {
    Built(Snapshot),
    BuildFailed,
    /// The rows of a received snapshot, for its installation.
    Read {
        job: InstallJob,
        rows: Vec<Row>,
    },
    /// A received snapshot can't be read.
    ReadFailed(String),
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

    fn path(&self, way: &str, index: u64, term: u64) -> PathBuf {
        self.0.folder.join(format!("{way}-{index}-{term}.snapshot"))
    }

    /// Builds the file for peers, on a thread of its own.
    pub(crate) fn build(&self, min_index: u64) {
        let files = self.clone();
        self.run("snapshot", move || match files.write(min_index) {
            Ok(snapshot) => SnapshotEvent::Built(snapshot),
            Err(why) => {
                tracing::error!(why, "a snapshot for another coordinator could not be built");
                SnapshotEvent::BuildFailed
            }
        });
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
        let header = written.map_err(|error| trimaran_model::text::with_sources(&error))?;
        self.remove("out-");
        let path = self.path("out", header.meta.index, header.meta.term);
        std::fs::rename(&building, &path).map_err(|error| error.to_string())?;
        Ok(Snapshot { meta: header.meta, manifest: Blob::default() })
    }

    /// Sends the file that a message announces, and behind it the message.
    pub(super) async fn send(&self, mut sender: FrameSender, message: Message) -> Result<(), String> {
        let meta = message.snapshot.as_ref().map(|it| it.meta.clone());
        let meta = meta.ok_or("the message announces no snapshot")?;
        let mut frames = snapshot::frames(&self.path("out", meta.index, meta.term))
            .map_err(|error| trimaran_model::text::with_sources(&error))?;
        while let Some(frame) = frames.next().map_err(|error| trimaran_model::text::with_sources(&error))? {
            sender.send(&frame).await.map_err(|error| error.to_string())?;
        }
        sender.send(&message.to_frame()).await.map_err(|error| error.to_string())?;
        sender.finish_and_wait().await.map_err(|error| error.to_string())
    }

    /// A file that a peer begins to send.
    pub(super) fn receive(&self, from: u64) -> Result<Receiving, String> {
        std::fs::create_dir_all(&self.0.folder).map_err(|error| error.to_string())?;
        let path = self.0.folder.join(format!("from-{from}.partial"));
        let file = File::create(&path).map_err(|error| error.to_string())?;
        Ok(Receiving { files: self.clone(), path, out: BufWriter::new(file) })
    }

    /// Reads the rows of a received snapshot, on a thread of its own.
    pub(crate) fn load(&self, job: InstallJob) {
        let (files, path) = (self.clone(), self.path("in", job.meta.index, job.meta.term));
        self.run("install", move || match snapshot::read(&path) {
            Ok((_, rows)) => {
                files.remove("in-");
                SnapshotEvent::Read { job, rows }
            }
            Err(error) => SnapshotEvent::ReadFailed(trimaran_model::text::with_sources(&error)),
        });
    }

    fn run(&self, name: &str, work: impl FnOnce() -> SnapshotEvent + Send + 'static) {
        let parts = self.0.clone();
        let thread = move || (parts.report)(work());
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(thread);
        if let Err(error) = spawned {
            tracing::error!(%error, "a thread could not be started");
        }
    }

    fn remove(&self, prefix: &str) {
        let entries = std::fs::read_dir(&self.0.folder).into_iter().flatten().flatten();
        for entry in entries.filter(|it| it.file_name().to_str().is_some_and(|it| it.starts_with(prefix))) {
            // One that stays is removed at the next start.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A file on its way here.
pub(super) struct Receiving {
    files: SnapshotFiles,
    path: PathBuf,
    out: BufWriter<File>,
}

impl Receiving {
    pub(super) fn write(&mut self, frame: &Frame) -> Result<(), String> {
        self.out.write_all(&frame.encode()).map_err(|error| error.to_string())
    }

    /// Syncs and checks the file, which is of this place in the log, and keeps it for its installation.
    pub(super) fn finish(self, meta: &SnapshotMeta) -> Result<(), String> {
        let Self { files, path, out } = self;
        let file = out.into_inner().map_err(|error| error.to_string())?;
        file.sync_all().map_err(|error| error.to_string())?;
        let read = snapshot::read(&path).map_err(|error| trimaran_model::text::with_sources(&error));
        let (header, _) = read?;
        if header.cluster_id != files.0.store.identity().cluster_id || header.meta != *meta {
            return Err("the snapshot is not the one that was announced".to_owned());
        }
        keep(&path, &files.path("in", meta.index, meta.term))
    }
}

fn keep(partial: &Path, path: &Path) -> Result<(), String> {
    std::fs::rename(partial, path).map_err(|error| error.to_string())
}
