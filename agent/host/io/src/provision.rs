//! What a service of a release is started with on this host: its user, environment, directories and bounds.
//!
//! [`Service::of`] is asked before anything is stopped, too: what is missing here is found while the release before still
//! runs. Blocks; nothing here starts a process.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use trimaran_host_core::host::{HostFailure, Launch};
use trimaran_model::pipeline::{Capability, Process, ProcessLimits};
use trimaran_model::reason::ReasonCode;

use crate::account::{self, Resolved};
use crate::environment::environment;
use crate::filesystem::OsFileSystem;
use crate::shared::Shared;
use crate::shim::{
    Confinement, Credentials, GroupLimits, OutputPlace, Rlimit, ShimSpec, default_rlimits, may_raise_rlimits,
    own_rlimit,
};
use crate::store::Store;

/// A process of a release that can be started here.
pub(crate) struct Service<'a> {
    shared: &'a Shared,
    store: &'a Store<OsFileSystem>,
    process: &'a Process,
    release: PathBuf,
    who: Resolved,
    environment: BTreeMap<String, String>,
}

impl<'a> Service<'a> {
    /// Finds all that the process asks for. `release`: where it is unpacked.
    pub(crate) fn of(
        shared: &'a Shared,
        store: &'a Store<OsFileSystem>,
        process: &'a Process,
        release: PathBuf,
    ) -> Result<Self, HostFailure> {
        let not_here = |why: String| HostFailure::new(ReasonCode::PreflightUser, why);
        let who = account::resolve(&process.account).map_err(not_here)?;
        account::may_become(&who, &process.account).map_err(not_here)?;
        if process.capabilities.as_ref().is_some_and(|all| !all.is_empty()) && !is_root() {
            return Err(not_here(
                "the runner is not root, so it can't give a service capabilities".to_owned(),
            ));
        }
        let environment = environment(process, &who, &release, shared.secrets.as_deref())?;
        let directory = release.join(&process.working_directory);
        if !directory.is_dir() {
            let message = format!("the working directory `{}` is not there", process.working_directory);
            return Err(HostFailure::new(ReasonCode::StartFailed, message));
        }
        Ok(Self { shared, store, process, release, who, environment })
    }

    /// What works here less well than the process asks for.
    pub(crate) fn warnings(&self) -> Vec<HostFailure> {
        let mut found = Vec::new();
        let mut missing = self.shared.controllers.missing_for(&self.group_limits());
        missing.extend(self.too_high());
        if !missing.is_empty() {
            let message = format!("nothing on this host enforces the limits of {}", missing.join(", "));
            found.push(HostFailure::new(ReasonCode::LimitsNotEnforced, message));
        }
        if let Some(closed) = account::closed_above(&self.release.join("."), &self.who) {
            let mode = std::fs::metadata(&closed).map_or(0, |found| found.mode() & 0o7777);
            let message =
                format!("user `{}` can't pass through {} (mode {mode:o})", self.who.name, closed.display());
            found.push(HostFailure::new(ReasonCode::UserPath, message));
        }
        found
    }

    /// Makes its directories and lets its user reach them.
    pub(crate) fn make_directories(&self) -> io::Result<()> {
        let (state, run) = (self.store.service_state_dir(), self.store.service_run_dir());
        if self.is_other_user() {
            self.open_path()?;
        }
        std::fs::create_dir_all(&state)?;
        // Sockets and numbers of processes say nothing of the next one.
        match std::fs::remove_dir_all(&run) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir(&run)?,
        }
        for dir in [&state, &run] {
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
        }
        if is_root() {
            let (uid, gid) = (self.who.uid, self.who.gid);
            std::os::unix::fs::chown(&run, Some(uid), Some(gid))?;
            chown(&state, uid, gid)?;
        }
        Ok(())
    }

    /// Writes the environment that a reload makes known, for the service's user alone.
    pub(crate) fn write_environment(&self) -> io::Result<()> {
        let mut bytes = Vec::new();
        for (name, value) in &self.environment {
            bytes.extend_from_slice(format!("{name}={value}\0").as_bytes());
        }
        let run = self.store.service_run_dir();
        // The directory is the service's: nothing in it is followed or kept.
        let new = run.join(".environ-new");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&new)?;
        io::Write::write_all(&mut file, &bytes)?;
        if is_root() {
            std::os::unix::fs::fchown(&file, Some(self.who.uid), Some(self.who.gid))?;
        }
        std::fs::rename(&new, run.join("environ"))
    }

    /// The service itself, as one launch.
    pub(crate) fn spec(&self, launch: &Launch, dir: &Path) -> ShimSpec {
        let mut spec = self.command(launch, dir, &self.process.command);
        spec.output = OutputPlace::Log(self.store.log_dir());
        spec.group_limits = self.group_limits();
        spec
    }

    /// A command beside the service: with its user, environment and limits of one process.
    pub(crate) fn command(&self, launch: &Launch, dir: &Path, command: &[String]) -> ShimSpec {
        let own = [
            ("TRIMARAN_HOST", self.shared.name.to_string()),
            ("TRIMARAN_ADDRESS", self.shared.address().to_string()),
            ("TRIMARAN_RELEASE", launch.digest.to_string()),
            ("TRIMARAN_RUN", launch.run.to_string()),
            ("TRIMARAN_ATTEMPT", launch.attempt.to_string()),
            ("TRIMARAN_STATE_DIR", self.store.service_state_dir().display().to_string()),
            ("TRIMARAN_RUN_DIR", self.store.service_run_dir().display().to_string()),
        ];
        let mut environment = self.environment.clone();
        environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
        ShimSpec {
            dir: dir.to_owned(),
            command: in_release(command, &self.release),
            cwd: self.working_directory(),
            environment,
            output: OutputPlace::Tail,
            run: launch.run.to_string(),
            confinement: self.confinement(),
            group_limits: GroupLimits::default(),
            time_limit: None,
        }
    }

    fn working_directory(&self) -> PathBuf {
        match self.process.working_directory.as_str() {
            Process::WORKING_DIRECTORY => self.release.clone(),
            other => self.release.join(other),
        }
    }

    fn is_other_user(&self) -> bool {
        self.who.uid != rustix::process::geteuid().as_raw()
    }

    /// Limits of its file that this runner may not raise so far.
    fn too_high(&self) -> Vec<&'static str> {
        if may_raise_rlimits() {
            return Vec::new();
        }
        let limits = &self.process.limits;
        // A default that can't be reached was asked for by no one.
        let nofile = Some(limits.nofile).filter(|value| *value != ProcessLimits::default().nofile);
        let said = [("nofile", libc::RLIMIT_NOFILE, nofile), ("nproc", libc::RLIMIT_NPROC, limits.nproc)];
        let above = |resource, value: u64| own_rlimit(resource).is_some_and(|own| value > own.hard);
        let found =
            said.into_iter().filter(|(_, resource, value)| value.is_some_and(|it| above(*resource, it)));
        found.map(|(name, ..)| name).collect()
    }

    fn group_limits(&self) -> GroupLimits {
        let limits = &self.process.limits;
        GroupLimits { memory: limits.memory, cpu_percent: limits.cpu, tasks: limits.tasks }
    }

    fn confinement(&self) -> Confinement {
        let Resolved { uid, gid, groups, .. } = &self.who;
        let credentials = Credentials { uid: *uid, gid: *gid, groups: groups.clone() };
        let bits =
            |all: &std::collections::BTreeSet<Capability>| all.iter().fold(0, |set, it| set | it.bit());
        Confinement {
            // One that is not root can only stay who it is.
            credentials: (is_root() && !self.process.account.is_runners()).then_some(credentials),
            umask: self.process.umask,
            rlimits: self.rlimits(),
            capabilities: self.process.capabilities.as_ref().filter(|_| is_root()).map(bits),
            no_new_privileges: self.process.no_new_privileges,
        }
    }

    /// Those of the host's first process, but for what the release says.
    fn rlimits(&self) -> Vec<Rlimit> {
        let limits = &self.process.limits;
        let said = [
            (libc::RLIMIT_NOFILE, Some(limits.nofile)),
            (libc::RLIMIT_NPROC, limits.nproc),
            (libc::RLIMIT_CORE, Some(limits.core)),
        ];
        let mut all = default_rlimits();
        for (resource, value) in said {
            for limit in all.iter_mut().filter(|limit| limit.resource == resource) {
                (limit.soft, limit.hard) = value.map_or((limit.soft, limit.hard), |value| (value, value));
            }
        }
        if !is_root() {
            // No other user may raise what it was given.
            for limit in &mut all {
                let most = own_rlimit(limit.resource).map_or(u64::MAX, |own| own.hard);
                (limit.soft, limit.hard) = (limit.soft.min(most), limit.hard.min(most));
            }
        }
        all
    }

    /// Lets the service's group pass through what is above its directories and no one else into the installation. The
    /// journal, the logs and the shims' sockets stay closed by their own modes.
    fn open_path(&self) -> io::Result<()> {
        let services = self.store.dir().parent().unwrap_or(Path::new("/"));
        pass(&self.shared.data_dir, 0o001)?;
        // Who passes through does not see what else is there.
        std::fs::set_permissions(services, std::fs::Permissions::from_mode(0o711))?;
        std::os::unix::fs::chown(self.store.dir(), None, Some(self.who.gid))?;
        std::fs::set_permissions(self.store.dir(), std::fs::Permissions::from_mode(0o710))?;
        std::fs::create_dir_all(self.store.service_dir())?;
        for dir in [self.store.service_dir(), self.store.releases_dir()] {
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o711))?;
        }
        for dir in [self.store.log_dir(), self.store.run_dir()] {
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }
}

/// Adds the right to pass through a directory.
fn pass(dir: &Path, bit: u32) -> io::Result<()> {
    let mode = std::fs::metadata(dir)?.mode() & 0o7777;
    if mode & bit == bit {
        return Ok(());
    }
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode | bit))
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives a tree to a user, when its root is not that user's yet: the release before may have run as another one. No link
/// is followed, and a file that has another name elsewhere is left alone.
fn chown(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    if (found.uid(), found.gid()) == (uid, gid) {
        return Ok(());
    }
    chown_tree(path, uid, gid)
}

fn chown_tree(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let found = std::fs::symlink_metadata(path)?;
    if found.is_dir() {
        for entry in std::fs::read_dir(path)? {
            chown_tree(&entry?.path(), uid, gid)?;
        }
    } else if found.nlink() > 1 {
        return Ok(());
    }
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))
}

/// The program is searched in the release.
fn in_release(command: &[String], release: &Path) -> Vec<String> {
    let mut command = command.to_vec();
    if let Some(program) = command.first_mut() {
        *program = release.join(&*program).display().to_string();
    }
    command
}
