//! A data directory without its machines: what is there, and the end of everything that runs.
//!
//! Both take the directory's lock and continue nothing that was begun.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trimaran_host_core::host::{
    Exit, HostFailure, Journal, Observation, Phase, ProcessStatus, Reply, StoredRelease, host_release,
};
use trimaran_model::assignment::{HostReport, HostState};
use trimaran_model::id::InstallationId;
use trimaran_model::pipeline::{HealthCheck, Probe, ProbeCheck, Stop, StopSignal};
use trimaran_model::reason::ReasonCode;
use trimaran_model::text::with_sources;
use trimaran_model::time::Millis;

use crate::answers::Answers;
use crate::filesystem::OsFileSystem;
use crate::host::{OpenError, broken_report, installations, store_of};
use crate::lock::DirectoryLock;
use crate::platform::{observe_installation, run_dirs, stop_everything, stop_removed};
use crate::probe::{self, Place};
use crate::store::{Loaded, Store};

/// One installation as it is on the disk and in the process table.
#[derive(Debug, Clone)]
pub struct Inspection {
    pub installation: InstallationId,
    /// The state as the journal has it, corrected by what really runs.
    pub report: HostReport,
    pub current: Option<StoredRelease>,
    pub rollback_target: Option<StoredRelease>,
    /// Whether a process of it runs.
    pub running: bool,
    /// One probe of what runs.
    pub probe: Option<Result<(), String>>,
}

/// Inspects every installation of a directory. `address` is the host's own. A directory that is not there has
/// none, and is not made.
pub async fn inspect(data_dir: &Path, address: IpAddr) -> Result<Vec<Inspection>, OpenError> {
    if !data_dir.exists() {
        return Ok(Vec::new());
    }
    let _lock = DirectoryLock::acquire(data_dir)?;
    let mut found = Vec::new();
    for installation in list(data_dir)? {
        match inspect_installation(data_dir, &installation, address).await {
            Ok(one) => found.extend(one),
            Err(error) => {
                let report = broken_report(&installation, &with_sources(&error));
                let (current, rollback_target, probe) = (None, None, None);
                found.push(Inspection {
                    installation,
                    report,
                    current,
                    rollback_target,
                    running: false,
                    probe,
                });
            }
        }
    }
    Ok(found)
}

async fn inspect_installation(
    data_dir: &Path,
    installation: &InstallationId,
    address: IpAddr,
) -> Result<Option<Inspection>, OpenError> {
    let store = store_of(data_dir, installation);
    let path = store.dir().to_owned();
    let observation = observe_installation(&store, &Arc::default(), false)
        .await
        .map_err(|failure| OpenError::Inspect { path, why: failure.message })?;
    let journal = match store.load()? {
        Loaded::Journal(journal, _) => Some(journal),
        Loaded::Damaged | Loaded::Nothing => Journal::from_observation(installation, &observation),
    };
    let Some(journal) = journal else { return Ok(None) };
    let running = running(&store, &observation).await;
    let release_dir = |stored: &StoredRelease| store.release_dir(stored);
    Ok(Some(inspect_one(installation.clone(), journal, observation, running, release_dir, address).await))
}

/// The launch that runs, with the directory of its shim.
async fn running(store: &Store<OsFileSystem>, observation: &Observation) -> Option<(u64, PathBuf)> {
    let runs = |status: &ProcessStatus| matches!(status, ProcessStatus::Running { .. });
    let (number, _) = observation.processes.iter().find(|(_, process)| runs(&process.status))?;
    let (dir, _) = run_dirs(store).await.remove(number)?;
    Some((*number, dir))
}

async fn inspect_one(
    installation: InstallationId,
    journal: Journal,
    observation: Observation,
    running: Option<(u64, PathBuf)>,
    release_dir: impl Fn(&StoredRelease) -> PathBuf,
    address: IpAddr,
) -> Inspection {
    let number = journal.launch.as_ref().map(|launch| launch.number);
    let ended =
        number.and_then(|number| observation.processes.get(&number)).and_then(|process| {
            match process.status {
                ProcessStatus::Ended(exit) => Some(exit),
                ProcessStatus::Running { .. } | ProcessStatus::Nothing => None,
            }
        });
    let phase = Phase::shown(journal, observation);
    let stored = |digest| phase.stored(digest).cloned();
    let mut report = phase.report();
    let current = report.current.and_then(stored);
    if report.state == HostState::Healthy && running.is_none() {
        report.state = HostState::Degraded;
        report.code = Some(ReasonCode::ProcessExited);
        report.message = ended.unwrap_or(Exit::LOST).to_string();
    }
    let is_running = running.is_some();
    let probe = match (&current, running) {
        (Some(stored), Some((number, dir))) => {
            let place = Place { own: address, release: &release_dir(stored) };
            probe_all(&host_release(&stored.release).health, place, number, dir, &mut report).await
        }
        _ => None,
    };
    let rollback_target = phase.journal.rollback_target().and_then(stored);
    Inspection { installation, report, current, rollback_target, running: is_running, probe }
}

/// Asks every probe over the network once; `None` where there is none. A command is not run: it might change something.
async fn probe_all(
    health: &HealthCheck,
    place: Place<'_>,
    number: u64,
    dir: PathBuf,
    report: &mut HostReport,
) -> Option<Result<(), String>> {
    let over_network = |probe: &&Probe| !matches!(probe.check, ProbeCheck::Command(_));
    let mut result = None;
    for probe in health.probes().map(|(_, probe)| probe).filter(over_network) {
        let answer = probe::probe(probe, place).await;
        match Answers::default().judge(number, Some(dir.clone()), answer).await {
            Reply::Failed(failure) => return Some(Err(failure.message)),
            Reply::Ended(exit) => return Some(Err(exit.to_string())),
            Reply::Warned(warning) if report.code.is_none() => {
                (report.code, report.message) = (Some(warning.code), warning.message);
            }
            _ => {}
        }
        result = Some(Ok(()));
    }
    result
}

/// Services that could not be ended.
#[derive(Debug, thiserror::Error)]
pub enum StopAllError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{}", words(.failed))]
    Stop { failed: Vec<(InstallationId, HostFailure)> },
    #[error("services whose directory is gone: {}", .failure.message)]
    Removed { failure: HostFailure },
}

fn words(failed: &[(InstallationId, HostFailure)]) -> String {
    let each: Vec<_> = failed.iter().map(|(id, failure)| format!("{id}: {}", failure.message)).collect();
    each.join("; ")
}

/// Ends every service of the directory, as a shutdown of the machine would: they run again when a host is
/// opened here. Services whose directory was removed under them are ended too. Returns how many installations
/// had something to end; the removed ones count as one.
pub async fn stop_all(data_dir: &Path) -> Result<usize, StopAllError> {
    let lock = data_dir.exists().then(|| DirectoryLock::acquire(data_dir));
    let _lock = lock.transpose().map_err(OpenError::from)?;
    let mut tasks = tokio::task::JoinSet::new();
    for installation in list(data_dir)? {
        let store = store_of(data_dir, &installation);
        tasks.spawn(async move { (installation, stop_one(&store).await) });
    }
    let mut failed = Vec::new();
    let mut ended = 0;
    while let Some(done) = tasks.join_next().await {
        // A task that panicked has no name to report; the panic itself was printed.
        let Ok((installation, result)) = done else { continue };
        match result {
            Ok(some) => ended += usize::from(some),
            Err(failure) => failed.push((installation, failure)),
        }
    }
    if !failed.is_empty() {
        return Err(StopAllError::Stop { failed });
    }
    match stop_removed(data_dir.join("services"), &STOP).await {
        Ok(some) => Ok(ended + usize::from(some)),
        Err(failure) => Err(StopAllError::Removed { failure }),
    }
}

/// How a service is ended of which nothing else is known.
const STOP: Stop = Stop { signal: StopSignal::Term, grace: Millis::seconds(10) };

async fn stop_one(store: &Store<OsFileSystem>) -> Result<bool, HostFailure> {
    let mut stop = STOP;
    let loaded = store.load().ok();
    let releases = store.releases().unwrap_or_default();
    let journal = match loaded {
        Some(Loaded::Journal(journal, next)) => Some((journal, next)),
        _ => None,
    };
    if let Some(stored) = journal
        .as_ref()
        .and_then(|(journal, _)| journal.launch.as_ref())
        .and_then(|launch| releases.get(&launch.digest))
    {
        stop = host_release(&stored.release).process.stop.clone();
    }
    let ended = stop_everything(store, &stop, None).await?;
    if let Some((mut journal, next)) = journal
        && ended
    {
        journal.boot = None;
        store
            .save(&journal.to_wire(next.as_ref()))
            .map_err(|error| HostFailure::new(ReasonCode::HostInternal, error.to_string()))?;
    }
    Ok(ended)
}

fn list(data_dir: &Path) -> Result<Vec<InstallationId>, OpenError> {
    if data_dir.join("services").is_dir() { installations(data_dir) } else { Ok(Vec::new()) }
}
