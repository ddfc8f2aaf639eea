//! The durable store of an agent: a directory of files that are named by their digests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use trimaran_model::id::Digest;
use trimaran_model::limits::{
    ARTIFACTS_CHECK_INTERVAL, ARTIFACTS_GRACE, ARTIFACTS_RETRY_DELAY, CONTENT_BYTES_MAX, CONTENT_FETCH,
    FETCH_TRIES_MAX, HOST_FETCH,
};
use trimaran_model::release::{Artifact, Content, Release, ReleaseWorkload};
use trimaran_wire::codec::Message as _;
use trimaran_wire::frame::Frame;
use trimaran_wire::v1::agent::{ContentPiece, ContentQuery};
use trimaran_wire::v1::release::WireRelease;

use crate::coordinators::{AskError, Coordinators};
use crate::fetch::part::{Part, blocking, find};
use crate::fetch::source::source_name;
use crate::fetch::{FetchError, fetch};

/// Parts of an answer between the session and the disk.
const PARTS_QUEUED: usize = 2;
/// The first wait between two tries; it doubles.
const BACKOFF: Duration = Duration::from_millis(200);

/// The releases that goals and rollbacks need.
pub type Needed = BTreeSet<Digest>;

/// Releases, what they name, and artifacts, by digest. Cheap to clone.
#[derive(Clone)]
pub struct Artifacts(Arc<Inner>);

/// An artifact that is in the store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub file: PathBuf,
    /// From where it was fetched just now; `None`: it was there.
    pub fetched_from: Option<String>,
}

struct Inner {
    directory: PathBuf,
    coordinators: Box<dyn Coordinators>,
}

impl Artifacts {
    /// A store in a directory, which is made when something comes.
    pub fn new(directory: PathBuf, coordinators: impl Coordinators) -> Self {
        Self(Arc::new(Inner { directory, coordinators: Box::new(coordinators) }))
    }

    /// The file of an artifact: from the store, or from its place.
    ///
    /// # Errors
    /// When it does not come within `limits::HOST_FETCH`, is another than planned, or does not fit the disk.
    pub async fn artifact(&self, artifact: &Artifact) -> Result<Stored, FetchError> {
        if let Some(file) = find(&self.0.directory, artifact.sha256).await? {
            return Ok(Stored { file, fetched_from: None });
        }
        let file = fetch(artifact, &self.0.directory, HOST_FETCH.to_std()).await?;
        Ok(Stored { file, fetched_from: Some(source_name(&artifact.location)) })
    }

    /// A release of one of this agent's targets: from the store, or from the coordinators.
    ///
    /// # Errors
    /// When it does not come within `limits::CONTENT_FETCH`, is not known to the coordinators, or does not fit the disk.
    pub async fn release(&self, digest: Digest) -> Result<Arc<Release>, FetchError> {
        let from = format!("release {}", digest.short());
        let query = |_| ContentQuery { release: digest.0, what: ContentPiece::Release };
        let file = self.verified_file(&from, digest, None, query).await?;
        let bytes = read(file).await?;
        let frame = Frame { kind: WireRelease::KIND, version: WireRelease::VERSION, body: bytes };
        let unreadable = |detail: String| FetchError::Missing { from: from.clone(), detail };
        let wire = WireRelease::from_frame(&frame).map_err(|error| unreadable(error.to_string()))?;
        let release = Release::try_from(wire).map_err(|error| unreadable(error.to_string()))?;
        Ok(Arc::new(release))
    }

    /// What a release names by digest, such as a set of manifests: from the store, or from the coordinators.
    ///
    /// # Errors
    /// As [`Artifacts::release`].
    pub async fn content(&self, release: Digest, content: &Content) -> Result<Vec<u8>, FetchError> {
        read(self.content_file(release, content).await?).await
    }

    async fn content_file(&self, release: Digest, content: &Content) -> Result<PathBuf, FetchError> {
        let from = format!("content {} of release {}", content.digest.short(), release.short());
        let query = |from| ContentQuery { release: release.0, what: ContentPiece::Content { from } };
        self.verified_file(&from, content.digest, Some(content.bytes), query).await
    }

    /// The file of this digest, fetched when it is not there. `query` asks from a part on.
    async fn verified_file(
        &self,
        from: &str,
        digest: Digest,
        bytes: Option<u64>,
        query: impl Fn(u32) -> ContentQuery,
    ) -> Result<PathBuf, FetchError> {
        let fetching = async {
            if let Some(file) = find(&self.0.directory, digest).await? {
                return Ok(file);
            }
            let mut answer = Answer::begin(&self.0.directory, from, bytes).await?;
            let mut wait = BACKOFF;
            for _ in 1..FETCH_TRIES_MAX {
                match self.ask(&mut answer, &query).await? {
                    Asked::Whole => return answer.finish(digest).await,
                    Asked::BrokenOff => tokio::time::sleep(wait).await,
                }
                wait *= 2;
            }
            match self.ask(&mut answer, &query).await? {
                Asked::Whole => answer.finish(digest).await,
                Asked::BrokenOff => Err(answer.unreachable()),
            }
        };
        match tokio::time::timeout(CONTENT_FETCH.to_std(), fetching).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Timeout {
                from: from.to_owned(),
                limit_ms: u128::from(CONTENT_FETCH.0),
                detail: "the coordinators did not answer".to_owned(),
            }),
        }
    }

    /// Takes what comes of one answer, behind what came of earlier ones.
    async fn ask(
        &self,
        answer: &mut Answer,
        query: impl Fn(u32) -> ContentQuery,
    ) -> Result<Asked, FetchError> {
        let query = query(answer.parts);
        // A release is small and always comes whole.
        if query.what == ContentPiece::Release {
            answer.restart().await?;
        }
        let (parts_to, mut parts) = mpsc::channel(PARTS_QUEUED);
        let mut asking = self.0.coordinators.ask(query, parts_to);
        let mut ended = None;
        loop {
            tokio::select! {
                // What was sent before the end comes before it.
                biased;
                part = parts.recv() => match part {
                    Some(part) => answer.add(part).await?,
                    None => break,
                },
                outcome = &mut asking, if ended.is_none() => ended = Some(outcome),
            }
        }
        let ended = match ended {
            Some(ended) => ended,
            None => asking.await,
        };
        match ended {
            Ok(()) => Ok(Asked::Whole),
            Err(AskError::Unreachable(why)) => {
                answer.last = why;
                Ok(Asked::BrokenOff)
            }
            Err(AskError::Refused(detail)) => Err(FetchError::Missing { from: answer.from.clone(), detail }),
        }
    }

    /// Keeps what these releases need, and nothing else: what is missing is fetched, at each change and once a day, and
    /// what none of them needs any more is removed. Until it is dropped.
    pub async fn keep(self, mut needed: watch::Receiver<Needed>) {
        loop {
            let releases = needed.borrow_and_update().clone();
            let complete = self.keep_now(&releases).await;
            let again = if complete { ARTIFACTS_CHECK_INTERVAL } else { ARTIFACTS_RETRY_DELAY };
            match tokio::time::timeout(again.to_std(), needed.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                // Whoever says what is needed has gone.
                Ok(Err(_)) => return,
            }
        }
    }

    /// Fetches what is missing of these releases and removes what none of them needs; whether all of it is here.
    async fn keep_now(&self, releases: &Needed) -> bool {
        let (mut complete, mut files) = (true, Needed::new());
        for digest in releases {
            files.insert(*digest);
            match self.release(*digest).await {
                Ok(release) => complete &= self.keep_release(*digest, &release, &mut files).await,
                Err(error) => {
                    tracing::warn!(%error, "a release that may be needed is not here");
                    complete = false;
                }
            }
        }
        // What can't be read of a release may name anything.
        if complete && let Err(error) = remove_others(&self.0.directory, files).await {
            tracing::warn!(%error, "what no release needs any more could not be removed");
        }
        complete
    }

    async fn keep_release(&self, digest: Digest, release: &Release, files: &mut Needed) -> bool {
        let mut complete = true;
        if let Some(content) = release.workload.content() {
            files.insert(content.digest);
            if let Err(error) = self.content_file(digest, &content).await {
                tracing::warn!(%error, "what a release needs is not here");
                complete = false;
            }
        }
        // Images are in registries, and bundles on the hosts.
        if let ReleaseWorkload::Flink(flink) = &release.workload {
            files.insert(flink.jar.sha256);
            if let Err(error) = self.artifact(&flink.jar).await {
                tracing::warn!(%error, "what a release needs is not here");
                complete = false;
            }
        }
        complete
    }
}

enum Asked {
    Whole,
    BrokenOff,
}

/// What came so far.
struct Answer {
    from: String,
    directory: PathBuf,
    bytes: Option<u64>,
    /// Always there but while a thread writes to it.
    file: Option<Part>,
    written: u64,
    parts: u32,
    /// Why the last answer broke off.
    last: String,
}

impl Answer {
    async fn begin(directory: &Path, from: &str, bytes: Option<u64>) -> Result<Self, FetchError> {
        let mut answer = Self {
            from: from.to_owned(),
            directory: directory.to_owned(),
            bytes,
            file: None,
            written: 0,
            parts: 0,
            last: "the coordinators did not answer".to_owned(),
        };
        answer.restart().await?;
        Ok(answer)
    }

    async fn restart(&mut self) -> Result<(), FetchError> {
        let (directory, from, bytes) = (self.directory.clone(), self.from.clone(), self.bytes);
        self.file = Some(blocking(move || Part::create(&directory, &from, bytes)).await?);
        (self.written, self.parts) = (0, 0);
        Ok(())
    }

    async fn add(&mut self, bytes: Vec<u8>) -> Result<(), FetchError> {
        self.written += bytes.len() as u64;
        self.parts += 1;
        if self.written > self.bytes.unwrap_or(CONTENT_BYTES_MAX) {
            let max = self.bytes.unwrap_or(CONTENT_BYTES_MAX);
            return Err(FetchError::TooLarge { from: self.from.clone(), length: None, max });
        }
        let mut file = self.file.take().expect("no other thread writes");
        self.file = Some(blocking(move || file.write(&bytes).map(|()| file)).await?);
        Ok(())
    }

    async fn finish(mut self, digest: Digest) -> Result<PathBuf, FetchError> {
        let file = self.file.take().expect("no other thread writes");
        blocking(move || file.finish(digest)).await
    }

    fn unreachable(&self) -> FetchError {
        FetchError::Unreachable { from: self.from.clone(), detail: self.last.clone() }
    }
}

async fn read(file: PathBuf) -> Result<Vec<u8>, FetchError> {
    blocking(move || std::fs::read(&file).map_err(|error| FetchError::io("read", &file, error))).await
}

/// Removes files by digest that are not among these and were not written just now: what is fetched for a new order is
/// needed before this store hears of it.
async fn remove_others(directory: &Path, kept: Needed) -> Result<(), FetchError> {
    let directory = directory.to_owned();
    blocking(move || {
        let failed = |error| FetchError::io("list", &directory, error);
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Ok(digest) = name.to_string_lossy().parse::<Digest>() else { continue };
            if kept.contains(&digest) || is_new(&entry) {
                continue;
            }
            std::fs::remove_file(entry.path())
                .map_err(|error| FetchError::io("remove", &entry.path(), error))?;
        }
        Ok(())
    })
    .await
}

/// A clock that was set back makes a file new: it is removed later.
fn is_new(entry: &std::fs::DirEntry) -> bool {
    let written = entry.metadata().and_then(|metadata| metadata.modified());
    let age = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
    age.is_none_or(|age| age < ARTIFACTS_GRACE.to_std())
}
