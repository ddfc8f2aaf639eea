//! Executes the calls of one installation's machine: the real host behind the machine's questions.
//!
//! Everything that can block runs on the blocking pool. Nothing here decides; a failure is a code and words.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use trimaran_host_core::host::{
    CacheRetention, Call, Exit, HostFailure, Launch, Observation, ProcessObservation, ProcessStatus, Query,
    Reply, Snapshot, StoredRelease, host_release,
};
use trimaran_model::id::{Digest, HostName};
use trimaran_model::limits;
use trimaran_model::pipeline::{HealthCheck, Stop};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, Release};
use trimaran_model::time::Timestamp;
use trimaran_process::clock;

use crate::answers::Answers;
use crate::archive::{self, ArchiveLimits};
use crate::environment::base_environment;
use crate::filesystem::OsFileSystem;
use crate::host_identity::boot_id;
use crate::shim::{self, Attached, ShimSpec};
use crate::store::Store;
use crate::{executable, fetch, ports, probe};

/// What the installations of a host share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: HostName,
    pub(crate) address: IpAddr,
    pub(crate) binary: PathBuf,
    pub(crate) cache: PathBuf,
    /// One permit: the disruptive step of a host.
    pub(crate) slot: Arc<Semaphore>,
}

/// The host as one installation sees it.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store<OsFileSystem>,
    slot: Mutex<Option<OwnedSemaphorePermit>>,
    /// Held while releases and `current` are changed: a change that hung never overtakes a later one.
    changing: Arc<std::sync::Mutex<()>>,
    answers: Answers,
}

type Failed = HostFailure;

fn internal(what: &str, error: impl std::fmt::Display) -> Failed {
    HostFailure::new(ReasonCode::HostInternal, format!("{what}: {error}"))
}

/// A full disk is distinguished, because it is answered by freeing space.
fn disk_failure(what: &str, error: &io::Error) -> Failed {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let code = if full { ReasonCode::PreflightDisk } else { ReasonCode::HostInternal };
    HostFailure::new(code, format!("{what}: {error}"))
}

impl Platform {
    pub(crate) fn new(shared: Arc<Shared>, store: Store<OsFileSystem>) -> Self {
        Self { shared, store, slot: Mutex::new(None), changing: Arc::default(), answers: Answers::default() }
    }

    pub(crate) async fn call(&self, call: Call) -> Reply {
        let result = match call {
            Call::Inspect => return self.observe().await.map_or_else(Reply::Failed, Reply::Observation),
            Call::CheckPort { health } => self.check_port(&health).await,
            Call::Fetch { artifact } => self.fetch(&artifact).await,
            Call::Unpack(stored) => return self.unpack(stored).await,
            Call::AcquireSlot => self.acquire_slot().await,
            Call::ReleaseSlot => {
                self.release_slot().await;
                Ok(())
            }
            Call::Stop { stop, except } => self.stop(&stop, except).await,
            Call::Switch { to } => self.switch(to).await,
            Call::Start { launch, release } => {
                return self.start(&launch, &release).await.map_or_else(Reply::Failed, Reply::Started);
            }
            Call::Probe { launch, health } => return self.probe(launch, &health).await,
            Call::CollectGarbage { releases, launch, keep } => {
                self.collect_garbage(releases, launch, keep).await;
                Ok(())
            }
        };
        result.map_or_else(Reply::Failed, |()| Reply::Done)
    }

    /// Waits for the end of a launch.
    pub(crate) async fn watch(&self, query: Query) -> Snapshot {
        let exit = match self.run_dirs().await.get(&query.launch) {
            Some((dir, _)) => match shim::attach(dir).await {
                Ok(Attached::Running(mut shim)) => shim.main_exited().await,
                Ok(Attached::Ended(exit)) => exit,
                Ok(Attached::Nothing) | Err(_) => Exit::LOST,
            },
            None => Exit::LOST,
        };
        Snapshot { launch: query.launch, exit }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store<OsFileSystem>) -> T + Send + 'static,
    ) -> Result<T, Failed> {
        let store = self.store.clone();
        crate::blocking::spawn(move || work(&store))
            .await
            .map_err(|error| internal("a task of the runner ended", error))
    }

    /// As [`Platform::blocking`], for what changes releases or `current`.
    async fn changing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store<OsFileSystem>) -> T + Send + 'static,
    ) -> Result<T, Failed> {
        let changing = Arc::clone(&self.changing);
        self.blocking(move |store| {
            // What a change that panicked left is what a crash leaves.
            let _alone = changing.lock().unwrap_or_else(PoisonError::into_inner);
            work(store)
        })
        .await
    }

    pub(crate) async fn observe(&self) -> Result<Observation, Failed> {
        observe_installation(&self.store, &self.changing).await
    }

    async fn run_dirs(&self) -> RunDirs {
        run_dirs(&self.store).await
    }

    fn run_dir(&self, launch: &Launch) -> PathBuf {
        self.store.run_dir().join(format!("{}-{}", launch.number, launch.digest.short()))
    }

    async fn check_port(&self, health: &HealthCheck) -> Result<(), Failed> {
        let address = match &health.http.host {
            None => self.shared.address,
            Some(host) => match host.parse::<IpAddr>() {
                Ok(address) => address,
                Err(_) if host == "localhost" => IpAddr::from([127, 0, 0, 1]),
                // The probe asks another machine or a name; nothing is known of the service's own port.
                Err(_) => return Ok(()),
            },
        };
        let mut ours = BTreeSet::new();
        for (dir, _) in self.run_dirs().await.values() {
            if let Ok(Attached::Running(shim)) = shim::attach(dir).await {
                ours.insert(shim.pid());
                // Descendants that left their parent belong to the shim, which is the service's parent.
                ours.extend(ports::parent(shim.pid()).filter(|parent| *parent > 1));
            }
        }
        let port = health.http.port;
        let found = self.blocking(move |store| foreign_listener(store, address, port, ours)).await?;
        match found.map_err(|error| internal("can't see who listens", error))? {
            None => Ok(()),
            Some(who) => {
                let message = format!("{who} listens on {address}:{port}");
                Err(HostFailure::new(ReasonCode::PreflightPort, message))
            }
        }
    }

    /// The end of the first process counts more than any answer: what it left may go on answering for a while.
    async fn probe(&self, launch: u64, health: &HealthCheck) -> Reply {
        let answer = probe::probe(health, self.shared.address).await;
        let dir = self.run_dirs().await.remove(&launch).map(|(dir, _)| dir);
        self.answers.judge(launch, dir, answer).await
    }

    async fn fetch(&self, artifact: &Artifact) -> Result<(), Failed> {
        let fetched = fetch::fetch(artifact, &self.shared.cache, limits::HOST_FETCH.to_std()).await;
        fetched.map(drop).map_err(|error| HostFailure::new(error.code(), error.to_string()))
    }

    async fn unpack(&self, stored: StoredRelease) -> Reply {
        let digest = host_release(&stored.release).bundle.sha256;
        let blob = self.shared.cache.join(digest.to_string());
        let done = self.changing(move |store| unpack(store, &blob, &stored)).await;
        done.unwrap_or_else(Reply::Failed)
    }

    async fn acquire_slot(&self) -> Result<(), Failed> {
        let mut held = self.slot.lock().await;
        if held.is_none() {
            let slot = Arc::clone(&self.shared.slot).acquire_owned().await;
            *held = Some(slot.map_err(|error| internal("the host is being closed", error))?);
        }
        Ok(())
    }

    /// Holds the disruption slot again that an earlier process held when it ended. At most one installation did.
    pub(crate) async fn reclaim_slot(&self) {
        *self.slot.lock().await = Arc::clone(&self.shared.slot).try_acquire_owned().ok();
    }

    /// Releases the slot, if it is held.
    pub(crate) async fn release_slot(&self) {
        self.slot.lock().await.take();
    }

    async fn stop(&self, stop: &Stop, except: Option<u64>) -> Result<(), Failed> {
        stop_everything(&self.store, stop, except).await.map(drop)
    }

    async fn switch(&self, to: Digest) -> Result<(), Failed> {
        let done = self
            .changing(move |store| match store.releases()?.get(&to) {
                Some(stored) => store.switch(stored),
                None => Err(io::Error::new(io::ErrorKind::NotFound, "the release is not on this host")),
            })
            .await?;
        done.map_err(|error| disk_failure("can't switch `current`", &error))
    }

    /// Starts a launch, unless it was started already.
    async fn start(&self, launch: &Launch, release: &Release) -> Result<Timestamp, Failed> {
        let failed =
            |error: &dyn std::fmt::Display| HostFailure::new(ReasonCode::StartFailed, error.to_string());
        for (number, (dir, _)) in self.run_dirs().await {
            match shim::attach(&dir).await.map_err(|error| internal("can't inspect the process", error))? {
                Attached::Running(shim) if number == launch.number => {
                    return Ok(Timestamp(shim.started_boottime_ms()));
                }
                // Its end is what the watch reports next.
                Attached::Ended(_) if number == launch.number => return Ok(clock::boot_time()),
                // Its first process has ended; its shim ends what that left, and says when.
                Attached::Running(mut shim) if shim.main_exit().is_some() => drop(shim.exited().await),
                Attached::Running(shim) => {
                    let message = format!("process {} of an earlier start still runs", shim.pid());
                    return Err(HostFailure::new(ReasonCode::HostInternal, message));
                }
                Attached::Ended(_) | Attached::Nothing => {}
            }
        }
        let dir = self.run_dir(launch);
        let releases = self.blocking(Store::releases).await?;
        let releases = releases.map_err(|error| disk_failure("can't read the releases", &error))?;
        let stored =
            releases.get(&launch.digest).ok_or_else(|| failed(&"the release is not on this host"))?;
        let cwd = self.store.release_dir(stored);
        let spec = self.shim_spec(launch, release, &dir, &cwd);
        let shim = shim::start(&self.shared.binary, &spec).await.map_err(|error| failed(&error))?;
        Ok(Timestamp(shim.started_boottime_ms()))
    }

    fn shim_spec(&self, launch: &Launch, release: &Release, dir: &Path, cwd: &Path) -> ShimSpec {
        let process = &host_release(release).process;
        let mut environment = base_environment();
        environment.extend(process.environment.clone());
        let own = [
            ("TRIMARAN_HOST", self.shared.name.to_string()),
            ("TRIMARAN_ADDRESS", self.shared.address.to_string()),
            ("TRIMARAN_RELEASE", launch.digest.to_string()),
            ("TRIMARAN_RUN", launch.run.to_string()),
            ("TRIMARAN_ATTEMPT", launch.attempt.to_string()),
        ];
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        ShimSpec {
            dir: dir.to_owned(),
            command: in_release(&process.command, cwd),
            cwd: cwd.to_owned(),
            environment,
            log_dir: self.store.log_dir(),
            run: launch.run.to_string(),
        }
    }

    /// What can't be removed now is removed the next time.
    async fn collect_garbage(&self, releases: Vec<Digest>, launch: Option<u64>, keep: CacheRetention) {
        let mut ended = Vec::new();
        for (number, (dir, _)) in self.run_dirs().await {
            let old = launch.is_none_or(|launch| number < launch);
            if old && !matches!(shim::attach(&dir).await, Ok(Attached::Running(_)) | Err(_)) {
                ended.push(dir);
            }
        }
        let cache = self.shared.cache.clone();
        let done = self
            .changing(move |store| {
                ended.iter().try_for_each(std::fs::remove_dir_all)?;
                let identity = store.releases()?;
                for stored in releases.iter().filter_map(|digest| identity.get(digest)) {
                    store.remove(stored)?;
                }
                trim_cache(&cache, keep)
            })
            .await;
        if let Ok(Err(error)) = done {
            tracing::warn!(dir = %self.store.dir().display(), %error, "old releases could not be removed");
        }
    }
}

/// The program is searched in the release.
fn in_release(command: &[String], cwd: &Path) -> Vec<String> {
    let mut command = command.to_vec();
    if let Some(program) = command.first_mut() {
        let inside = cwd.join(&*program);
        if program.contains('/') || inside.is_file() {
            *program = inside.display().to_string();
        }
    }
    command
}

/// Directories of launches, `run/NUMBER-DIGEST12`, with the twelve digits.
pub(crate) type RunDirs = BTreeMap<u64, (PathBuf, String)>;

pub(crate) async fn run_dirs(store: &Store<OsFileSystem>) -> RunDirs {
    let dir = store.run_dir();
    let list = move || {
        // Before the first start there is none.
        let Ok(entries) = std::fs::read_dir(dir) else { return RunDirs::new() };
        let launches = entries.flatten().filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (number, digest) = name.split_once('-')?;
            Some((number.parse().ok()?, (entry.path(), digest.to_owned())))
        });
        launches.collect()
    };
    crate::blocking::spawn(list).await.unwrap_or_default()
}

/// What is there of an installation. What another call is still changing is left alone.
pub(crate) async fn observe_installation(
    store: &Store<OsFileSystem>,
    changing: &Arc<std::sync::Mutex<()>>,
) -> Result<Observation, Failed> {
    let (on_disk, changing) = (store.clone(), Arc::clone(changing));
    let found = crate::blocking::spawn(move || {
        let alone = match changing.try_lock() {
            Ok(alone) => Some(alone),
            Err(TryLockError::Poisoned(alone)) => Some(alone.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if alone.is_some() {
            on_disk.clean()?;
        }
        drop(alone);
        let releases = on_disk.releases()?;
        let current = on_disk.current(&releases)?;
        Ok::<_, io::Error>((boot_id()?, releases, current))
    })
    .await
    .map_err(|error| internal("a task of the runner ended", error))?;
    let (boot, releases, current) = found.map_err(|error| disk_failure("can't read the releases", &error))?;
    let mut processes = BTreeMap::new();
    for (number, (dir, short)) in run_dirs(store).await {
        let attached =
            shim::attach(&dir).await.map_err(|error| internal("can't inspect the process", error))?;
        let status = match attached {
            Attached::Running(shim) => match shim.main_exit() {
                Some(exit) => ProcessStatus::Ended(exit),
                None => ProcessStatus::Running { started: Timestamp(shim.started_boottime_ms()) },
            },
            Attached::Ended(exit) => ProcessStatus::Ended(exit),
            Attached::Nothing => ProcessStatus::Nothing,
        };
        let digest = releases.keys().find(|digest| digest.short() == short).copied();
        processes.insert(number, ProcessObservation { digest, status });
    }
    Ok(Observation { boot, current, releases, processes })
}

/// Who else listens where the service will. A service of an earlier data directory of this path is to be stopped too.
fn foreign_listener(
    store: &Store<OsFileSystem>,
    address: IpAddr,
    port: u16,
    mut ours: BTreeSet<u32>,
) -> io::Result<Option<String>> {
    let found = ports::foreign_listener(address, port, &ours)?;
    if found.is_none() {
        return Ok(None);
    }
    ours.extend(shim::removed(&store.run_dir())?.iter().map(shim::Removed::pid));
    ports::foreign_listener(address, port, &ours)
}

/// Ends services whose directory was below `root` and is gone. Returns whether there was one.
pub(crate) async fn stop_removed(root: PathBuf, stop: &Stop) -> Result<bool, Failed> {
    let failed = |error: &dyn std::fmt::Display| HostFailure::new(ReasonCode::StopFailed, error.to_string());
    let (signal, grace) = (stop.signal, Duration::from_millis(stop.grace.0));
    let work = move || {
        let found = shim::removed(&root).map_err(|error| failed(&error))?;
        found.iter().try_for_each(|it| it.stop(signal, grace)).map_err(|error| failed(&error))?;
        Ok(!found.is_empty())
    };
    crate::blocking::spawn(work).await.map_err(|error| internal("a task of the runner ended", error))?
}

/// Ends every launch but `except` with all its descendants. Returns whether there was one.
pub(crate) async fn stop_everything(
    store: &Store<OsFileSystem>,
    stop: &Stop,
    except: Option<u64>,
) -> Result<bool, Failed> {
    let failed = |error: &dyn std::fmt::Display| HostFailure::new(ReasonCode::StopFailed, error.to_string());
    let launches = run_dirs(store).await;
    // Where something was started since, the services of the earlier directory were ended before.
    let mut ended = launches.is_empty() && stop_removed(store.run_dir(), stop).await?;
    for (number, (dir, _)) in launches {
        if except == Some(number) {
            continue;
        }
        if let Attached::Running(mut shim) = shim::attach(&dir).await.map_err(|error| failed(&error))? {
            let grace = Duration::from_millis(stop.grace.0);
            shim.stop(stop.signal, grace).await.map_err(|error| failed(&error))?;
            ended = true;
        }
    }
    Ok(ended)
}

fn unpack(store: &Store<OsFileSystem>, blob: &Path, stored: &StoredRelease) -> Reply {
    if !blob.is_file() {
        return Reply::BlobGone;
    }
    let into = store.unpack_dir(stored);
    if let Err(error) = std::fs::remove_dir_all(&into)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Reply::Failed(disk_failure("can't remove an earlier attempt", &error));
    }
    if let Err(error) = archive::unpack(blob, &into, &ArchiveLimits::default()) {
        let code = error.code();
        if matches!(code, ReasonCode::UnpackCorrupt | ReasonCode::UnpackEscape | ReasonCode::UnpackLimit) {
            // It would be refused again; a cache is for what is of use.
            let _ = std::fs::remove_file(blob);
        }
        return Reply::Failed(HostFailure::new(code, error.to_string()));
    }
    let program = host_release(&stored.release).process.command.first().map_or("", String::as_str);
    if let Some(words) = executable::problem(&into, program) {
        // The next inspection removes what is left of it.
        let _ = std::fs::remove_dir_all(&into);
        return Reply::Failed(HostFailure::new(ReasonCode::UnpackProgram, words));
    }
    match store.adopt(stored) {
        Ok(()) => Reply::Stored,
        Err(error) => {
            // The next inspection removes what is left of it.
            let _ = std::fs::remove_dir_all(&into);
            Reply::Failed(disk_failure("can't keep the unpacked release", &error))
        }
    }
}

fn trim_cache(cache: &Path, keep: CacheRetention) -> io::Result<()> {
    let entries = match std::fs::read_dir(cache) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut blobs: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let digest: Digest = entry.file_name().to_str()?.parse().ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, digest, entry.path()))
        })
        .collect();
    blobs.sort_by_key(|(modified, ..)| std::cmp::Reverse(*modified));
    for (place, (_, digest, path)) in blobs.into_iter().enumerate() {
        let kept = match keep {
            CacheRetention::Newest => place < limits::RELEASES_KEPT,
            CacheRetention::Only(one) => one == Some(digest),
        };
        if !kept {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}
