//! A JobManager in memory, with the habits of the real ones.
//!
//! It speaks Flink's REST API ([`api`]), so that what is tested on it includes how answers are read. Its jobs process
//! records at a steady rate from a source that can be replayed, and every record that a sink got is remembered with the job
//! that wrote it: what was lost or repeated can be counted.
//!
//! Habits that are modelled, each seen on 1.20.5 and 2.3.0: a job is `RUNNING` before a task of it runs; details are cached;
//! an unknown job is a 404 here and a 500 there; a stop of anything is accepted; `COMPLETED` may be a failure; a run with a
//! known id is refused, a failed start keeps its id, a `main` that throws does not; after a restart of the JobManager
//! triggers and ended jobs are forgotten, with high availability running jobs come back from their last checkpoint, also
//! where a savepoint was complete, and refuse a stop until all their tasks run, which their state does not show. The recordings in `tests/env/flink/recordings` hold the model to the real ones.
//!
//! Deliberately not here: schedulers, slots of several groups, rescaling.

pub mod api;
pub mod deadly;
pub mod death;
mod job;
pub mod lab;
pub mod recording;

use std::collections::BTreeMap;

use trimaran_flink_core::call::SavepointSeen;
use trimaran_flink_core::call::{Call, Reply};
use trimaran_flink_core::id::FlinkId;
use trimaran_flink_core::rest::{Exchange, Next, Response};
use trimaran_model::id::Digest;
use trimaran_model::time::{Millis, Timestamp, WallTime};

pub use job::{Behaviour, INITIALIZING_TAKES, Job, Start, State};

/// Where the target of the model has its savepoints.
pub const SAVEPOINTS: &str = "file:/savepoints";
/// When the model's clock shows zero.
const EPOCH: i64 = 1_700_000_000_000;
/// A savepoint's `_metadata` is there so long after its stop was accepted, the job has ended so long after that.
pub const METADATA_AFTER: Millis = Millis(30);
pub const STOPPED_AFTER: Millis = Millis(60);
/// How long a JobManager takes to come back.
pub const RESTART_TAKES: Millis = Millis::seconds(6);
/// How long its TaskManagers take to register again then.
const REGISTER_TAKES: Millis = Millis::seconds(3);
/// So long behind the end of a job that it shows a JobManager has written it down (high availability; 1.20.5 under load).
const END_WRITTEN_AFTER: Millis = Millis(40);
/// Details are so old at most.
const REFRESH: Millis = Millis::seconds(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1_20,
    V2_3,
}

/// What a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    pub version: Version,
    /// Running jobs survive the JobManager.
    pub high_availability: bool,
    pub slots: u32,
}

/// A savepoint on the disk, which outlives everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Savepoint {
    pub path: String,
    pub is_complete: bool,
    pub modified: Timestamp,
    pub state: State,
}

/// One request for a savepoint.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trigger {
    InProgress,
    Saved { path: String },
    Failed { cause: String },
}

/// Records that a job wrote to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub job: FlinkId,
    pub from: u64,
    pub to: u64,
}

pub struct ModelJobManager {
    setup: Setup,
    now: Timestamp,
    /// By digest, whatever they are named.
    behaviours: BTreeMap<Digest, Behaviour>,
    /// Id, name and digest of uploads: of jars, and of the files of jobs.
    jars: BTreeMap<String, (String, Digest)>,
    jobs: BTreeMap<FlinkId, Job>,
    triggers: BTreeMap<(FlinkId, FlinkId), Trigger>,
    /// Runs whose `main` is at work, with its end.
    mains: Vec<(Timestamp, FlinkId, Job)>,
    savepoints: BTreeMap<String, Savepoint>,
    /// Retained checkpoints by path, with when they were made.
    checkpoints: BTreeMap<String, (State, Timestamp)>,
    details: BTreeMap<FlinkId, (Timestamp, String)>,
    down_until: Option<Timestamp>,
    /// Until then no TaskManager is registered, so that there are no slots.
    alone_until: Timestamp,
    written: Vec<Written>,
    /// Nothing can be written where savepoints are.
    pub disk_is_broken: bool,
    uploads: u64,
    /// Two jobs processed records at the same time.
    overlap: Option<String>,
}

impl ModelJobManager {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            now: Timestamp(0),
            behaviours: BTreeMap::new(),
            jars: BTreeMap::new(),
            jobs: BTreeMap::new(),
            triggers: BTreeMap::new(),
            mains: Vec::new(),
            savepoints: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            details: BTreeMap::new(),
            down_until: None,
            alone_until: Timestamp(0),
            written: Vec::new(),
            disk_is_broken: false,
            uploads: 0,
            overlap: None,
        }
    }

    pub fn behave(&mut self, jar: Digest, behaviour: Behaviour) {
        self.behaviours.insert(jar, behaviour);
    }

    /// The model's clock as Flink writes it.
    pub fn wall(&self, at: Timestamp) -> WallTime {
        WallTime(EPOCH + i64::try_from(at.0).expect("a test ends before the end of time"))
    }

    /// Performs a call as the platform does, and how long it takes.
    pub fn call(&mut self, now: Timestamp, call: Call) -> (Reply, Millis) {
        self.advance(now);
        if let Call::List { directory } = &call {
            return (Reply::Savepoints(self.list(directory)), Millis(3));
        }
        let takes = match &call {
            Call::Run { .. } | Call::Plan(_) => self.main_takes(&call),
            _ => Millis(5),
        };
        if self.is_down() {
            let message = "connection refused".to_owned();
            return (Reply::Unreachable { message }, Millis(1));
        }
        let mut exchange = Exchange::new(call, SAVEPOINTS).expect("every other call is one of the API");
        let mut answer: Option<Response> = None;
        loop {
            match exchange.next(answer.take()) {
                Next::Send(request) => answer = Some(self.handle(&request)),
                Next::Done(reply) => return (reply, takes),
            }
        }
    }

    fn list(&self, directory: &str) -> Vec<SavepointSeen> {
        let below = format!("{directory}/");
        let savepoints = self.savepoints.values().map(|it| (&it.path, it.is_complete, it.modified));
        let checkpoints = self.checkpoints.iter().map(|(path, (_, at))| (path, true, *at));
        let found = savepoints.chain(checkpoints).filter(|(path, ..)| path.starts_with(&below));
        let seen = |(path, is_complete, modified): (&String, bool, Timestamp)| SavepointSeen {
            path: path.clone(),
            is_complete,
            modified: self.wall(modified),
        };
        found.map(seen).collect()
    }

    fn is_down(&self) -> bool {
        self.down_until.is_some()
    }

    /// Ends the JobManager as `kill -9` does; it comes back after [`RESTART_TAKES`].
    pub fn kill(&mut self, now: Timestamp) {
        self.advance(now);
        self.down_until = Some(now + RESTART_TAKES);
        self.alone_until = now + RESTART_TAKES + REGISTER_TAKES;
        self.triggers.clear();
        self.mains.clear();
        self.details.clear();
        let high_availability = self.setup.high_availability;
        self.jobs.retain(|_, job| high_availability && (!job.is_terminal() || job.has_just_ended(now)));
        for job in self.jobs.values_mut() {
            job.lose_jobmanager();
        }
    }

    /// Uploads are gone, as when they lie in a temporary directory.
    pub fn lose_uploads(&mut self) {
        self.jars.clear();
    }

    /// One of them is gone, counted from 0 and around.
    pub fn lose_upload(&mut self, n: usize) {
        let lost = self.jars.keys().cycle().nth(n).cloned();
        self.jars.retain(|id, _| Some(id) != lost.as_ref());
    }

    /// How often something was uploaded.
    pub fn uploads(&self) -> u64 {
        self.uploads
    }

    /// Lets time pass: jobs process, checkpoint, fail, are restarted, stop.
    pub fn advance(&mut self, to: Timestamp) {
        if let Some(until) = self.down_until.filter(|until| *until <= to) {
            self.pass(until);
            self.down_until = None;
            for job in self.jobs.values_mut() {
                job.recover(until);
            }
        }
        self.pass(to);
    }

    fn pass(&mut self, to: Timestamp) {
        if self.down_until.is_none() {
            let (due, waiting) = std::mem::take(&mut self.mains).into_iter().partition(|(at, ..)| *at <= to);
            self.mains = waiting;
            for (at, id, job) in due {
                // The second one to come out of `main` finds the first one.
                self.jobs.entry(id).or_insert(job).begin(at);
            }
        }
        let mut running = Vec::new();
        for (id, job) in &mut self.jobs {
            let before = job.position();
            for event in job.advance(to, self.disk_is_broken) {
                event.apply(*id, &mut self.savepoints, &mut self.checkpoints, &mut self.triggers);
            }
            for (from, position) in job.take_written() {
                self.written.push(Written { job: *id, from, to: position });
            }
            // No one can prevent that a JobManager begins a job again; it has to be ended then.
            if job.position() > before && !job.is_terminal() && !job.is_begun_again {
                running.push(*id);
            }
        }
        if running.len() > 1 {
            self.overlap.get_or_insert_with(|| format!("{running:?} processed records at once"));
        }
        self.now = self.now.max(to);
    }

    /// Jobs that are not terminal.
    pub fn live_jobs(&self) -> Vec<FlinkId> {
        self.jobs.iter().filter(|(_, job)| !job.is_terminal()).map(|(id, _)| *id).collect()
    }

    /// Jobs that may process records beside a run that is sent now. What a JobManager that is down will begin again can't be
    /// known, and it does not get the run.
    pub fn jobs_beside_a_run(&self) -> Vec<FlinkId> {
        let is_known = |job: &Job| !self.is_down() || !job.is_begun_again;
        let is_beside = |job: &Job| !job.is_terminal() && is_known(job);
        self.jobs.iter().filter(|(_, job)| is_beside(job)).map(|(id, _)| *id).collect()
    }

    pub fn job(&self, id: FlinkId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    pub fn overlap(&self) -> Option<&str> {
        self.overlap.as_deref()
    }

    /// The first record that no job wrote, below the furthest one that was written.
    pub fn missing(&self) -> Option<u64> {
        let mut spans: Vec<(u64, u64)> = self.written.iter().map(|it| (it.from, it.to)).collect();
        spans.sort_unstable();
        let mut reached = 0;
        for (from, to) in spans {
            if from > reached {
                return Some(reached);
            }
            reached = reached.max(to);
        }
        None
    }

    /// Records that were written more than once.
    pub fn repeated(&self) -> u64 {
        let total: u64 = self.written.iter().map(|it| it.to - it.from).sum();
        let furthest = self.written.iter().map(|it| it.to).max().unwrap_or(0);
        total.saturating_sub(furthest)
    }

    pub fn savepoint(&self, path: &str) -> Option<&Savepoint> {
        self.savepoints.get(path)
    }
}
