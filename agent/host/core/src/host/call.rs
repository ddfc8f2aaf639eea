//! What the machine asks of its host, and the replies.

use std::collections::BTreeMap;

use trimaran_model::assignment::HostGoal;
use trimaran_model::id::{AssignmentId, Attempt, Digest, Fence, RunId};
use trimaran_model::limits;
use trimaran_model::pipeline::{Drain, Hook, HookEvent, MayStop, Probe, ProbeUrl, Process, Reload, Stop};
use trimaran_model::reason::ReasonCode;
use trimaran_model::release::{Artifact, Release};
use trimaran_model::time::{Millis, Timestamp};

/// One operation or question. All are about the machine's own installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// What is there? Removes leftovers of an unpack that was interrupted. Answer: `Observation`.
    Inspect,
    /// Can the release run here as it asks for? Its user is known, its secrets are there, no process that is not of
    /// this installation listens where the service will. Answer: `Done`, `Failed`.
    Preflight { digest: Digest, release: Release },
    /// Bring the artifact's verified bytes to the host's cache. Answer: `Done`, `Failed`.
    Fetch { artifact: Artifact },
    /// Unpack from the cache into a directory of its own. Answer: `Stored`, `BlobGone`, `Failed`.
    Unpack(StoredRelease),
    /// Wait until no other installation of the host is in a disruptive step. Answer: `Done`.
    AcquireSlot,
    /// The disruptive step is over. Its answer is not waited for.
    ReleaseSlot,
    /// End every process of the installation but `except`, with all descendants. Answer: `Done`, `Failed`.
    Stop { stop: Stop, except: Option<u64> },
    /// Let `current` name this release, atomically. Answer: `Done`, `Failed`.
    Switch { to: Digest },
    /// Start the service. The launch's number makes it idempotent. Answer: `Started`, `Failed`.
    Start { launch: Launch, release: Release },
    /// One probe of a launch. Answer: `Done` when a process of the launch answered well, `Warned` when something is to
    /// be known beside that, as that it can't be known who answered, `Ended` when the launch's first process has ended,
    /// whatever answered, else `Failed`.
    Probe { launch: Launch, process: Process, probe: Probe },
    /// Something beside the service of a launch. Answer: `Done`, `Warned` when it was done less well, `Failed`.
    Run { launch: Launch, process: Process, errand: Errand },
    /// Remove these releases, records of launches before `launch`, and blobs. Answer: `Done`.
    CollectGarbage { releases: Vec<Digest>, launch: Option<u64>, keep: CacheRetention },
}

/// What is done beside a service, with its user and environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// May the service be stopped? `Failed` has its answer.
    MayStop(ProbeUrl),
    Hook {
        event: HookEvent,
        hook: Hook,
    },
    /// `Warned` when it was not done within its `wait`.
    Drain(Drain),
    Undrain(Drain),
    /// The process of the launch takes the environment of another release.
    Reload(Reload),
}

impl Errand {
    /// The longest that it takes.
    pub fn limit(&self) -> Millis {
        match self {
            Self::MayStop(_) => MayStop::TIMEOUT,
            Self::Hook { hook, .. } => hook.timeout,
            // What is asked of a balancer takes its own time; the file alone waits.
            Self::Drain(drain) | Self::Undrain(drain) => drain.wait,
            Self::Reload(_) => limits::HOST_RELOAD,
        }
    }
}

/// Which verified artifacts stay in the host's cache. None of them is ever needed: they save a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheRetention {
    /// A few, for releases whose configuration alone changes.
    Newest,
    /// Nothing but this artifact, which is about to be unpacked.
    Only(Option<Digest>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Done,
    Failed(HostFailure),
    Observation(Observation),
    Stored,
    /// The blob is not in the cache any more.
    BlobGone,
    /// Boot-time clock at the start of the process.
    Started(Timestamp),
    /// The probe succeeded, and this is to be known beside it.
    Warned(HostFailure),
    /// The first process of the launch has ended.
    Ended(Exit),
}

/// A code of the closed list and the system's or service's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFailure {
    pub code: ReasonCode,
    pub message: String,
}

impl HostFailure {
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What an inspection of the host found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Identity of the kernel's current boot.
    pub boot: String,
    /// The release that `current` names.
    pub current: Option<Digest>,
    /// Unpacked and whole.
    pub releases: BTreeMap<Digest, StoredRelease>,
    /// By number of launch.
    pub processes: BTreeMap<u64, ProcessObservation>,
}

/// An unpacked release with the record beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRelease {
    /// Orders the releases of an installation; not a clock.
    pub sequence: u64,
    pub digest: Digest,
    pub fence: Fence,
    pub assignment: AssignmentId,
    pub release: Release,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessObservation {
    /// The release that it was started from; `None` when that is not known any more.
    pub digest: Option<Digest>,
    pub status: ProcessStatus,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessStatus {
    Running {
        started: Timestamp,
    },
    Ended(Exit),
    /// Never started under this number, or nothing is known of it.
    Nothing,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The signal was the kernel's, since the service's group used more memory than it may.
    pub out_of_memory: bool,
    /// Unobserved: the host went down, or the shim was killed.
    pub lost: bool,
}

impl Exit {
    pub const LOST: Self = Self { code: None, signal: None, out_of_memory: false, lost: true };

    /// Of a process that called exit(3) or returned.
    pub const fn code(code: i32) -> Self {
        Self { code: Some(code), signal: None, out_of_memory: false, lost: false }
    }

    /// Of a process that was ended by a signal.
    pub const fn signal(signal: i32) -> Self {
        Self { code: None, signal: Some(signal), out_of_memory: false, lost: false }
    }

    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// The end as the failure of a service.
    pub fn failure(&self) -> HostFailure {
        let code = if self.out_of_memory { ReasonCode::OomKilled } else { ReasonCode::ProcessExited };
        HostFailure::new(code, self.to_string())
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "the process ended with exit code {code}"),
            (None, Some(_)) if self.out_of_memory => {
                write!(f, "the kernel ended the process, since the service used more memory than its limit")
            }
            (None, Some(signal)) => write!(f, "the process was ended by signal {signal}"),
            (None, None) => write!(f, "the process is gone and its end was not observed"),
        }
    }
}

/// One start of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Grows with each start of the installation; fixed before the start is made.
    pub number: u64,
    pub digest: Digest,
    /// The run that started it, for its environment and its log.
    pub run: RunId,
    pub attempt: Attempt,
}

impl Launch {
    pub(super) fn new(number: u64, digest: Digest, goal: &HostGoal) -> Self {
        Self { number, digest, run: goal.run.clone(), attempt: goal.attempt }
    }
}

/// What to watch: the end of one launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    pub launch: u64,
}

/// The launch has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    pub launch: u64,
    pub exit: Exit,
}
