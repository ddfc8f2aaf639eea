//! What a host is to its machine: a disk that keeps what was synced, and processes under shims, which outlive the runner.
//!
//! The suite of drivers has a host in memory behind the real store; here a disk is the journal's bytes and whole releases, so
//! that the tests of the engine need no I/O of hosts.

use std::collections::{BTreeMap, BTreeSet};

use trimaran_host_core::host::{
    CacheRetention, Call, Exit, HostFailure, Observation, ProcessObservation, ProcessStatus, Reply,
    SeenCluster, StoredRelease, host_release,
};
use trimaran_model::id::{Digest, Fence};
use trimaran_model::reason::ReasonCode;
use trimaran_model::time::{Millis, Timestamp};
use trimaran_wire::codec::Message as _;
use trimaran_wire::v1::journal::WireHostJournal;

/// A process answers so long after its start.
const WARM_UP: Millis = Millis(300);

/// What a loss of power leaves.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// As bytes: what was written last as a whole.
    pub(crate) journal: Option<Vec<u8>>,
    pub(crate) seen: SeenCluster,
    releases: BTreeMap<Digest, StoredRelease>,
    current: Option<Digest>,
    blobs: BTreeSet<Digest>,
}

#[derive(Debug)]
struct Process {
    digest: Digest,
    started: Timestamp,
    exit: Option<Exit>,
}

/// A machine without its runner.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) disk: Disk,
    boot: u32,
    processes: BTreeMap<u64, Process>,
    /// Releases that do not work here.
    bad: BTreeSet<Digest>,
    /// Every start that was made: its number, and for which fence.
    pub(crate) starts: BTreeMap<u64, Fence>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self {
            disk: Disk::default(),
            boot: 1,
            processes: BTreeMap::new(),
            bad: BTreeSet::new(),
            starts: BTreeMap::new(),
        }
    }

    /// A release whose process does not answer here.
    pub(crate) fn set_bad(&mut self, digest: Digest, bad: bool) {
        if bad {
            self.bad.insert(digest);
        } else {
            self.bad.remove(&digest);
        }
    }

    /// The machine loses power: no process is left, and no one saw how any of them ended.
    pub(crate) fn reboot(&mut self) {
        self.boot += 1;
        self.kill(true);
    }

    /// Ends what runs, which its shim sees unless it is killed with it.
    pub(crate) fn kill(&mut self, shim_too: bool) {
        let exit = if shim_too { Exit::LOST } else { Exit::signal(9) };
        for process in self.processes.values_mut() {
            process.exit.get_or_insert(exit);
        }
    }

    /// The releases of processes that run.
    pub(crate) fn running(&self) -> Vec<Digest> {
        self.processes.values().filter(|it| it.exit.is_none()).map(|it| it.digest).collect()
    }

    /// How a launch ended, when it did.
    pub(crate) fn exit(&self, launch: u64) -> Option<Exit> {
        self.processes.get(&launch).map_or(Some(Exit::LOST), |it| it.exit)
    }

    fn observe(&self) -> Observation {
        let status = |it: &Process| match it.exit {
            None => ProcessStatus::Running { started: it.started },
            Some(exit) => ProcessStatus::Ended(exit),
        };
        let seen = |(number, it): (&u64, &Process)| {
            (*number, ProcessObservation { digest: Some(it.digest), status: status(it) })
        };
        Observation {
            boot: self.boot.to_string(),
            current: self.disk.current,
            releases: self.disk.releases.clone(),
            processes: self.processes.iter().map(seen).collect(),
        }
    }

    /// Performs a call at a time of the machine's clock: the answer, and how long it takes.
    pub(crate) fn perform(&mut self, now: Timestamp, call: Call) -> (Reply, Millis) {
        match call {
            Call::Inspect => (Reply::Observation(self.observe()), Millis(2)),
            Call::Preflight { .. } | Call::AcquireSlot | Call::ReleaseSlot | Call::Run { .. } => {
                (Reply::Done, Millis(1))
            }
            Call::Fetch { artifact } => {
                self.disk.blobs.insert(artifact.sha256);
                (Reply::Done, Millis(150))
            }
            Call::Unpack(stored) => {
                if !self.disk.blobs.contains(&host_release(&stored.release).bundle.sha256) {
                    return (Reply::BlobGone, Millis(1));
                }
                self.disk.releases.insert(stored.digest, stored);
                (Reply::Stored, Millis(80))
            }
            Call::Stop { except, .. } => {
                let ended = self.processes.iter_mut().filter(|(number, _)| Some(**number) != except);
                for (_, process) in ended {
                    process.exit.get_or_insert(Exit::code(0));
                }
                (Reply::Done, Millis(100))
            }
            Call::Switch { to } => {
                assert!(self.disk.releases.contains_key(&to), "`current` names a release that is not there");
                self.disk.current = Some(to);
                (Reply::Done, Millis(2))
            }
            Call::Start { launch, .. } => (self.start(now, launch.number, launch.digest), Millis(20)),
            Call::Probe { launch, .. } => (self.probe(now, launch.number), Millis(5)),
            Call::CollectGarbage { releases, launch, keep } => {
                releases.iter().for_each(|digest| drop(self.disk.releases.remove(digest)));
                let old = |number: u64| launch.is_none_or(|launch| number < launch);
                self.processes.retain(|number, it| it.exit.is_none() || !old(*number));
                if let CacheRetention::Only(one) = keep {
                    self.disk.blobs.retain(|blob| Some(*blob) == one);
                }
                (Reply::Done, Millis(1))
            }
        }
    }

    /// A start is made once for its number, after the number is on the disk, and never beside another process.
    fn start(&mut self, now: Timestamp, number: u64, digest: Digest) -> Reply {
        if let Some(known) = self.processes.get(&number) {
            return Reply::Started(known.started);
        }
        assert!(self.running().is_empty(), "{digest} is started beside {:?}", self.running());
        assert_eq!(self.disk.current, Some(digest), "what is started is what `current` names");
        let journal = self.disk.journal.as_deref().expect("a start is journaled");
        let journal = WireHostJournal::from_bytes(journal).expect("a journal that was written whole");
        let durable = journal.launch.map(|launch| launch.number);
        assert_eq!(durable, Some(number), "the number of a start is durable ahead of it");
        let again = self.starts.insert(number, Fence(journal.goal.fence));
        assert_eq!(again, None, "launch {number} is started twice");
        self.processes.insert(number, Process { digest, started: now, exit: None });
        Reply::Started(now)
    }

    fn probe(&self, now: Timestamp, launch: u64) -> Reply {
        let failed = |why: &str| Reply::Failed(HostFailure::new(ReasonCode::ProbeFailed, why));
        match self.processes.get(&launch) {
            None => failed("nothing listens"),
            Some(Process { exit: Some(exit), .. }) => Reply::Ended(*exit),
            Some(it) if self.bad.contains(&it.digest) => failed("HTTP 500"),
            Some(it) if now - it.started < WARM_UP => failed("not yet"),
            Some(_) => Reply::Done,
        }
    }
}
