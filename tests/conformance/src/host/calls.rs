//! What the host in memory does for a machine that calls, each with the time that it takes.

use trimaran_host::filesystem::FileSystem as _;
use trimaran_host::store::Loaded;
use trimaran_host_core::host::{
    CacheRetention, Call, Errand, Exit, HostFailure, Observation, ProcessObservation, ProcessStatus, Reply,
    StoredRelease, host_release,
};
use trimaran_model::id::Digest;
use trimaran_model::pipeline::{Probe, ProbeCheck};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::Millis;

use super::{Behaviour, LIVENESS_PORT, ModelHost, Process};

impl ModelHost {
    pub(super) fn observe(&self) -> std::io::Result<Observation> {
        self.store.clean()?;
        let releases = self.store.releases()?;
        let current = self.store.current(&releases)?;
        let processes = self.processes.iter().map(|(number, process)| {
            let status = match self.exit_of(process) {
                None => ProcessStatus::Running { started: process.started },
                Some(exit) => ProcessStatus::Ended(exit),
            };
            (*number, ProcessObservation { digest: Some(process.digest), status })
        });
        Ok(Observation { boot: self.boot.to_string(), current, processes: processes.collect(), releases })
    }

    /// Executes a call; the answer with how long it takes.
    pub(super) fn call(&mut self, call: Call) -> (Reply, Millis) {
        match call {
            Call::Inspect => (self.observe().map_or_else(internal, Reply::Observation), Millis(1)),
            Call::Preflight { .. } if self.foreign_port => {
                (failed(ReasonCode::PreflightPort, "process 1 listens"), Millis(1))
            }
            Call::Preflight { .. } => (Reply::Done, Millis(1)),
            Call::AcquireSlot | Call::ReleaseSlot => {
                self.turn = call == Call::AcquireSlot;
                (Reply::Done, Millis(1))
            }
            Call::Fetch { artifact } => {
                if !self.served {
                    return (failed(ReasonCode::FetchUnreachable, "the server is gone"), Millis(100));
                }
                self.fetches += 1;
                self.blobs.push(artifact.sha256);
                (Reply::Done, Millis(200))
            }
            Call::Unpack(stored) => (self.unpack(&stored).unwrap_or_else(internal), Millis(300)),
            Call::Stop { except, .. } => self.stop(except),
            Call::Switch { .. } if self.broken_switch => {
                (failed(ReasonCode::HostInternal, "can't switch"), Millis(1))
            }
            Call::Switch { to } => {
                let releases = self.store.releases();
                let done = releases.and_then(|releases| match releases.get(&to) {
                    Some(stored) => self.store.switch(stored),
                    None => Err(std::io::ErrorKind::NotFound.into()),
                });
                (done.map_or_else(internal, |()| Reply::Done), Millis(1))
            }
            Call::Start { launch, .. } => self.start(launch.number, launch.digest),
            Call::Probe { probe, .. } => (self.probe(port_of(&probe)), Millis(5)),
            Call::Run { launch, errand, .. } => (self.run(launch.digest, &errand), self.errand_time),
            Call::CollectGarbage { releases, launch, keep } => {
                (self.tidy(&releases, launch, keep), Millis(1))
            }
        }
    }

    fn run(&mut self, of: Digest, errand: &Errand) -> Reply {
        let name = match errand {
            Errand::MayStop(_) => "may_stop".to_owned(),
            Errand::Hook { hook, .. } => hook.command.join(" "),
            Errand::Drain(_) => "drain".to_owned(),
            Errand::Undrain(_) => "undrain".to_owned(),
            Errand::Reload(_) => "reload".to_owned(),
        };
        let releases = self.store.releases().unwrap_or_default();
        let version = releases.get(&of).map_or("nothing", |stored| stored.release.version.as_str());
        self.errands.push(format!("{name} {version}"));
        self.bad_errands.get(&format!("{name} {version}")).cloned().unwrap_or(Reply::Done)
    }

    fn tidy(&mut self, releases: &[Digest], launch: Option<u64>, keep: CacheRetention) -> Reply {
        let known = self.store.releases().unwrap_or_default();
        for stored in releases.iter().filter_map(|digest| known.get(digest)) {
            if let Err(error) = self.store.remove(stored) {
                return internal(error);
            }
        }
        let old = |number: u64| launch.is_none_or(|launch| number < launch);
        let ended: Vec<u64> = self
            .processes
            .iter()
            .filter(|(number, process)| old(**number) && !self.is_alive(process))
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            self.processes.remove(&number);
        }
        if let CacheRetention::Only(one) = keep {
            self.blobs.retain(|blob| Some(*blob) == one);
        }
        Reply::Done
    }

    fn unpack(&mut self, stored: &StoredRelease) -> std::io::Result<Reply> {
        if !self.blobs.contains(&host_release(&stored.release).bundle.sha256) {
            return Ok(Reply::BlobGone);
        }
        if self.narrow > 0 {
            self.narrow -= 1;
            return Ok(failed(ReasonCode::PreflightDisk, "no space"));
        }
        let into = self.store.unpack_dir(stored);
        self.disk.remove_tree(&into)?;
        self.disk.create_dir_all(&into)?;
        self.disk.write_synced(&into.join("program"), &stored.digest.0)?;
        self.disk.sync_dir(&into)?;
        self.store.adopt(stored)?;
        Ok(Reply::Stored)
    }

    fn stop(&mut self, except: Option<u64>) -> (Reply, Millis) {
        assert!(self.turn || except.is_some() || self.running().is_empty(), "stopped without the slot");
        if self.unkillable {
            return (failed(ReasonCode::StopFailed, "it does not end"), Millis(5000));
        }
        let alive: Vec<u64> = self
            .processes
            .iter()
            .filter(|(number, process)| Some(**number) != except && self.is_alive(process))
            .map(|(number, _)| *number)
            .collect();
        for number in &alive {
            let process = self.processes.get_mut(number).expect("it was found just now");
            process.exit = Some(Exit::code(0));
        }
        (Reply::Done, Millis(if alive.is_empty() { 1 } else { 400 }))
    }

    fn start(&mut self, number: u64, digest: Digest) -> (Reply, Millis) {
        if let Some(process) = self.processes.get(&number) {
            return (Reply::Started(process.started), Millis(1));
        }
        assert!(self.running().is_empty(), "{digest} is started beside a process that runs");
        assert_eq!(self.current(), Some(digest), "what is started is what `current` names");
        self.assert_durable(number);
        if self.behaviours.get(&digest) == Some(&Behaviour::NotStartable) {
            return (failed(ReasonCode::StartFailed, "no such file"), Millis(5));
        }
        self.starts.push((number, digest));
        self.processes.insert(number, Process { digest, started: self.now, exit: None });
        (Reply::Started(self.now), Millis(20))
    }

    /// A start has its number on the disk before it is made.
    fn assert_durable(&self, number: u64) {
        let loaded = self.disk.watch(|| self.store.load());
        let Ok(Loaded::Journal(journal, _)) = loaded else { panic!("there is no journal") };
        assert_eq!(journal.launch.map(|launch| launch.number), Some(number), "the launch is journaled");
    }

    /// The answer of what runs at a port.
    pub(super) fn probe(&self, port: u16) -> Reply {
        let ended = self.processes.values().filter(|it| self.is_alive(it)).find_map(|it| self.first_exit(it));
        if let Some(exit) = ended {
            return Reply::Ended(exit);
        }
        let healthy = self.processes.values().filter(|it| self.is_alive(it)).any(|it| self.answers(it, port));
        let is_unverified = |it: &&Process| self.behaviours.get(&it.digest) == Some(&Behaviour::Unverified);
        let unverified = self.processes.values().filter(|it| self.is_alive(it)).any(|it| is_unverified(&it));
        match healthy {
            true if unverified => {
                Reply::Warned(HostFailure::new(ReasonCode::ListenerUnknown, "the listener can't be seen"))
            }
            true => Reply::Done,
            false => failed(ReasonCode::ProbeFailed, "HTTP 500"),
        }
    }

    /// The end of a first process whose worker runs on.
    fn first_exit(&self, process: &Process) -> Option<Exit> {
        match self.behaviours.get(&process.digest) {
            Some(Behaviour::LeavesWorker { after, code, .. }) if (self.now - process.started).0 >= *after => {
                Some(Exit::code(*code))
            }
            _ => None,
        }
    }

    fn answers(&self, process: &Process, port: u16) -> bool {
        let age = (self.now - process.started).0;
        match self.behaviours.get(&process.digest) {
            None => true,
            Some(Behaviour::Healthy { after }) => age >= *after,
            Some(Behaviour::Hangs { after }) => port != LIVENESS_PORT || age < *after,
            Some(Behaviour::HealthyUntil(until)) => age < *until,
            Some(Behaviour::Flaps(turn)) => (age / turn).is_multiple_of(2),
            Some(Behaviour::Exits { .. } | Behaviour::LeavesWorker { .. } | Behaviour::Unverified) => true,
            Some(Behaviour::Sick | Behaviour::NotStartable) => false,
        }
    }
}

fn port_of(probe: &Probe) -> u16 {
    match &probe.check {
        ProbeCheck::Http(http) => http.url.address.port,
        ProbeCheck::Tcp(address) => address.port,
        ProbeCheck::Command(_) => 0,
    }
}

fn failed(code: ReasonCode, message: &str) -> Reply {
    Reply::Failed(HostFailure::new(code, message))
}

fn internal(error: std::io::Error) -> Reply {
    failed(ReasonCode::HostInternal, &error.to_string())
}
