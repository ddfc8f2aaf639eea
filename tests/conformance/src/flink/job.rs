//! One job of the model: what it processes, and what happens to it.

use std::collections::{BTreeMap, VecDeque};

use trimaran_flink_core::id::FlinkId;
use trimaran_model::id::Digest;
use trimaran_model::time::{Millis, Timestamp};

use super::{END_WRITTEN_AFTER, METADATA_AFTER, STOPPED_AFTER, Savepoint, Trigger};

/// One record in so much time.
const RECORD: u64 = 10;
const CHECKPOINT_INTERVAL: Millis = Millis::seconds(1);
const RESTART_DELAY: Millis = Millis::seconds(1);
/// From submission to the first record.
const START_TAKES: Millis = Millis(100);
/// Behind a failover of the JobManager: until its job is looked at, and from then until its tasks run. All that time a stop
/// is refused, in the second half by a job that is `RUNNING`.
pub const INITIALIZING_TAKES: Millis = Millis(500);
const REDEPLOY_TAKES: Millis = Millis(1500);
/// Failures that the history keeps.
const EXCEPTIONS_KEPT: usize = 16;
const CHECKPOINTS_KEPT: usize = 3;

/// What a jar does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Good,
    /// Fails so long after each start, having made progress.
    Crash {
        after: Millis,
    },
    /// Fails before the first record.
    OpenThrows,
    /// Can't read the state of `Good`, and finds out when it opens it.
    BadState,
    /// Its stateful operator has another uid.
    NewUid,
    /// No checkpoint and no savepoint of it completes.
    CheckpointsFail,
    /// `main` works for so long.
    SlowMain {
        takes: Millis,
    },
    MainThrows,
    NoExecute,
    NotAJar,
    NoMain,
    /// Ends when so many records were processed.
    Finite {
        records: u64,
    },
    /// Its program sets a parallelism of 2, whatever it is asked for.
    OwnParallelism,
    /// A stop takes longer than checkpoints may.
    Slow {
        takes: Millis,
    },
}

/// A state: how far the source was read, and by which kind of program it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub position: u64,
    /// The stateful operator has its second uid.
    pub is_new_uid: bool,
}

/// What a job begins from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub path: Option<String>,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// The JobManager is away, or the job is in `main`.
    Idle,
    /// A JobManager that has come back reads the job until then.
    Initializing {
        until: Timestamp,
    },
    /// Tasks are deployed until then.
    Starting {
        until: Timestamp,
    },
    Running {
        since: Timestamp,
    },
    Restarting {
        until: Timestamp,
    },
    Finished,
    Failed,
    Canceled,
}

/// A stop in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stop {
    trigger: FlinkId,
    path: String,
    at: Timestamp,
    has_metadata: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub name: String,
    pub parallelism: u32,
    pub behaviour: Behaviour,
    pub start: Start,
    /// What its distributed cache has, by name.
    pub files: BTreeMap<String, Digest>,
    condition: Condition,
    /// Up to where it has processed, on the source and on the clock.
    position: u64,
    clock: Timestamp,
    /// From where it has written since this was taken.
    unwritten_from: u64,
    written: Vec<(u64, u64)>,
    /// Where the present attempt began, and what each earlier one has processed.
    attempt_from: u64,
    attempts: Vec<u64>,
    last_checkpoint: Option<(u64, String, State)>,
    next_checkpoint: Timestamp,
    checkpoint_count: u64,
    pub completed: u64,
    pub failed: u64,
    pub restored: u64,
    pub exceptions: VecDeque<(Timestamp, String)>,
    pub created: Timestamp,
    last_checkpoint_at: Timestamp,
    stop: Option<Stop>,
    /// When it has ended.
    ended: Option<Timestamp>,
    /// Its end was shown and not written down when the JobManager died, so that it was begun again.
    pub is_begun_again: bool,
    /// A savepoint was the last thing that it completed.
    pub savepoint: Option<(String, Timestamp)>,
}

/// What a job did that others must know of.
pub(super) enum Event {
    Checkpoint { path: String, state: State, at: Timestamp, discard: Option<String> },
    Savepoint(Savepoint),
    Trigger { trigger: FlinkId, result: Trigger },
}

impl Event {
    pub(super) fn apply(
        self,
        job: FlinkId,
        savepoints: &mut BTreeMap<String, Savepoint>,
        checkpoints: &mut BTreeMap<String, (State, Timestamp)>,
        triggers: &mut BTreeMap<(FlinkId, FlinkId), Trigger>,
    ) {
        match self {
            Self::Checkpoint { path, state, at, discard } => {
                checkpoints.insert(path, (state, at));
                if let Some(old) = discard {
                    checkpoints.remove(&old);
                }
            }
            Self::Savepoint(savepoint) => drop(savepoints.insert(savepoint.path.clone(), savepoint)),
            Self::Trigger { trigger, result } => drop(triggers.insert((job, trigger), result)),
        }
    }
}

impl Job {
    pub(super) fn new(
        name: String,
        behaviour: Behaviour,
        parallelism: u32,
        start: Start,
        now: Timestamp,
    ) -> Self {
        let position = start.state.position;
        Self {
            name,
            parallelism,
            behaviour,
            files: BTreeMap::new(),
            condition: Condition::Idle,
            position,
            clock: now,
            unwritten_from: position,
            written: Vec::new(),
            attempt_from: position,
            attempts: Vec::new(),
            last_checkpoint: None,
            next_checkpoint: now,
            checkpoint_count: 0,
            completed: 0,
            failed: 0,
            restored: u64::from(start.path.is_some()),
            start,
            exceptions: VecDeque::new(),
            created: now,
            last_checkpoint_at: now,
            stop: None,
            ended: None,
            is_begun_again: false,
            savepoint: None,
        }
    }

    pub(super) fn begin(&mut self, now: Timestamp) {
        if self.condition == Condition::Idle {
            self.clock = now;
            self.condition = Condition::Starting { until: now + START_TAKES };
        }
    }

    /// A submission that failed: the id stays.
    pub(super) fn failed(mut self, now: Timestamp, cause: &str) -> Self {
        self.condition = Condition::Failed;
        self.exceptions.push_front((now, cause.to_owned()));
        self
    }

    pub fn is_terminal(&self) -> bool {
        matches!(self.condition, Condition::Finished | Condition::Failed | Condition::Canceled)
    }

    pub fn is_running(&self) -> bool {
        matches!(self.condition, Condition::Running { .. })
    }

    /// As Flink names it: `RUNNING` also while no task runs yet.
    pub fn state_name(&self) -> &'static str {
        match self.condition {
            Condition::Idle | Condition::Initializing { .. } => "INITIALIZING",
            Condition::Starting { .. } | Condition::Running { .. } => "RUNNING",
            Condition::Restarting { .. } => "RESTARTING",
            Condition::Finished => "FINISHED",
            Condition::Failed => "FAILED",
            Condition::Canceled => "CANCELED",
        }
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Records of each attempt, the present one last.
    pub fn attempts(&self) -> Vec<u64> {
        let present = self.position - self.attempt_from;
        self.attempts.iter().copied().chain([present]).collect()
    }

    /// The state that it began from, or at its last restart, is a savepoint.
    pub fn has_restored_savepoint(&self) -> bool {
        self.last_checkpoint.is_none()
            && self.start.path.as_ref().is_some_and(|it| it.contains("/savepoint-"))
    }

    pub fn state(&self) -> State {
        State { position: self.position, is_new_uid: self.behaviour == Behaviour::NewUid }
    }

    pub fn last_checkpoint(&self) -> Option<(&str, Timestamp)> {
        self.last_checkpoint.as_ref().map(|(_, path, _)| (path.as_str(), self.last_checkpoint_at))
    }

    pub(super) fn cancel(&mut self) {
        if !self.is_terminal() {
            self.flush();
            self.end(Condition::Canceled);
        }
    }

    fn end(&mut self, condition: Condition) {
        self.condition = condition;
        self.ended = Some(self.clock);
    }

    /// Its end is shown, and a JobManager with high availability has not written it down yet.
    pub(super) fn has_just_ended(&self, now: Timestamp) -> bool {
        self.ended.is_some_and(|ended| now - ended < END_WRITTEN_AFTER)
    }

    /// Begins to stop; a job that does not run can't.
    pub(super) fn stop(
        &mut self,
        now: Timestamp,
        trigger: FlinkId,
        path: String,
        is_broken: bool,
    ) -> Trigger {
        if is_broken {
            return Trigger::Failed {
                cause: "java.io.IOException: Failed to create savepoint directory".to_owned(),
            };
        }
        if !self.is_running() {
            let cause = match self.condition {
                Condition::Idle | Condition::Initializing { .. } => {
                    "org.apache.flink.runtime.dispatcher.UnavailableDispatcherOperationException: Unable to get \
                     JobMasterGateway for initializing job. The requested operation is not available while the \
                     JobManager is still initializing."
                }
                _ => {
                    "org.apache.flink.runtime.checkpoint.CheckpointException: Checkpoint triggering task Source: \
                     numbers (1/1) is not being executed at the moment. Aborting checkpoint. Failure reason: Not \
                     all required tasks are currently running."
                }
            };
            return Trigger::Failed { cause: cause.to_owned() };
        }
        self.stop = Some(Stop { trigger, path, at: now, has_metadata: false });
        Trigger::InProgress
    }

    pub(super) fn take_written(&mut self) -> Vec<(u64, u64)> {
        self.flush();
        std::mem::take(&mut self.written)
    }

    fn flush(&mut self) {
        if self.position > self.unwritten_from {
            self.written.push((self.unwritten_from, self.position));
            self.unwritten_from = self.position;
        }
    }

    /// The JobManager is gone, and with it what was not kept elsewhere.
    pub(super) fn lose_jobmanager(&mut self) {
        self.flush();
        self.is_begun_again |= self.ended.take().is_some();
        self.condition = Condition::Idle;
        self.stop = None;
        self.exceptions.clear();
        self.attempts.clear();
        (self.completed, self.failed, self.restored) = (0, 0, 0);
        self.rewind();
    }

    pub(super) fn recover(&mut self, now: Timestamp) {
        self.restored = 1;
        if self.condition == Condition::Idle {
            self.clock = now;
            self.condition = Condition::Initializing { until: now + INITIALIZING_TAKES };
        }
    }

    /// Back to the last checkpoint, or to where it began.
    fn rewind(&mut self) {
        let state = self.last_checkpoint.as_ref().map_or(self.start.state, |(_, _, state)| *state);
        (self.position, self.unwritten_from, self.attempt_from) =
            (state.position, state.position, state.position);
    }

    fn fail(&mut self, now: Timestamp, cause: String) {
        self.flush();
        self.attempts.push(self.position - self.attempt_from);
        self.exceptions.push_front((now, cause));
        self.exceptions.truncate(EXCEPTIONS_KEPT);
        self.condition = Condition::Restarting { until: now + RESTART_DELAY };
        self.restored += u64::from(self.last_checkpoint.is_some() || self.start.path.is_some());
        self.rewind();
    }

    /// Lets time pass, event by event.
    pub(super) fn advance(&mut self, to: Timestamp, is_broken: bool) -> Vec<Event> {
        let mut events = Vec::new();
        while self.clock < to {
            let at = self.next_event().filter(|at| *at <= to).unwrap_or(to).max(self.clock);
            // Nothing is processed behind the barrier of a stop.
            let is_held = self.stop.as_ref().is_some_and(|stop| stop.has_metadata);
            if let (Condition::Running { since }, false) = (self.condition, is_held) {
                let run = |at: Timestamp| (at - since).0 / RECORD;
                self.position += run(at) - run(self.clock);
            }
            self.clock = at;
            self.happen(is_broken, &mut events);
            if self.is_terminal() || self.condition == Condition::Idle {
                self.clock = to;
            }
        }
        events
    }

    fn next_event(&self) -> Option<Timestamp> {
        match self.condition {
            Condition::Initializing { until }
            | Condition::Starting { until }
            | Condition::Restarting { until } => Some(until),
            Condition::Running { since } => {
                let stop = self.stop.as_ref().map(|stop| stop.at + self.stop_takes(stop));
                let crash = match self.behaviour {
                    Behaviour::Crash { after } => Some(since + after),
                    _ => None,
                };
                stop.into_iter()
                    .chain(crash)
                    .chain([self.next_checkpoint])
                    .filter(|at| *at > self.clock)
                    .min()
            }
            Condition::Idle | Condition::Finished | Condition::Failed | Condition::Canceled => None,
        }
    }

    fn stop_takes(&self, stop: &Stop) -> Millis {
        match self.behaviour {
            Behaviour::Slow { takes } => takes,
            _ if stop.has_metadata => STOPPED_AFTER,
            _ => METADATA_AFTER,
        }
    }

    /// What is due at the clock.
    fn happen(&mut self, is_broken: bool, events: &mut Vec<Event>) {
        let now = self.clock;
        match self.condition {
            Condition::Initializing { until } if until <= now => {
                self.condition = Condition::Starting { until: now + REDEPLOY_TAKES };
            }
            Condition::Restarting { until } if until <= now => {
                self.condition = Condition::Starting { until: now + START_TAKES };
            }
            Condition::Starting { until } if until <= now => self.open(now),
            Condition::Running { since } => {
                if let Behaviour::Crash { after } = self.behaviour
                    && now - since >= after
                {
                    let cause = format!("java.lang.IllegalStateException: after {after}");
                    if let Some(Stop { trigger, .. }) = self.stop.take() {
                        events.push(Event::Trigger {
                            trigger,
                            result: Trigger::Failed { cause: cause.clone() },
                        });
                    }
                    return self.fail(now, cause);
                }
                if let Behaviour::Finite { records } = self.behaviour
                    && self.position >= records
                {
                    self.position = records;
                    self.flush();
                    self.end(Condition::Finished);
                    return;
                }
                if self.next_checkpoint <= now {
                    self.checkpoint(is_broken, events);
                }
                self.continue_stop(now, events);
            }
            _ => {}
        }
    }

    fn open(&mut self, now: Timestamp) {
        match self.behaviour {
            Behaviour::OpenThrows => {
                self.fail(now, "java.lang.IllegalStateException: open-throws".to_owned())
            }
            Behaviour::BadState if self.start.path.is_some() => {
                let cause = "org.apache.flink.util.StateMigrationException: The new state serializer must not be \
                             incompatible with the old state serializer";
                self.fail(now, cause.to_owned());
            }
            _ => {
                self.condition = Condition::Running { since: now };
                self.next_checkpoint = now + CHECKPOINT_INTERVAL;
            }
        }
    }

    fn checkpoint(&mut self, is_broken: bool, events: &mut Vec<Event>) {
        self.next_checkpoint = self.clock + CHECKPOINT_INTERVAL;
        if self.stop.is_some() {
            return;
        }
        if self.behaviour == Behaviour::CheckpointsFail || is_broken {
            self.failed += 1;
            return;
        }
        self.checkpoint_count += 1;
        let path = format!("file:/checkpoints/{:?}/chk-{}", self.created, self.checkpoint_count);
        let old = self.checkpoint_count.checked_sub(CHECKPOINTS_KEPT as u64);
        let discard = old.map(|old| format!("file:/checkpoints/{:?}/chk-{old}", self.created));
        let state = self.state();
        self.last_checkpoint = Some((self.checkpoint_count, path.clone(), state));
        self.last_checkpoint_at = self.clock;
        self.completed += 1;
        events.push(Event::Checkpoint { path, state, at: self.clock, discard });
    }

    fn continue_stop(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        let Some(stop) = self.stop.clone() else { return };
        if matches!(self.behaviour, Behaviour::Slow { .. } | Behaviour::CheckpointsFail) {
            if now - stop.at < self.stop_takes(&stop) {
                return;
            }
            self.stop = None;
            let cause = "org.apache.flink.runtime.checkpoint.CheckpointException: Checkpoint expired before completing.";
            events.push(Event::Trigger {
                trigger: stop.trigger,
                result: Trigger::Failed { cause: cause.to_owned() },
            });
            return self
                .fail(now, "org.apache.flink.util.FlinkException: Stop-with-savepoint failed.".to_owned());
        }
        if !stop.has_metadata && now - stop.at >= METADATA_AFTER {
            self.stop.as_mut().expect("it is in progress").has_metadata = true;
            let savepoint =
                Savepoint { path: stop.path.clone(), is_complete: true, modified: now, state: self.state() };
            events.push(Event::Savepoint(savepoint));
        }
        if now - stop.at >= STOPPED_AFTER {
            self.flush();
            self.end(Condition::Finished);
            self.stop = None;
            self.savepoint = Some((stop.path.clone(), now));
            events.push(Event::Trigger { trigger: stop.trigger, result: Trigger::Saved { path: stop.path } });
        }
    }
}
