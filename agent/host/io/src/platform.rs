//! Executes the calls of one installation's machine: the real host behind the machine's questions.
//!
//! Everything that can block runs on the blocking pool. Nothing here decides; a failure is a code and words.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit};
use trimaran_host_core::host::{
    CacheRetention, Call, Exit, HostFailure, Launch, Observation, ProcessObservation, ProcessStatus, Query,
    Reply, Snapshot, StoredRelease, host_release,
};
use trimaran_model::id::Digest;
use trimaran_model::limits;
use trimaran_model::pipeline::{HealthCheck, Probe, ProbeAddress, ProbeCheck, Process, Stop};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, Release};
use trimaran_model::time::{Millis, Timestamp};
use trimaran_process::{clock, failpoint};

use crate::answers::Answers;
use crate::archive::{self, ArchiveLimits};
use crate::filesystem::OsFileSystem;
use crate::helper::{self, Ended, with_words};
use crate::host_identity::boot_id;
use crate::probe::Place;
use crate::provision::Service;
use crate::shared::Shared;
use crate::shim::{self, Attached, Seen};
use crate::store::Store;
use crate::{account, executable, fetch, ports, probe};

/// The host as one installation sees it.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store<OsFileSystem>,
    slot: Mutex<Option<OwnedSemaphorePermit>>,
    /// Held while releases and `current` are changed: a change that hung never overtakes a later one.
    changing: Arc<parking_lot::Mutex<()>>,
    answers: Answers,
    /// Commands beside the service so far, for the names of their directories.
    commands: AtomicU64,
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
        Self {
            shared,
            store,
            slot: Mutex::new(None),
            changing: Arc::default(),
            answers: Answers::default(),
            commands: Default::default(),
        }
    }

    pub(crate) async fn call(&self, call: Call) -> Reply {
        let result = match call {
            Call::Inspect => return self.observe().await.map_or_else(Reply::Failed, Reply::Observation),
            Call::Preflight { digest, release } => self.preflight(digest, &release).await,
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
            Call::Probe { launch, process, probe } => return self.probe(&launch, process, &probe).await,
            Call::Run { launch, process, errand } => {
                return self.run_errand(&launch, &process, &errand).await;
            }
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
            let _alone = changing.lock();
            work(store)
        })
        .await
    }

    pub(crate) async fn observe(&self) -> Result<Observation, Failed> {
        observe_installation(&self.store, &self.changing, true).await
    }

    pub(crate) async fn run_dirs(&self) -> RunDirs {
        run_dirs(&self.store).await
    }

    fn run_dir(&self, launch: &Launch) -> PathBuf {
        self.store.run_dir().join(format!("{}-{}", launch.number, launch.digest.short()))
    }

    /// Whether the release can run here as it asks for.
    async fn preflight(&self, digest: Digest, release: &Release) -> Result<(), Failed> {
        let host = host_release(release).clone();
        self.check_ports(&host.health).await?;
        let release_dir = self.release_dir(digest).await?;
        self.with_service(host.process, release_dir, |_| Ok(())).await
    }

    /// Does something with a service as it can be started here.
    pub(crate) async fn with_service<T: Send + 'static>(
        &self,
        process: Process,
        release_dir: PathBuf,
        work: impl FnOnce(&Service<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Failed> {
        let shared = Arc::clone(&self.shared);
        self.blocking(move |store| work(&Service::of(&shared, store, &process, release_dir)?)).await?
    }

    pub(crate) async fn release_dir(&self, digest: Digest) -> Result<PathBuf, Failed> {
        let releases = self.blocking(Store::releases).await?;
        let releases = releases.map_err(|error| disk_failure("can't read the releases", &error))?;
        let missing = || HostFailure::new(ReasonCode::StartFailed, "the release is not on this host");
        releases.get(&digest).map(|stored| self.store.release_dir(stored)).ok_or_else(missing)
    }

    /// Whether the ports that the health check asks for are free, or held by what is to be stopped.
    async fn check_ports(&self, health: &HealthCheck) -> Result<(), Failed> {
        let ports: BTreeSet<(IpAddr, u16)> =
            health.probes().filter_map(|(_, probe)| self.own_port(probe)).collect();
        if ports.is_empty() {
            return Ok(());
        }
        let mut ours = BTreeSet::new();
        for (dir, _) in self.run_dirs().await.values() {
            if let Ok(Attached::Running(shim)) = shim::attach(dir).await {
                ours.insert(shim.pid());
                // Descendants that left their parent belong to the shim, which is the service's parent.
                ours.extend(ports::parent(shim.pid()).filter(|parent| *parent > 1));
            }
        }
        for (address, port) in ports {
            let ours = ours.clone();
            let found = self.blocking(move |store| foreign_listener(store, address, port, ours)).await?;
            if let Some(who) = found.map_err(|error| internal("can't see who listens", error))? {
                let message = format!("{who} listens on {address}:{port}");
                return Err(HostFailure::new(ReasonCode::PreflightPort, message));
            }
        }
        Ok(())
    }

    /// Where the service itself listens, as far as a probe says so.
    fn own_port(&self, probe: &Probe) -> Option<(IpAddr, u16)> {
        let ProbeAddress { host, port } = match &probe.check {
            ProbeCheck::Http(http) => &http.url.address,
            ProbeCheck::Tcp(address) => address,
            ProbeCheck::Command(_) => return None,
        };
        let address = match host {
            None => Some(self.shared.address()),
            Some(host) => match host.parse::<IpAddr>() {
                Ok(address) => Some(address),
                Err(_) if host == "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
                // The probe asks another machine or a name; nothing is known of the service's own port.
                Err(_) => None,
            },
        };
        address.map(|address| (address, *port))
    }

    /// The end of the first process counts more than any answer: what it left may go on answering for a while.
    async fn probe(&self, launch: &Launch, process: Process, probe: &Probe) -> Reply {
        let dir = self.run_dirs().await.remove(&launch.number).map(|(dir, _)| dir);
        let release_dir = match self.release_dir(launch.digest).await {
            Ok(release_dir) => release_dir,
            Err(failure) => return Reply::Failed(failure),
        };
        let reply = match &probe.check {
            ProbeCheck::Http(_) | ProbeCheck::Tcp(_) => {
                let place = Place { own: self.shared.address(), release: &release_dir };
                let answer = probe::probe(probe, place).await;
                self.answers.judge(launch.number, dir, answer).await
            }
            ProbeCheck::Command(command) => {
                let limit = probe.timeout;
                let answer = match self.command(launch, process.clone(), &release_dir, command, limit).await {
                    Ok((Ended::Exit(exit), _)) if exit.is_success() => Ok(()),
                    Ok((Ended::Exit(exit), words)) => Err(with_words(exit.to_string(), &words)),
                    Ok((Ended::TimedOut, words)) => {
                        Err(with_words(format!("the command did not end within {limit}"), &words))
                    }
                    Err(message) => Err(message),
                };
                self.answers.judge_command(dir, answer).await
            }
        };
        match reply {
            Reply::Done => self.warned(launch.number, process, release_dir).await,
            other => other,
        }
    }

    /// What is to be known beside a success. Asked once a launch.
    async fn warned(&self, launch: u64, process: Process, release_dir: PathBuf) -> Reply {
        let known = self.answers.warning(launch);
        let warning = match known {
            Some(warning) => warning,
            None => {
                let found = self.with_service(process, release_dir, |service| Ok(service.warnings())).await;
                // What is missing by now was there at the start.
                let first = found.unwrap_or_default().into_iter().next();
                self.answers.note_warning(launch, first.clone());
                first
            }
        };
        warning.map_or(Reply::Done, Reply::Warned)
    }

    /// Runs a command beside the service. Returns how it ended and its last line; the error is in words.
    pub(crate) async fn command(
        &self,
        launch: &Launch,
        process: Process,
        release_dir: &Path,
        command: &[String],
        limit: Millis,
    ) -> Result<(Ended, String), String> {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let dir = self.store.commands_dir().join(format!("{}-{number}", std::process::id()));
        let (launch, command) = (launch.clone(), command.to_vec());
        let spec = self
            .with_service(process, release_dir.to_owned(), move |service| {
                Ok(service.command(&launch, &dir, &command))
            })
            .await
            .map_err(|failure| failure.message)?;
        helper::run(&self.shared.binary, spec, limit.to_std()).await.map_err(|error| error.to_string())
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
        let release_dir = self.release_dir(launch.digest).await?;
        let (wanted, dir) = (launch.clone(), self.run_dir(launch));
        let process = host_release(release).process.clone();
        let spec = self
            .with_service(process, release_dir, move |service| {
                let made = service.make_directories();
                made.map_err(|error| disk_failure("can't make the service's directories", &error))?;
                Ok(service.spec(&wanted, &dir))
            })
            .await?;
        let shim = shim::start(&self.shared.binary, &spec).await.map_err(|error| failed(&error))?;
        Ok(Timestamp(shim.started_boottime_ms()))
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
                remove_commands(&store.commands_dir());
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
            // What else has such a name is a user's.
            entry.file_type().ok().filter(std::fs::FileType::is_dir)?;
            Some((number.parse().ok()?, (entry.path(), digest.to_owned())))
        });
        launches.collect()
    };
    crate::blocking::spawn(list).await.unwrap_or_default()
}

/// What is there of an installation; `clean`: without leftovers, which are removed or ended first, unless another call is
/// still changing something. Otherwise nothing is touched.
pub(crate) async fn observe_installation(
    store: &Store<OsFileSystem>,
    changing: &Arc<parking_lot::Mutex<()>>,
    clean: bool,
) -> Result<Observation, Failed> {
    let (on_disk, changing) = (store.clone(), Arc::clone(changing));
    let found = crate::blocking::spawn(move || {
        let alone = changing.try_lock();
        failpoint::hang(on_disk.dir());
        if alone.is_some() && clean {
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
    let known = |short: &str| releases.keys().find(|digest| digest.short() == short).copied();
    let mut processes = BTreeMap::new();
    for (number, (dir, short)) in run_dirs(store).await {
        let status = status_of(dir, clean).await?;
        processes.insert(number, ProcessObservation { digest: known(&short), status });
    }
    Ok(Observation { boot, current, releases, processes })
}

/// What became of a launch; `clean`: what it left after its end is ended.
async fn status_of(dir: PathBuf, clean: bool) -> Result<ProcessStatus, Failed> {
    let failed = |error: io::Error| internal("can't inspect the process", error);
    if !clean {
        let seen = crate::blocking::spawn(move || shim::inspect(&dir)).await;
        let seen = seen.map_err(|error| internal("a task of the runner ended", error))?;
        return Ok(match seen.map_err(failed)? {
            Seen::Running(started) => ProcessStatus::Running { started: Timestamp(started) },
            Seen::Ended(exit) => ProcessStatus::Ended(exit),
            Seen::Nothing => ProcessStatus::Nothing,
        });
    }
    Ok(match shim::attach(&dir).await.map_err(failed)? {
        Attached::Running(shim) => match shim.main_exit() {
            Some(exit) => ProcessStatus::Ended(exit),
            None => ProcessStatus::Running { started: Timestamp(shim.started_boottime_ms()) },
        },
        Attached::Ended(exit) => ProcessStatus::Ended(exit),
        Attached::Nothing => ProcessStatus::Nothing,
    })
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
    let group = match release_group(&stored.release) {
        Ok(group) => group,
        Err(why) => return Reply::Failed(HostFailure::new(ReasonCode::PreflightUser, why)),
    };
    if let Err(error) = archive::unpack(blob, &into, &ArchiveLimits::default(), group) {
        let code = error.code();
        if matches!(code, ReasonCode::UnpackCorrupt | ReasonCode::UnpackEscape | ReasonCode::UnpackLimit) {
            // It would be refused again; a cache is for what is of use.
            let _ = std::fs::remove_file(blob);
        }
        return Reply::Failed(HostFailure::new(code, error.to_string()));
    }
    let host = host_release(&stored.release);
    let service = host.process.command.first().map_or("", String::as_str);
    let mut programs = std::iter::once(service).chain(host.lifecycle.programs());
    if let Some(words) = programs.find_map(|program| executable::problem(&into, program)) {
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

/// Whose group may read the release beside its owner, which is the runner's user: the service's, where that is another.
fn release_group(release: &Release) -> Result<Option<u32>, String> {
    let account = &host_release(release).process.account;
    if account.is_runners() {
        return Ok(None);
    }
    let who = account::resolve(account)?;
    account::may_become(&who, account)?;
    Ok((who.uid != rustix::process::geteuid().as_raw()).then_some(who.gid))
}

/// Removes what commands of an earlier runner left. One that still runs is ended by its own time limit.
fn remove_commands(dir: &Path) {
    let own = format!("{}-", std::process::id());
    // Before the first command there is no directory.
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_own = entry.file_name().to_str().is_some_and(|name| name.starts_with(&own));
        if !is_own && !matches!(shim::inspect(&entry.path()), Ok(Seen::Running(_))) {
            // What can't be removed now is removed the next time.
            let _ = std::fs::remove_dir_all(entry.path());
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
