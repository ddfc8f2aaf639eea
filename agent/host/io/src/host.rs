//! One host: its data directory, the workers of its installations, and what others may ask of it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trimaran_host_core::host::{EpochRefusal, Journal, SeenCluster};
use trimaran_model::assignment::{HostGoal, HostReport, HostState};
use trimaran_model::id::{AssignmentId, Fence, InstallationId};
use trimaran_model::limits;
use trimaran_model::reason::ReasonCode;
use trimaran_model::text::{cut, with_sources};
use trimaran_wire::v1::runner::LogQuery;

use crate::filesystem::{FileSystem as _, OsFileSystem};
use crate::host_identity::{HostIdentity, HostSettings};
use crate::lock::{DirectoryLock, LockError};
use crate::logs;
use crate::platform::Platform;
use crate::reports::Reports;
use crate::seen_cluster;
use crate::shared::Shared;
use crate::shim::{self, Controllers};
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
    /// Installations whose files can't be used, and why. They have no worker, and nothing of them is touched.
    broken: BTreeMap<InstallationId, String>,
    /// The latest state of the cluster that was seen, as the disk has it; read when it is asked for first, so that services
    /// run whatever is there.
    cluster: Mutex<Option<SeenCluster>>,
    forward: parking_lot::Mutex<Option<JoinHandle<()>>>,
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
        let (lock, found) = blocking(move || lock(&dir, &identity)).await?;
        let controllers = blocking(|| Ok::<_, OpenError>(shim::prepare_groups(shim::is_shim))).await?;
        let reports = Arc::new(Reports::default());
        let shared = Arc::new(Shared {
            name: settings.name,
            data_dir: data_dir.clone(),
            secrets: settings.secrets,
            controllers,
            address: RwLock::new(settings.address),
            binary: settings.binary,
            cache: data_dir.join("cache"),
            slot: Arc::new(Semaphore::new(1)),
        });
        let (mut resumed, mut broken) = (Vec::new(), BTreeMap::new());
        for installation in found {
            match load(&data_dir, &shared, &installation).await {
                Ok(found) => resumed.extend(found),
                Err(error) => {
                    let why = with_sources(&error);
                    tracing::error!(%installation, "nothing is done for this installation: {why}");
                    reports.set(broken_report(&installation, &why));
                    broken.insert(installation, why);
                }
            }
        }
        let inner = Arc::new(Inner {
            shared,
            data_dir,
            reports,
            workers: Mutex::default(),
            broken,
            cluster: Mutex::default(),
            forward: parking_lot::Mutex::default(),
            stop: CancellationToken::new(),
            _lock: lock,
        });
        let host = Self { inner };
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
        *host.inner.forward.lock() = Some(task);
        Ok((host, receiver))
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

    /// An agent says of which cluster it is. Durable when it returns; an error says why its orders will be refused.
    pub async fn greet(&self, agent: SeenCluster) -> Result<(), GoalRefused> {
        self.note_cluster(|seen| seen.greet(agent)).await
    }

    /// Takes an order that `agent` gives, as [`Host::accept_goal`] does, unless it is of another state of the cluster than the
    /// latest that was seen here.
    pub async fn accept_order(&self, agent: SeenCluster, goal: HostGoal) -> Result<(), GoalRefused> {
        self.note_cluster(|seen| seen.admit(agent, goal.fence)).await?;
        self.accept_goal(goal).await
    }

    /// Writes down what was seen, where that is something else than before.
    async fn note_cluster(
        &self,
        judge: impl FnOnce(SeenCluster) -> Result<SeenCluster, EpochRefusal>,
    ) -> Result<(), GoalRefused> {
        let mut known = self.inner.cluster.lock().await;
        let seen = match *known {
            Some(seen) => seen,
            None => {
                let dir = self.inner.data_dir.clone();
                let loaded = tokio::task::spawn_blocking(move || seen_cluster::load(&dir)).await;
                let unreadable = |source| GoalRefused::Cluster { source };
                *known.insert(loaded.map_err(io::Error::other).flatten().map_err(unreadable)?)
            }
        };
        let now = judge(seen)?;
        if now != seen {
            let dir = self.inner.data_dir.clone();
            let saved = tokio::task::spawn_blocking(move || seen_cluster::save(&dir, now)).await;
            saved.map_err(io::Error::other).flatten().map_err(|source| GoalRefused::Persist { source })?;
            *known = Some(now);
        }
        Ok(())
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
        if let Some(why) = self.inner.broken.get(&goal.installation) {
            return Err(GoalRefused::Broken { why: why.clone() });
        }
        let store = store_of(&self.inner.data_dir, &goal.installation);
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

    /// Ends a service and starts it again, apart from any goal. Returns false when it is not on this host, or nothing of
    /// it should run. What becomes of it is reported.
    pub async fn restart(&self, installation: &InstallationId) -> bool {
        let Some(commands) = self.inner.workers.lock().await.get(installation).map(|it| it.commands.clone())
        else {
            return false;
        };
        send(&commands, |answer| Command::Restart { answer }).await.unwrap_or(false)
    }

    /// What groups of services can bound here.
    pub fn controllers(&self) -> Controllers {
        self.inner.shared.controllers
    }

    /// Whether processes without a `user` run as root here.
    pub fn is_root(&self) -> bool {
        crate::provision::is_root()
    }

    /// The host's own address, where its services are probed.
    pub fn address(&self) -> IpAddr {
        self.inner.shared.address()
    }

    /// The host's own address is another one from now on. What was started before keeps the old one in its
    /// environment.
    pub async fn set_address(&self, address: IpAddr) -> io::Result<()> {
        *self.inner.shared.address.write() = address;
        let identity = HostIdentity { name: self.inner.shared.name.clone(), address };
        let data_dir = self.inner.data_dir.clone();
        let saved = tokio::task::spawn_blocking(move || identity.save(&data_dir)).await;
        saved.map_err(io::Error::other)?
    }

    /// Why nothing is done for an installation whose files can't be used.
    pub fn broken(&self, installation: &InstallationId) -> Option<&str> {
        self.inner.broken.get(installation).map(String::as_str)
    }

    /// The report of an installation whose files can't be used.
    pub fn broken_report(&self, installation: &InstallationId) -> Option<HostReport> {
        self.broken(installation).map(|why| broken_report(installation, why))
    }

    /// The installations of this host, those that are broken among them.
    pub async fn installations(&self) -> Vec<InstallationId> {
        let workers = self.inner.workers.lock().await;
        workers.keys().chain(self.inner.broken.keys()).cloned().collect()
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
        if let Some(task) = self.inner.forward.lock().take() {
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

/// An installation that was found on the disk, if there is anything of it.
async fn load(
    data_dir: &Path,
    shared: &Arc<Shared>,
    installation: &InstallationId,
) -> Result<Option<Found>, OpenError> {
    let store = store_of(data_dir, installation);
    let path = store.dir().to_owned();
    let platform = Arc::new(Platform::new(Arc::clone(shared), store));
    let on_disk = platform.store.clone();
    let directory = move |source| OpenError::Directory { path, source };
    let loaded = blocking(move || on_disk.create().map(|()| on_disk.load()).map_err(directory));
    // A disk that does not answer holds no other installation up.
    let loaded = tokio::time::timeout(limits::HOST_CALL.to_std(), loaded).await;
    let silent = |_| OpenError::Inspect {
        path: platform.store.dir().to_owned(),
        why: format!("its disk does not answer within {}", limits::HOST_CALL),
    };
    let (journal, next) = match loaded.map_err(silent)??? {
        Loaded::Journal(journal, next) => (journal, next),
        Loaded::Damaged | Loaded::Nothing => {
            let observe = |why: trimaran_host_core::host::HostFailure| OpenError::Inspect {
                path: platform.store.dir().to_owned(),
                why: why.message,
            };
            let observation = platform.observe().await.map_err(observe)?;
            tracing::warn!(%installation, "the journal can't be read; it is made again from what is there");
            match Journal::from_observation(installation, &observation) {
                Some(journal) => (journal, None),
                None => return Ok(None),
            }
        }
    };
    Ok(Some(Found { installation: installation.clone(), platform, journal, next }))
}

/// The report of an installation of which nothing but its name is known.
pub(crate) fn broken_report(installation: &InstallationId, why: &str) -> HostReport {
    HostReport {
        installation: installation.clone(),
        fence: Fence(0),
        assignment: AssignmentId(0),
        disruptive: false,
        state: HostState::Broken,
        current: None,
        prepared: None,
        code: Some(ReasonCode::HostInternal),
        message: cut(why.to_owned(), limits::MESSAGE_BYTES_MAX),
        restarting: false,
    }
}

/// The files of an installation below a data directory.
pub(crate) fn store_of(data_dir: &Path, installation: &InstallationId) -> Store<OsFileSystem> {
    let dir = data_dir.join("services").join(store::directory_name(installation));
    Store::new(OsFileSystem, dir, data_dir.join("reserve"))
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
fn lock(data_dir: &Path, identity: &HostIdentity) -> Result<(DirectoryLock, Vec<InstallationId>), OpenError> {
    let lock = DirectoryLock::acquire(data_dir)?;
    prepare(data_dir)
        .and_then(|()| identity.save(data_dir))
        .map_err(|source| OpenError::Directory { path: data_dir.to_owned(), source })?;
    Ok((lock, installations(data_dir)?))
}

/// Directories, and the reserve where the disk has space for it.
fn prepare(data_dir: &Path) -> io::Result<()> {
    close_to_others(data_dir)?;
    OsFileSystem.create_dir_all(&data_dir.join("services"))?;
    OsFileSystem.sync_dir(data_dir)?;
    if let Some(parent) = data_dir.parent() {
        OsFileSystem.sync_dir(parent)?;
    }
    let cache = data_dir.join("cache");
    OsFileSystem.create_dir_all(&cache)?;
    for closed in [cache.as_path(), &data_dir.join("identity")] {
        close_entirely(closed)?;
    }
    crate::fetch::clean(&cache)?;
    let reserve = data_dir.join("reserve");
    if !reserve.exists() && std::fs::write(&reserve, vec![0; limits::HOST_RESERVE_BYTES]).is_err() {
        // A disk this full has no space to reserve; half a reserve would only be in the way.
        let _ = std::fs::remove_file(&reserve);
    }
    Ok(())
}

/// What is below has values of services: other users have no business there, whoever made the directory.
fn close_to_others(data_dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    // Passing through, without seeing what is there, is for services that run as another user.
    const OTHERS: u32 = 0o026;
    let mode = std::fs::metadata(data_dir)?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    tracing::warn!(
        "{} was open to other users (mode {:o}); it is closed to them",
        data_dir.display(),
        mode & 0o7777
    );
    std::fs::set_permissions(data_dir, std::fs::Permissions::from_mode(mode & 0o7777 & !OTHERS)).map_err(
        |error| {
            let message =
                format!("{} is open to other users and can't be closed: {error}", data_dir.display());
            io::Error::new(error.kind(), message)
        },
    )
}

/// Artifacts and keys are no one else's, whatever mode the directory had; one that is not there is made closed.
fn close_entirely(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    match std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
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
