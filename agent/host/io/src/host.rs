//! One host: its data directory, the workers of its installations, and what others may ask of it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trimaran_host_core::host::Journal;
use trimaran_model::assignment::{HostGoal, HostReport};
use trimaran_model::id::InstallationId;
use trimaran_model::limits;
use trimaran_wire::v1::runner::LogQuery;

use crate::filesystem::OsFileSystem;
use crate::host_identity::{HostIdentity, HostSettings};
use crate::lock::{DirectoryLock, LockError};
use crate::logs;
use crate::platform::{Platform, Shared};
use crate::reports::Reports;
use crate::store::{self, LoadError, Loaded, Store};
use crate::worker::{self, Claim, Command, Commands, GoalRefused, InstallationView};

/// Why a host could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("can't use {path}")]
    Directory { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("can't see what is deployed in {path}: {why}")]
    Inspect { path: PathBuf, why: String },
}

/// A host that is open. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    data_dir: PathBuf,
    shared: Arc<Shared>,
    reports: Arc<Reports>,
    workers: Mutex<BTreeMap<InstallationId, Running>>,
    forward: std::sync::Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
    _lock: DirectoryLock,
}

/// What an earlier process left of an installation.
struct Found {
    installation: InstallationId,
    platform: Arc<Platform>,
    journal: Journal,
    next: Option<HostGoal>,
}

struct Running {
    commands: Commands,
    task: JoinHandle<()>,
}

impl Host {
    /// Takes the lock of the directory, re-attaches to what runs, and continues what was begun. Every change
    /// is reported by the receiver; of one installation the latest may replace earlier ones.
    pub async fn open(settings: HostSettings) -> Result<(Self, mpsc::Receiver<HostReport>), OpenError> {
        let data_dir = settings.data_dir.clone();
        let (dir, identity) = (data_dir.clone(), HostIdentity::of(&settings));
        let (lock, found) = blocking(move || take(&dir, &identity)).await?;
        let reports = Arc::new(Reports::default());
        let inner = Arc::new(Inner {
            shared: Arc::new(Shared {
                name: settings.name,
                address: settings.address,
                binary: settings.binary,
                cache: data_dir.join("cache"),
                slot: Arc::new(Semaphore::new(1)),
            }),
            data_dir,
            reports,
            workers: Mutex::default(),
            forward: std::sync::Mutex::default(),
            stop: CancellationToken::new(),
            _lock: lock,
        });
        let host = Self { inner };
        let mut resumed = Vec::new();
        for installation in found {
            resumed.extend(host.load(installation).await?);
        }
        // What is in the middle of a change is served before all that would begin one.
        for found in resumed.iter().filter(|found| found.journal.step.is_disruptive()) {
            found.platform.reclaim_slot().await;
        }
        for found in resumed {
            let Found { installation, platform, journal, next } = found;
            host.spawn(&mut *host.inner.workers.lock().await, installation, platform, journal, next);
        }
        // Whoever asks next must not take what was not inspected yet for what is not there.
        let running = host.installations().await;
        if tokio::time::timeout(limits::HOST_INSPECT_TIMEOUT.to_std(), host.inner.reports.all_of(&running))
            .await
            .is_err()
        {
            tracing::warn!("not everything on this host could be inspected");
        }
        let (sender, receiver) = Reports::channel();
        let reports = Arc::clone(&host.inner.reports);
        let task = tokio::spawn(async move { reports.forward(sender).await });
        *host.inner.forward.lock().expect("no thread panics with the lock") = Some(task);
        Ok((host, receiver))
    }

    /// An installation that was found on the disk, if there is anything of it.
    async fn load(&self, installation: InstallationId) -> Result<Option<Found>, OpenError> {
        let store = self.inner.store(&installation);
        let path = store.dir().to_owned();
        let platform = Arc::new(Platform::new(Arc::clone(&self.inner.shared), store));
        let on_disk = platform.store.clone();
        let (journal, next) = match blocking(move || on_disk.load()).await? {
            Loaded::Journal(journal, next) => (journal, next),
            Loaded::Damaged | Loaded::Nothing => {
                let observe = |why: trimaran_host_core::host::HostFailure| OpenError::Inspect {
                    path: path.clone(),
                    why: why.message,
                };
                let observation = platform.observe().await.map_err(observe)?;
                tracing::warn!(%installation, "the journal can't be read; it is made again from what is there");
                match Journal::from_observation(&installation, &observation) {
                    Some(journal) => (journal, None),
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(Found { installation, platform, journal, next }))
    }

    fn spawn(
        &self,
        workers: &mut BTreeMap<InstallationId, Running>,
        installation: InstallationId,
        platform: Arc<Platform>,
        journal: Journal,
        next: Option<HostGoal>,
    ) {
        let reports = Arc::clone(&self.inner.reports);
        let (commands, task) = worker::spawn(platform, journal, next, reports, self.inner.stop.clone());
        workers.insert(installation, Running { commands, task });
    }

    /// The latest report of each installation.
    pub fn reports(&self) -> Vec<HostReport> {
        self.inner.reports.all()
    }

    /// Takes a goal when its fence is larger than what was seen for the installation. Durable when it returns;
    /// what becomes of it is reported.
    pub async fn accept_goal(&self, goal: HostGoal) -> Result<(), GoalRefused> {
        let commands = match self.commands(&goal).await? {
            Some(commands) => commands,
            None => return Ok(()),
        };
        let claim = Claim::default();
        let asked = claim.clone();
        let mut taken = pin!(send(&commands, |answer| Command::AcceptGoal {
            goal: Box::new(goal),
            claim: asked,
            answer
        }));
        match tokio::time::timeout(limits::HOST_GOAL_TIMEOUT.to_std(), &mut taken).await {
            Ok(answer) => answer?,
            Err(_) if claim.claim() => Err(GoalRefused::Busy),
            // It is being taken, which is bounded too.
            Err(_) => taken.await?,
        }
    }

    /// Takes a goal of a human on this machine: the fence stays as it is, so that any order of the cluster
    /// that comes later wins. Returns the goal as it was taken.
    pub async fn accept_manual_goal(&self, goal: HostGoal) -> Result<HostGoal, GoalRefused> {
        let commands = match self.commands(&goal).await? {
            Some(commands) => commands,
            None => return Ok(goal),
        };
        send(&commands, |answer| Command::AcceptManualGoal { goal: Box::new(goal), answer }).await?
    }

    /// The worker of a goal's installation; `None` when it was made with this goal just now.
    async fn commands(&self, goal: &HostGoal) -> Result<Option<Commands>, GoalRefused> {
        let mut workers = self.inner.workers.lock().await;
        if let Some(running) = workers.get(&goal.installation) {
            return Ok(Some(running.commands.clone()));
        }
        if workers.len() >= limits::HOST_INSTALLATIONS_MAX {
            return Err(GoalRefused::TooMany);
        }
        if self.inner.stop.is_cancelled() {
            return Err(GoalRefused::Closed);
        }
        let store = self.inner.store(&goal.installation);
        let platform = Arc::new(Platform::new(Arc::clone(&self.inner.shared), store));
        let journal = Journal::new(goal.clone());
        let (store, wire) = (platform.store.clone(), journal.to_wire(None));
        let saved =
            tokio::task::spawn_blocking(move || store.create().and_then(|()| store.save(&wire))).await;
        saved.map_err(io::Error::other).flatten().map_err(|source| GoalRefused::Persist { source })?;
        self.spawn(&mut workers, goal.installation.clone(), platform, journal, None);
        Ok(None)
    }

    /// One installation as it is now; `None` when it is not on this host.
    pub async fn show(&self, installation: &InstallationId) -> Option<InstallationView> {
        let commands = self.inner.workers.lock().await.get(installation)?.commands.clone();
        send(&commands, |answer| Command::Show { answer }).await.ok()
    }

    /// The installations that have a worker.
    pub async fn installations(&self) -> Vec<InstallationId> {
        self.inner.workers.lock().await.keys().cloned().collect()
    }

    /// Lines of a service's output.
    pub fn logs(&self, query: &LogQuery) -> logs::Reader {
        // What is no name of an installation is the name of no directory either.
        let named = store::installation_of(&format!("{}@{}", query.pipeline, query.target));
        let directory = named.map_or_else(|| "none".to_owned(), |id| store::directory_name(&id));
        logs::open(&self.inner.data_dir.join("services").join(directory).join("log"), query)
    }

    /// Ends the workers and releases the directory. Services are left running.
    pub async fn close(self) {
        self.inner.stop.cancel();
        let workers = std::mem::take(&mut *self.inner.workers.lock().await);
        for (_, running) in workers {
            // A worker that panicked has ended too.
            let _ = running.task.await;
        }
        if let Some(task) = self.inner.forward.lock().expect("no thread panics with the lock").take() {
            task.abort();
        }
    }
}

impl Drop for Inner {
    /// A host without a handle works no further, also when it was not closed.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Inner {
    fn store(&self, installation: &InstallationId) -> Store<OsFileSystem> {
        let dir = self.data_dir.join("services").join(store::directory_name(installation));
        Store::new(OsFileSystem, dir, self.data_dir.join("reserve"))
    }
}

async fn send<T>(
    commands: &Commands,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, GoalRefused> {
    let (sender, receiver) = oneshot::channel();
    commands.send(command(sender)).await.map_err(|_| GoalRefused::Closed)?;
    receiver.await.map_err(|_| GoalRefused::Closed)
}

/// Runs what waits for a disk where nothing else waits behind it.
async fn blocking<T: Send + 'static, E: Into<OpenError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, OpenError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        // It is never cancelled: whoever could do that would have dropped this wait too.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Locks and prepares a directory, and lists what is deployed there.
fn take(data_dir: &Path, identity: &HostIdentity) -> Result<(DirectoryLock, Vec<InstallationId>), OpenError> {
    let lock = DirectoryLock::take(data_dir)?;
    prepare(data_dir)
        .and_then(|()| identity.save(data_dir))
        .map_err(|source| OpenError::Directory { path: data_dir.to_owned(), source })?;
    Ok((lock, installations(data_dir)?))
}

/// Directories, and the reserve where the disk has space for it.
fn prepare(data_dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(data_dir.join("services"))?;
    crate::disk::sync_directory(data_dir)?;
    if let Some(parent) = data_dir.parent() {
        crate::disk::sync_directory(parent)?;
    }
    let cache = data_dir.join("cache");
    std::fs::create_dir_all(&cache)?;
    crate::fetch::clean(&cache)?;
    let reserve = data_dir.join("reserve");
    if !reserve.exists() && std::fs::write(&reserve, vec![0; limits::HOST_RESERVE_BYTES]).is_err() {
        // A disk this full has no space to reserve; half a reserve would only be in the way.
        let _ = std::fs::remove_file(&reserve);
    }
    Ok(())
}

/// Where the output of an installation's service is: files of lines, the newest of which is returned too.
pub fn output_files(data_dir: &Path, installation: &InstallationId) -> (PathBuf, Option<PathBuf>) {
    let dir = data_dir.join("services").join(store::directory_name(installation)).join("log");
    let newest = logs::newest(&dir);
    (dir, newest)
}

/// The installations of a data directory, in order of name.
pub fn installations(data_dir: &Path) -> Result<Vec<InstallationId>, OpenError> {
    let path = data_dir.join("services");
    let failed = |source| OpenError::Directory { path: path.clone(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        found.extend(name.to_str().and_then(store::installation_of));
    }
    found.sort_unstable();
    Ok(found)
}
